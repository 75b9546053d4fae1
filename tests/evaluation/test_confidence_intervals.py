"""Intervals: against scipy's BCa, by simulation, and what a report shows of them."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from scipy.special import expit
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import norm, t

from blastscope.api.evaluate import evaluate
from blastscope.evaluation.bca import corrected_interval, leave_out
from blastscope.evaluation.bootstrap import resampling
from blastscope.evaluation.confidence_intervals import draw, intervals
from blastscope.evaluation.interval_coverage import simulated_coverage
from blastscope.evaluation.weighted_metrics import METRICS, WeightedMetrics
from blastscope.io.predictions import write_predictions
from blastscope.report.evaluation_text import sampling_text


def simulated(rng, n_subjects, cells=10, spread=1.0):
    """``n_subjects`` of each class; whoever is hard to tell is so in all their cells."""
    is_all = np.repeat([True, False], n_subjects * cells)
    who = np.repeat(np.arange(2 * n_subjects), cells)
    effect = rng.normal(0, spread, 2 * n_subjects)[who]
    logits = np.where(is_all, 1.0, -1.0) + effect + rng.normal(0, 1, len(who))
    return is_all, expit(logits), [str(subject) for subject in who]


def coverage(n_subjects: int, sets: int) -> dict[str, float]:
    """How often the intervals hold the metrics of 40,000 subjects of each class."""
    is_all, p_all, _ = simulated(np.random.default_rng(1), 40_000)
    (truth,) = WeightedMetrics(is_all, p_all[:, None]).of(np.ones((1, len(is_all)), np.uint16))[0]
    rng = np.random.default_rng(24)
    held = dict.fromkeys(METRICS, 0)
    for seed in range(sets):
        found = intervals(*simulated(rng, n_subjects), resamples=400, seed=seed).bounds
        for name, metric in zip(METRICS, truth, strict=True):
            low, high = found[name]
            held[name] += low <= metric <= high
    return {name: count / sets for name, count in held.items()}


def test_of_forty_subjects_95_percent_intervals_hold_93_to_97_percent():
    found = coverage(20, 1000)
    for name in ("weighted_f1", "accuracy", "auc", "recall_all", "recall_hem"):
        assert 0.93 <= found[name] <= 0.97, found


def test_of_a_mean_it_is_scipys_bca_with_expanded_ends():
    """One stratum of 25 single cells, the metric their mean."""
    values = np.random.default_rng(5).gamma(1.0, 1.0, 25)
    level = 2 * norm.cdf(-np.sqrt(25 / 24) * t.ppf(0.975, 24))
    theirs = scipy_bootstrap(
        (values,), np.mean, method="BCa", n_resamples=40_000, confidence_level=1 - level, rng=1
    )
    rng = np.random.default_rng(2)
    drawn = values[rng.integers(0, 25, (40_000, 25))].mean(axis=1)
    left_out = (values.sum() - values) / 24
    low, high = corrected_interval(
        np.array(values.mean()), drawn, left_out, np.zeros(25, np.intp), 25
    )
    assert low == pytest.approx(theirs.confidence_interval.low, abs=0.01)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=0.02)
    assert high - values.mean() > values.mean() - low  # skewed to the right


def two_models(rng, n_subjects, cells=10):
    """The same, seen by two models that mostly find the same subjects and cells hard."""

    def alike(n):
        return np.sqrt(0.7) * rng.normal(size=(n, 1)) + np.sqrt(0.3) * rng.normal(size=(n, 2))

    is_all = np.repeat([True, False], n_subjects * cells)
    who = np.repeat(np.arange(2 * n_subjects), cells)
    margin = np.where(is_all, 1.0, -1.0)[:, None] * [1.0, 0.8]
    p_all = expit(margin + alike(2 * n_subjects)[who] + alike(len(who)))
    return is_all, p_all, [str(subject) for subject in who]


def paired_coverage(n_subjects: int, sets: int) -> list[float]:
    """How often the intervals of the two models' difference in weighted F1 and AUC hold it."""
    shown = [METRICS.index("weighted_f1"), METRICS.index("auc")]

    def apart(metrics):
        return metrics[:, 0, shown] - metrics[:, 1, shown]

    is_all, p_all, _ = two_models(np.random.default_rng(1), 40_000)
    (truth,) = apart(WeightedMetrics(is_all, p_all).of(np.ones((1, len(is_all)), np.uint16)))
    rng, held = np.random.default_rng(24), np.zeros(2)
    for seed in range(sets):
        is_all, p_all, subjects = two_models(rng, n_subjects)
        draws = resampling(is_all, subjects, 400, seed)
        found = draw(WeightedMetrics(is_all, p_all).of, draws).of(apart).estimates()
        held += [e.low <= metric <= e.high for e, metric in zip(found, truth, strict=True)]
    return (held / sets).tolist()


