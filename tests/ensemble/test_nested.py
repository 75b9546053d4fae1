from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from blastscope.ensemble import nested
from blastscope.ensemble.methods import fit
from blastscope.ensemble.nested import cross_fitted
from blastscope.errors import BlastscopeError
from tests.ensemble.scores import correlated


def case(patients: int, healthy: int, seed: int = 0):
    p, is_all = correlated(240, 3, seed)
    number = np.random.default_rng(seed).integers(0, 1000, 240)
    subjects = [
        f"P{n % patients}" if ill else f"H{n % healthy}"
        for n, ill in zip(number, is_all, strict=True)
    ]
    return p, is_all, subjects


def test_no_subjects_cells_get_weights_that_were_fitted_on_them(monkeypatch):
    p, is_all, subjects = case(7, 4)
    whose = {row.tobytes(): subject for row, subject in zip(p, subjects, strict=True)}
    fitted_on = []

    def spy(method, rows, truth, genetic=None):
        fitted_on.append({whose[row.tobytes()] for row in rows})
        return fit(method, rows, truth, genetic)

    monkeypatch.setattr(nested, "fit", spy)
    found = cross_fitted("auc", p, is_all, subjects)
    assert found.by == "subject"
    assert (found.reason, len(found.combinations)) == (None, 4)  # as there are healthy subjects
    assert len(fitted_on) == len(found.combinations) == found.fold.max() + 1
    for fold, known in enumerate(fitted_on):
        here = {subjects[cell] for cell in np.flatnonzero(found.fold == fold)}
        assert here
        assert not here & known
        assert here | known == set(subjects)


def test_each_cell_has_its_own_folds_combination():
    p, is_all, subjects = case(7, 6)
    found = cross_fitted("stacking", p, is_all, subjects)
    logits = np.log(p / (1 - p))
    for fold in range(found.fold.max() + 1):
        here = found.fold == fold
        model = LogisticRegression(max_iter=1000).fit(logits[~here], is_all[~here])
        expected = model.predict_proba(logits[here])[:, 1]
        np.testing.assert_allclose(found.p_all[here], expected, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda names: [None, *names[1:]], "unnamed-cells"),
        (lambda names: ["H0" if n.startswith("H") else n for n in names], "few-subjects"),
        (lambda names: [None] * len(names), "unnamed-cells"),
    ],
)
def test_cells_are_left_out_where_subjects_cannot_be(change, reason):
    p, is_all, subjects = case(7, 4)
    found = cross_fitted("auc", p, is_all, change(subjects))
    assert found.by == "cell"
    assert found.reason == reason
    assert sorted(np.unique(found.fold)) == [0, 1, 2, 3, 4]
    assert not np.isnan(found.p_all).any()


def test_both_classes_are_always_left_to_fit_on():
    """Without A hardly a normal cell is left, and C, who has it, is left out with A or alone."""
    p, is_all = correlated(240, 3, 1)
    subjects = ["BC"[k % 2] if ill else "A" for k, ill in enumerate(is_all)]
    subjects[int(np.flatnonzero(~is_all)[0])] = "C"
    found = cross_fitted("auc", p, is_all, subjects)
    for fold in range(found.fold.max() + 1):
        assert set(is_all[found.fold != fold]) == {True, False}
    assert found.by == "cell"
    assert found.reason == "one-class-folds"


def test_the_seed_chooses_the_folds():
    p, is_all, subjects = case(9, 9)
    one, same, other = (
        cross_fitted("auc", p, is_all, subjects, seed=seed).fold for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@pytest.mark.parametrize("method", ["mean", "vote"])
def test_nothing_to_fit(method):
    p, is_all, subjects = case(7, 4)
    found = cross_fitted(method, p, is_all, subjects)
    np.testing.assert_array_equal(found.p_all, fit(method, p, is_all).combination.apply(p))
    assert found.reason == "no-weights"


def test_a_class_of_one_cell_is_refused():
    is_all = np.array([True, False, False, False])
    with pytest.raises(BlastscopeError, match="one class has 1"):
        cross_fitted("auc", np.random.default_rng(0).random((4, 2)), is_all, ["A", "B", "C", "D"])
