"""Which steps are kept: those that do better on cells left out, and only those."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import f1_score, log_loss, roc_auc_score

from blastscope.adaptation.cells import AdaptationCells, count_subjects
from blastscope.adaptation.decide import adapted_decision, decision_content, sets_threshold
from blastscope.adaptation.fitting import fit_adaptation, make_adaptation_folds
from blastscope.bundle.manifest import AdaptationStep
from blastscope.decision.calibration import Calibration, fit_platt
from blastscope.decision.decision import DecisionRequest, fit_decision
from blastscope.decision.decision_file import decision_from


def make_cells(n=120, subjects=5, heat=1.0, shift=0.0, signal=0.0, seed=1) -> AdaptationCells:
    """Cells whose logits are right but for ``heat`` and ``shift``, and whose first feature says
    more, as far as ``signal`` goes."""
    rng = np.random.default_rng(seed)
    is_all = np.arange(n) % 2 == 0
    names = tuple(f"{'A' if a else 'H'}{k // 2 % subjects}" for k, a in enumerate(is_all))
    true = rng.normal(size=n) * 1.5 + np.where(is_all, 1.5, -1.5)
    features = rng.normal(size=(n, 12))
    features[:, 0] += signal * np.where(is_all, 1, -1)
    logits = true * heat + shift
    return AdaptationCells(
        is_all, names, expit(logits), features, logits, np.zeros(n), {}, False, 0
    )  # fmt: skip


def step(found, name):
    return next(one for one in found.steps if one.step == name)


def test_a_shift_is_calibrated_away():
    cells = make_cells(heat=4.0, shift=3.0)
    found = fit_adaptation(cells, Calibration())
    assert found.has("calibration")
    assert found.by == "subject"
    assert found.after["log_loss"] < 0.7 * found.before["log_loss"]
    assert step(found, "calibration").log_loss == pytest.approx(min(found.losses.values()))


def test_the_metrics_are_scikit_learns():
    cells = make_cells(heat=3.0)
    found = fit_adaptation(cells, Calibration())
    for p, metrics in ((cells.p_all, found.before), (found.p_all, found.after)):
        clipped = np.clip(p, 1e-6, 1 - 1e-6)
        assert metrics["log_loss"] == pytest.approx(log_loss(cells.is_all, clipped))
        assert metrics["auc"] == pytest.approx(roc_auc_score(cells.is_all, p))
        f1 = f1_score(cells.is_all, p > 0.5, average="weighted")
        assert metrics["weighted_f1"] == pytest.approx(f1)


def test_each_cell_is_judged_without_its_subject():
    cells = make_cells(heat=4.0, shift=3.0)
    found = fit_adaptation(cells, Calibration(), strict=False)
    assert found.calibration.method == "platt"
    fold, by = make_adaptation_folds(cells.is_all, cells.subjects)
    assert by == "subject"
    names = np.array(cells.subjects)
    for number in range(fold.max() + 1):
        here = fold == number
        assert not set(names[here]) & set(names[~here])
        by_hand = fit_platt(cells.is_all[~here], cells.p_all[~here]).apply(cells.p_all[here])
        assert found.p_all[here] == pytest.approx(by_hand)


def test_good_probabilities_stay():
    cells = make_cells(n=100, seed=3)
    shipped = fit_platt(cells.is_all, cells.p_all)  # no other can be better on its own cells
    found = fit_adaptation(cells, shipped)
    assert not found.has("calibration")
    assert found.calibration == shipped
    assert not found.has("last-layer")
    assert found.before == found.after


def test_features_that_say_more_change_the_last_layer():
    found = fit_adaptation(make_cells(signal=2.0), Calibration())
    assert found.has("last-layer")
    assert found.correction is not None
    assert found.calibration == Calibration()  # slope and intercept are the layer's own
    hot = fit_adaptation(make_cells(signal=2.0, heat=4.0, shift=3.0), Calibration())
    assert hot.correction is not None
    assert step(hot, "calibration").reason == "replaced"
    assert not hot.has("calibration")
    for one in (*found.steps, *hot.steps):
        AdaptationStep(**asdict(one))  # a manifest knows every reason
    assert found.after["auc"] > found.before["auc"]


def test_features_that_say_nothing_do_not():
    found = fit_adaptation(make_cells(), Calibration())
    assert step(found, "last-layer").reason == "not-better"
    assert found.correction is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"n": 38}, "few-cells"), ({"subjects": 2}, "few-subjects")],
)
def test_the_last_layer_needs_cells_and_subjects(change, reason):
    cells = make_cells(signal=2.0, **change)
    assert step(fit_adaptation(cells, Calibration()), "last-layer").reason == reason


def test_one_subject_a_class_or_unknown_ones_are_left_out_by_cell():
    is_all = np.arange(40) % 2 == 0
    alone = tuple("A" if a else "H" for a in is_all)
    assert make_adaptation_folds(is_all, alone)[1] == "cell"
    unknown = (None, *(f"s{k}" for k in range(39)))
    assert make_adaptation_folds(is_all, unknown)[1] == "cell"
    assert count_subjects(is_all, alone) == (1, 1)
    assert count_subjects(is_all, unknown) == (19, 20)


def test_with_cells_enough_the_threshold_is_fitted_to_cells_left_out():
    cells = make_cells(heat=4.0, shift=3.0)
    shipped = fit_decision(cells.is_all, cells.p_all, cells.subjects, DecisionRequest())
    found = fit_adaptation(cells, shipped.calibration)
    made = adapted_decision(cells, found, shipped)
    assert made.point.sensitivity >= 0.95
    called = found.p_all > made.point.threshold
    assert called[cells.is_all].mean() == made.point.sensitivity
    assert made.point.rule == shipped.point.rule


def test_with_few_cells_the_threshold_stays():
    many = make_cells()
    shipped = fit_decision(many.is_all, many.p_all, many.subjects, DecisionRequest())
    few = make_cells(n=24, heat=4.0, shift=3.0)
    assert not sets_threshold(few, shipped)
    assert sets_threshold(few, None)
    made = adapted_decision(few, fit_adaptation(few, shipped.calibration), shipped)
    assert made.point.threshold == shipped.point.threshold
    assert made.referral == shipped.referral
    assert made.point == shipped.point  # it has the metrics of the cells that chose it
    assert made.conformal == shipped.conformal


def test_a_threshold_that_stays_is_not_said_to_be_fitted_on_the_new_cells(tmp_path):
    many, few = make_cells(), make_cells(n=24, heat=4.0, shift=3.0)
    shipped = fit_decision(many.is_all, many.p_all, many.subjects, DecisionRequest())
    for cells, before in ((few, shipped), (many, shipped), (few, None)):
        found = fit_adaptation(cells, Calibration())
        made = adapted_decision(cells, found, before)
        about = {"model": "m", "checkpoint": "sha256:0", "synthetic": False}
        content = decision_content(made, cells, found, shipped=before, **about)
        read = decision_from(content, tmp_path / "decision.json")
        called = found.p_all > made.point.threshold
        if cells is few and before is shipped:
            assert read.fitted_on.shipped is not None
            assert read.fitted_on.shipped.sensitivity == called[cells.is_all].mean()
            assert read.fitted_on.shipped.specificity == 1 - called[~cells.is_all].mean()
        else:
            assert read.fitted_on.shipped is None
            assert made.point.sensitivity == called[cells.is_all].mean()
