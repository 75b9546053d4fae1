"""Metrics of each subject against scikit-learn, prediction intervals against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from blastscope.evaluation.cell_pairs import ScoredCells
from blastscope.evaluation.confidence_intervals import intervals
from blastscope.evaluation.next_subject import (
    prediction_interval,
    smallest_difference,
    subject_metrics,
)


def cells_of(aucs, per_subject: int = 30, seed: int = 1):
    """Normal subjects that are told apart as well as ``aucs`` say, and as many ALL subjects."""
    rng = np.random.default_rng(seed)
    names, is_all, p_all = [], [], []
    for k, auc in enumerate(aucs):
        shift = math.sqrt(2) * stats.norm.ppf(auc)
        names += [f"a{k}"] * per_subject + [f"n{k}"] * per_subject
        is_all += [True] * per_subject + [False] * per_subject
        p_all += [*stats.norm.cdf(rng.normal(0.7, 1, per_subject))]
        p_all += [*stats.norm.cdf(rng.normal(0.7 - shift, 1, per_subject))]
    return ScoredCells(np.array(is_all), np.array(p_all)), names


def test_each_normal_subject_is_ranked_against_all_blasts():
    cells, names = cells_of((0.95, 0.7, 0.85))
    found = subject_metrics(cells, names, 0.5)
    table = {row["subject"]: row for row in found.normal_subjects.to_dicts()}
    of = np.array(names)
    for name in ("n0", "n1", "n2"):
        here = cells.is_all | (of == name)
        theirs = roc_auc_score(cells.is_all[here], cells.p_all[here])
        assert table[name]["auc"] == pytest.approx(theirs)
        assert table[name]["recall"] == pytest.approx((cells.p_all[of == name] <= 0.5).mean())
    aucs = [row["auc"] for row in table.values()]
    assert found.auc.mean == pytest.approx(np.mean(aucs))
    assert found.auc_mean.value == pytest.approx(np.mean(aucs))
    assert found.auc_mean.low < found.auc_mean.value < found.auc_mean.high
    assert (found.auc.worst, found.auc.lowest) == ("n1", pytest.approx(min(aucs)))
    assert found.deviation == pytest.approx(np.std(aucs, ddof=1))
    assert found.auc.low < min(aucs)


def test_pairs_are_of_one_fold():
    cells, names = cells_of((0.9, 0.8))
    fold = np.array([int(name[1]) for name in names])
    found = subject_metrics(ScoredCells(cells.is_all, cells.p_all, fold=fold), names, 0.5)
    for row in found.normal_subjects.to_dicts():
        here = fold == int(row["subject"][1])
        assert row["auc"] == pytest.approx(roc_auc_score(cells.is_all[here], cells.p_all[here]))


def test_a_subject_without_an_auc_is_not_the_worst():
    # By hand: H0 is alone in its fold; against .5, .6 and .9, H1 (.1) has AUC 1 and H2 (.55) 2/3.
    is_all = np.array([False, False, False, True, True, True])
    p_all = np.array([0.2, 0.1, 0.55, 0.5, 0.6, 0.9])
    cells = ScoredCells(is_all, p_all, fold=np.array([1, 2, 2, 2, 2, 2]))
    found = subject_metrics(cells, ["H0", "H1", "H2", "A1", "A2", "A3"], 0.5)
    assert (found.auc.worst, found.auc.lowest) == ("H2", pytest.approx(2 / 3))
    assert found.auc.subjects == 2
    assert found.normal_subjects["subject"].to_list() == ["H2", "H1", "H0"]
    assert found.normal_subjects["auc"].to_list()[2] is None


def test_nothing_is_said_without_subjects_or_of_one_class():
    cells, names = cells_of((0.9, 0.8))
    assert subject_metrics(cells, [None, *names[1:]], 0.5) is None
    only = ScoredCells(cells.is_all[cells.is_all], cells.p_all[cells.is_all])
    assert subject_metrics(only, [name for name in names if name[0] == "a"], 0.5) is None


def test_a_subject_with_both_classes_counts_in_both():
    is_all = np.array([True, False, True, False, True, False])
    cells = ScoredCells(is_all, np.array([0.9, 0.2, 0.8, 0.6, 0.3, 0.1]))
    found = subject_metrics(cells, ["x", "x", "y", "y", "z", "z"], 0.5)
    assert found.recall_all.subjects == found.recall_hem.subjects == 3
    assert found.recall_all.mean == pytest.approx(2 / 3)
    assert found.recall_hem.mean == pytest.approx(2 / 3)


def test_the_prediction_interval_is_the_published_formula():
    correct, cells = np.array([90, 40, 75, 20]), np.array([100, 50, 100, 40])
    y = np.log((correct + 0.5) / (cells - correct + 0.5))
    v = 1 / (correct + 0.5) + 1 / (cells - correct + 0.5)
    w = 1 / v
    q = (w * (y - (w * y).sum() / w.sum()) ** 2).sum()
    tau2 = max(0, (q - 3) / (w.sum() - (w**2).sum() / w.sum()))
    w = 1 / (v + tau2)
    mean, error = (w * y).sum() / w.sum(), 1 / w.sum()
    reach = 4.302653 * np.sqrt(tau2 + error)  # Student's t with 2 degrees of freedom
    low, high = prediction_interval(correct, cells)
    assert low == pytest.approx(1 / (1 + np.exp(-(mean - reach))), abs=1e-6)
    assert high == pytest.approx(1 / (1 + np.exp(-(mean + reach))), abs=1e-6)


def test_the_next_subject_lies_in_its_prediction_interval_as_often_as_promised():
    rng, held, times = np.random.default_rng(11), 0, 400
    for _ in range(times):
        share = 1 / (1 + np.exp(-rng.normal(1.5, 0.8, 16)))
        cells = rng.integers(30, 300, 15)
        low, high = prediction_interval(rng.binomial(cells, share[:15]), cells)
        held += low <= share[15] <= high
    assert held / times == pytest.approx(0.95, abs=0.035)


def test_two_subjects_predict_nothing():
    assert all(map(math.isnan, prediction_interval(np.array([9, 8]), np.array([10, 10]))))


@pytest.mark.parametrize("subjects", [3, 10])
def test_the_smallest_difference_is_found_in_four_of_five_simulations(subjects):
    shift = smallest_difference(0.05, subjects)
    drawn = np.random.default_rng(12).normal(shift, 0.05, (20_000, subjects))
    p = stats.ttest_1samp(drawn, 0, axis=1).pvalue
    assert (p < 0.05).mean() == pytest.approx(0.8, abs=0.015)


def test_more_subjects_show_smaller_differences():
    found = [smallest_difference(0.05, n) for n in (2, 3, 10, 50)]
    assert found == sorted(found, reverse=True)
    assert math.isnan(smallest_difference(0.05, 1))


def test_the_cells_of_an_only_blast_subject_are_drawn():
    """With normal subjects of one size the mean AUC and its interval are those of all cells."""
    rng = np.random.default_rng(1)
    names = ["a"] * 12 + [f"n{k % 10}" for k in range(500)]
    is_all = np.array([True] * 12 + [False] * 500)
    p_all = stats.norm.cdf(rng.normal(np.where(is_all, 0.6, -0.6), 1))
    found = subject_metrics(ScoredCells(is_all, p_all), names, 0.5).auc_mean
    pooled = intervals(is_all, p_all, names).bounds["auc"]
    assert found.value == pytest.approx(roc_auc_score(is_all, p_all))
    assert (found.low, found.high) == pytest.approx(pooled, abs=0.005)
