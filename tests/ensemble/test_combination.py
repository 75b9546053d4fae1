from __future__ import annotations

from dataclasses import asdict
from itertools import product

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from blastscope.ensemble.combination import Combination
from blastscope.io.json_objects import read_as


def test_the_published_weights_are_applied_as_they_are():
    """Paper, 3.4.3.2: they sum to .97921, so four certain models reach no more than that."""
    published = Combination("genetic", "weights", (0.36858, 0.00696, 0.15587, 0.44780))
    found = published.apply(np.array([[1.0, 1, 1, 1], [0, 0, 0, 0], [0.5, 0.9, 0.1, 0.8]]))
    assert found == pytest.approx([0.97921, 0, 0.18429 + 0.006264 + 0.015587 + 0.35824])


@pytest.mark.parametrize("models", range(1, 7))
def test_votes_are_the_majority_and_the_mean_settles_ties(models):
    rows = np.array(list(product([0.0, 0.4, 0.5, 0.6, 1.0], repeat=models)))
    found = Combination("vote", "votes", (1.0,) * models).apply(rows)
    # Tenths as whole numbers: sums that are exact, and so a tie that is a tie.
    tenths = np.rint(rows * 10).astype(int)
    votes, total = (tenths > 5).sum(axis=1), tenths.sum(axis=1)
    expected = (2 * votes > models) | ((2 * votes == models) & (total > 5 * models))
    np.testing.assert_array_equal(found > 0.5, expected)
    assert found.min() >= 0
    assert found.max() <= 1


def test_logistic_is_what_scikit_learn_predicts():
    rng = np.random.default_rng(1)
    logits, truth = rng.normal(size=(80, 3)), rng.random(80) < 0.5
    model = LogisticRegression().fit(logits, truth)
    weights = tuple(float(weight) for weight in model.coef_[0])
    combination = Combination("stacking", "logistic", weights, float(model.intercept_[0]))
    found = combination.apply(1 / (1 + np.exp(-logits)))
    np.testing.assert_allclose(found, model.predict_proba(logits)[:, 1], rtol=1e-9)


def test_certain_models_keep_a_logistic_combination_finite():
    found = Combination("stacking", "logistic", (1.0, 1.0)).apply(np.array([[0.0, 1.0], [1, 1]]))
    assert found[0] == pytest.approx(0.5)
    assert 0.999 < found[1] <= 1


def test_a_tie_is_a_tie_in_whichever_order_it_is_summed():
    """.1 + .2 + .2 is exactly a half on paper; an exact half is normal."""
    weights = np.array([0.1, 0.2, 0.2, 0.2, 0.3])
    calls = np.array([1.0, 1, 1, 0, 0])
    for seed in range(30):
        order = np.random.default_rng(seed).permutation(5)
        found = Combination("grid", "weights", tuple(weights[order])).apply(calls[order][None])
        assert found[0] == 0.5


def test_json_round_trip():
    before = Combination("stacking", "logistic", (0.25, -1.5), 0.125)
    assert read_as(Combination, asdict(before)) == before


GOOD = {"method": "mean", "kind": "weights", "weights": [0.5, 0.5], "intercept": 0}


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": []},
        {"weights": [0.5, float("nan")]},
        {"weights": [True, 0.5]},
        {"weights": "0.5"},
        {"weights": None},
        {"kind": "median"},
        {"kind": ["weights"]},
        {"method": 3},
        {"intercept": float("inf")},
    ],
)
def test_damaged_json_is_refused(wrong):
    assert read_as(Combination, GOOD).weights == (0.5, 0.5)
    with pytest.raises(ValueError, match=r"weights|kind|intercept|method"):
        read_as(Combination, {**GOOD, **wrong})


@pytest.mark.parametrize("missing", ["method", "kind", "weights"])
def test_incomplete_json_is_refused(missing):
    with pytest.raises(ValueError, match=missing):
        read_as(Combination, {key: value for key, value in GOOD.items() if key != missing})


def test_a_table_of_another_number_of_models_is_refused():
    with pytest.raises(ValueError, match="2 weights"):
        Combination("mean", "weights", (0.5, 0.5)).apply(np.full((4, 3), 0.5))


@pytest.mark.parametrize(("models", "needed"), [(20, 10), (5, 1), (5, 5), (4, 2), (3, 3)])
def test_as_many_votes_as_needed_call_a_cell_all(models, needed):
    """Marzahl et al. call a cell ALL if ten of twenty networks do."""
    p = np.random.default_rng(models).random((4000, models))
    p[:9] = [[0.0] * models, [1.0] * models, *(np.arange(models) < k for k in range(1, 8))]
    rule = Combination("vote", "votes", (1 / models,) * models, needed=needed)
    found = rule.apply(p)
    votes = (p > 0.5).sum(axis=1)
    assert ((found > 0.5) == (votes >= needed)).all()
    assert (found.min() >= 0, found.max() <= 1) == (True, True)
    order = np.argsort(votes, kind="stable")
    assert (np.diff([found[votes == k].mean() for k in np.unique(votes[order])]) > 0).all()


def test_the_arbiter_decides_where_the_first_two_disagree():
    p = np.array([[0.9, 0.7, 0.1], [0.2, 0.4, 0.9], [0.9, 0.2, 0.3], [0.1, 0.6, 0.8]])
    rule = Combination("arbiter", "arbiter", (1 / 3,) * 3)
    assert rule.apply(p).tolist() == pytest.approx([0.8, 0.3, 0.3, 0.8])


@pytest.mark.parametrize(
    ("kind", "models", "needed"), [("arbiter", 2, None), ("votes", 3, 4), ("weights", 3, 2)]
)
def test_rules_that_the_models_cannot_follow_are_refused(kind, models, needed):
    with pytest.raises(ValueError, match=r"arbiter|votes"):
        Combination("any", kind, (1 / models,) * models, needed=needed)
