"""Metrics of decisions: against scikit-learn and plain sums, and how often intervals hold."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from blastscope.decision.decision import DecisionRequest, fit_decision
from blastscope.decision.decision_metrics import DecisionMetrics
from blastscope.evaluation.bootstrap import resampling
from blastscope.evaluation.confidence_intervals import draw
from tests.decision.made import cells_of_subjects


def one_of_each(n: int):
    return np.ones((1, n), np.uint16)


@pytest.fixture(scope="module")
def decided():
    decision = fit_decision(*cells_of_subjects(60, 2), DecisionRequest())
    is_all, raw, subjects = cells_of_subjects(20, 3)
    return is_all, raw, subjects, decision.apply(raw), decision


def test_they_are_scikit_learns(decided):
    is_all, raw, _, of, _ = decided
    metrics = DecisionMetrics(is_all, raw, of)
    found = dict(zip(metrics.names, metrics.of(one_of_each(len(raw)))[0], strict=True))
    kept = ~of.refer
    held = np.array([pair[int(truth)] for truth, pair in zip(is_all, of.sets, strict=True)])
    expected = {
        "brier_before": sk.brier_score_loss(is_all, raw),
        "brier": sk.brier_score_loss(is_all, of.p_all),
        "accuracy": sk.accuracy_score(is_all, of.called),
        "sensitivity": sk.recall_score(is_all, of.called),
        "specificity": sk.recall_score(~is_all, ~of.called),
        "precision_all": sk.precision_score(is_all, of.called),
        "precision_hem": sk.precision_score(~is_all, ~of.called),
        "weighted_f1": sk.f1_score(is_all, of.called, average="weighted"),
        "kept": kept.mean(),
        "kept_all": kept[is_all].mean(),
        "kept_hem": kept[~is_all].mean(),
        "kept_error": (of.called != is_all)[kept].mean(),
        "kept_missed": (~of.called)[kept & is_all].mean(),
        "covered": held.mean(),
        "covered_all": of.sets[is_all, 1].mean(),
        "covered_hem": of.sets[~is_all, 0].mean(),
        "single": (of.sets.sum(axis=1) == 1).mean(),
        "both": of.sets.all(axis=1).mean(),
        "neither": (~of.sets.any(axis=1)).mean(),
    }
    assert found == pytest.approx(expected)
    assert 0 < expected["kept"] < 1


def test_a_weight_of_two_is_a_cell_twice(decided):
    is_all, raw, _, of, _ = decided
    weights = np.random.default_rng(1).integers(0, 3, (4, len(raw))).astype(np.uint16)
    found = DecisionMetrics(is_all, raw, of).of(weights)
    for row, times in zip(found, weights, strict=True):
        rows = np.repeat(np.arange(len(raw)), times)
        again = DecisionMetrics(is_all[rows], raw[rows], of.take(rows))
        assert row == pytest.approx(again.of(one_of_each(len(rows)))[0])


def test_what_has_nothing_below_the_line_is_undefined(decided):
    is_all, raw, _, of, _ = decided
    metrics = DecisionMetrics(is_all, raw, of)
    found = metrics.of(is_all[None].astype(np.uint16))[0]  # ALL cells alone
    named = dict(zip(metrics.names, found, strict=True))
    assert np.isnan(named["specificity"])
    assert np.isnan(named["covered_hem"])
    assert 0 < named["sensitivity"] < 1


def test_the_calibration_error_has_no_interval(decided):
    """Its resamples lie above it: see the class."""
    is_all, raw, _, of, _ = decided
    assert not [name for name in DecisionMetrics(is_all, raw, of).names if "ece" in name]


def test_of_forty_subjects_95_percent_intervals_hold(decided):
    """Subjects unlike each other, 20 of each class; 300 sets, the truth from 8,000 subjects."""
    decision = decided[-1]
    many, raw, _ = cells_of_subjects(4000, 1)
    truth = DecisionMetrics(many, raw, decision.apply(raw)).of(one_of_each(len(many)))[0]
    wanted = ("brier", "sensitivity", "specificity", "kept", "kept_error", "covered")
    held, sets = dict.fromkeys(wanted, 0), 300
    for seed in range(sets):
        is_all, raw, subjects = cells_of_subjects(20, 1000 + seed)
        metrics = DecisionMetrics(is_all, raw, decision.apply(raw))
        draws = resampling(is_all, subjects, 400, seed)
        found = draw(metrics.of, draws).estimates()
        for name in wanted:
            at = metrics.names.index(name)
            held[name] += found[at].low <= truth[at] <= found[at].high
    for name in wanted:  # 300 sets: 95 % plus or minus three times 1.3 %
        assert 0.91 <= held[name] / sets <= 0.99, held