def test_paired_differences_hold_what_they_promise():
    """Of 1,000 sets 94 % hold it with 20 subjects of each class; of these few, chance is 2 %."""
    assert all(0.92 <= share <= 0.98 for share in paired_coverage(20, 250))
    assert all(0.90 <= share <= 0.98 for share in paired_coverage(5, 250))
    assert all(0.80 <= share <= 0.94 for share in paired_coverage(3, 250))


def test_a_paired_difference_in_accuracy_is_scipys_bca_of_the_cells_differences():
    """One class, cells drawn: the difference is a mean over cells, as scipy knows it."""
    rng = np.random.default_rng(8)
    p_all = np.where(rng.random((500, 2)) < [0.9, 0.8], 0.9, 0.1)
    is_all, at = np.ones(500, np.bool_), METRICS.index("accuracy")
    draws = resampling(is_all, [None] * 500, 20_000)
    drawn = draw(WeightedMetrics(is_all, p_all).of, draws)
    (found,) = drawn.of(lambda metrics: metrics[:, 0, at] - metrics[:, 1, at]).estimates()
    apart = p_all.round() @ [1.0, -1.0]
    level = 2 * norm.cdf(-np.sqrt(500 / 499) * t.ppf(0.975, 499))
    theirs = scipy_bootstrap(
        (apart,), np.mean, method="BCa", n_resamples=20_000, confidence_level=1 - level, rng=1
    ).confidence_interval
    assert found.value == pytest.approx(apart.mean())
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.0021)


def test_the_same_difference_seen_from_the_other_side():
    is_all, p_all, subjects = two_models(np.random.default_rng(4), 8)
    drawn = draw(WeightedMetrics(is_all, p_all).of, resampling(is_all, subjects, 500))
    here = drawn.of(lambda metrics: metrics[:, 0] - metrics[:, 1]).estimates()
    there = drawn.of(lambda metrics: metrics[:, 1] - metrics[:, 0]).estimates()
    for mine, other in zip(here, there, strict=True):
        turned = other.negated()
        assert (mine.value, mine.low, mine.high) == pytest.approx(
            (turned.value, turned.low, turned.high), abs=1e-12
        )


def test_draws_level_with_the_metric_but_for_rounding_lie_on_neither_side():
    """Half of them above it by a rounding error: the median stays where it is."""
    drawn = np.concatenate([np.full(300, 0.3), np.full(300, 0.1 + 0.2), [0.2] * 50, [0.4] * 50])
    strata = np.zeros(12, np.intp)
    low, high = corrected_interval(np.array(0.3), drawn, np.full(12, 0.3), strata, 12)
    assert (low, high) == pytest.approx((0.2, 0.4))
    drawn[:] = 0.0
    assert corrected_interval(np.array(0.0), drawn, np.zeros(12), strata, 12) == (0.0, 0.0)


