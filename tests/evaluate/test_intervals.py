"""Intervals: against scipy's BCa, by simulation, and what a report shows of them."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from scipy.special import expit
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import norm, t

from blastscope.evaluate.bootstrap import resampling
from blastscope.evaluate.corrected import corrected_interval, leave_out
from blastscope.evaluate.intervals import intervals
from blastscope.evaluate.resampled import FIGURES, WeightedFigures
from blastscope.predictions import write_predictions
from blastscope.report.evaluate import evaluate


def simulated(rng, persons, cells=10, spread=1.0):
    """``persons`` of each class; whoever is hard to tell is so in all their cells."""
    is_all = np.repeat([True, False], persons * cells)
    who = np.repeat(np.arange(2 * persons), cells)
    effect = rng.normal(0, spread, 2 * persons)[who]
    logits = np.where(is_all, 1.0, -1.0) + effect + rng.normal(0, 1, len(who))
    return is_all, expit(logits), [str(person) for person in who]


def coverage(persons: int, sets: int) -> dict[str, float]:
    """How often the intervals hold the figures of 40,000 persons of each class."""
    is_all, p_all, _ = simulated(np.random.default_rng(1), 40_000)
    (truth,) = WeightedFigures(is_all, p_all[:, None]).of(np.ones((1, len(is_all)), np.uint16))[0]
    rng = np.random.default_rng(24)
    held = dict.fromkeys(FIGURES, 0)
    for seed in range(sets):
        found = intervals(*simulated(rng, persons), resamples=400, seed=seed).bounds
        for name, figure in zip(FIGURES, truth, strict=True):
            low, high = found[name]
            held[name] += low <= figure <= high
    return {name: count / sets for name, count in held.items()}


def test_of_forty_subjects_95_percent_intervals_hold_93_to_97_percent():
    found = coverage(20, 1000)
    for name in ("weighted_f1", "accuracy", "auc", "recall_all", "recall_hem"):
        assert 0.93 <= found[name] <= 0.97, found


def test_of_a_mean_it_is_scipys_bca_with_expanded_ends():
    """One stratum of 25 single cells, the figure their mean."""
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


def test_each_subject_is_left_out_once_and_cells_of_a_lone_one():
    is_all = np.array([True] * 6 + [False] * 4)
    subjects = ["1", "1", "2", "2", "3", "3", "H1", "H1", "H1", "H1"]
    without = leave_out(resampling(is_all, subjects))
    assert without.weights.shape == (3 + 4, 10)
    assert without.strata.tolist() == [0, 0, 0, 1, 1, 1, 1]
    gone = [np.flatnonzero(row == 0).tolist() for row in without.weights]
    assert gone == [[0, 1], [2, 3], [4, 5], [6], [7], [8], [9]]
    many = leave_out(resampling(np.arange(1000) % 2 == 0, [None] * 1000))
    assert many.weights.shape == (400, 1000)
    assert (many.weights == 0).sum(axis=0).tolist() == [1] * 1000


@pytest.mark.parametrize(
    ("persons", "said"),
    [
        (3, "3 subjects of each class 70 to 85 %"),
        (6, "5 subjects of each class 87 to 94 %"),
        (10, None),
    ],
)
def test_few_subjects_print_how_often_their_intervals_hold(persons, said):
    sentence = intervals(*simulated(np.random.default_rng(3), persons)).sentence
    assert (said in sentence) if said else ("simulations" not in sentence)


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
    assert "12 ALL, 12 normal" in content["intervals_drawn"]
    assert f"{low:.3f} to {high:.3f}" in (tmp_path / "out" / "report.html").read_text()