def test_resamples_without_a_metric_are_left_out_of_its_interval():
    drawn = np.random.default_rng(1).normal(size=(999, 3))
    drawn[::3, 1] = np.nan
    drawn[:, 2] = np.nan
    left_out, strata = np.zeros((40, 3)), np.zeros(40, np.intp)
    low, high = corrected_interval(np.zeros(3), drawn, left_out, strata, 40)
    known = drawn[~np.isnan(drawn[:, 1]), 1]
    alone = corrected_interval(np.zeros(1), known[:, None], left_out[:, :1], strata, 40)
    assert (low[1], high[1]) == (alone[0][0], alone[1][0])
    assert np.isnan([low[2], high[2]]).all()


def test_each_subject_is_left_out_once_and_cells_of_a_lone_one():
    is_all = np.array([True] * 6 + [False] * 4)
    subjects = ["1", "1", "2", "2", "3", "3", "H1", "H1", "H1", "H1"]
    without, strata = leave_out(resampling(is_all, subjects))
    assert without.shape == (3 + 4, 10)
    assert strata.tolist() == [0, 0, 0, 1, 1, 1, 1]
    gone = [np.flatnonzero(row == 0).tolist() for row in without]
    assert gone == [[0, 1], [2, 3], [4, 5], [6], [7], [8], [9]]
    many, _ = leave_out(resampling(np.arange(1000) % 2 == 0, [None] * 1000))
    assert many.shape == (400, 1000)
    assert (many == 0).sum(axis=0).tolist() == [1] * 1000


@pytest.mark.parametrize(
    ("subjects", "simulated_as"), [(2, (2, 47, 62)), (3, (3, 70, 85)), (6, (5, 87, 94))]
)
def test_few_subjects_have_the_coverage_of_a_simulation(subjects, simulated_as):
    found = simulated_coverage(subjects)
    assert (found.subjects, found.low, found.high) == simulated_as


@pytest.mark.parametrize("subjects", [2, 9, 10])
def test_few_subjects_are_told_of(subjects):
    sampling = intervals(*simulated(np.random.default_rng(3), subjects)).sampling
    assert sampling.counts == {"all": subjects, "hem": subjects}
    assert ("in simulations" in sampling_text(sampling)) == (subjects < 10)


def test_of_three_subjects_fewer_than_said_hold_the_truth():
    found = coverage(3, 200)
    assert 0.6 < found["recall_all"] < found["weighted_f1"] < 0.9


def test_what_is_undefined_has_no_interval():
    found = intervals(
        np.ones(20, bool), np.linspace(0.1, 0.9, 20), [f"{k // 5}" for k in range(20)]
    )
    assert "auc" not in found.bounds
    assert "recall_hem" not in found.bounds
    low, high = found.bounds["recall_all"]
    assert low < 0.5 < high


def test_all_right_gives_the_point():
    is_all = np.repeat([True, False], 20)
    found = intervals(is_all, is_all * 0.9 + 0.05, [f"{k // 4}" for k in range(40)])
    assert found.bounds["weighted_f1"] == (1.0, 1.0)


def test_a_report_and_its_json_carry_them(tmp_path):
    is_all, p_all, subjects = simulated(np.random.default_rng(3), 12)
    table = pl.DataFrame(
        {
            "cell": [f"c{k}" for k in range(len(is_all))],
            "subject": subjects,
            "label": np.where(is_all, "all", "hem"),
            "part": "test",
            "model": "net",
            "p_all": p_all,
        }
    )
    write_predictions(table, tmp_path / "p.parquet")
    evaluate(tmp_path / "p.parquet", out=tmp_path / "out")
    content = json.loads((tmp_path / "out" / "metrics.json").read_text())
    low, high = content["intervals"]["auc"]
    assert low < content["parts"]["test"]["auc"] < high
    assert content["sampling"]["counts"] == {"all": 12, "hem": 12}
    assert f"{low:.3f} to {high:.3f}" in (tmp_path / "out" / "report.html").read_text()
