"""The verdict is what the numbers bear out, and good only on unseen subjects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from blastscope.evaluation.bootstrap import resampling
from blastscope.evaluation.cell_measurements import CellMeasurements
from blastscope.evaluation.confidence_intervals import Estimate
from blastscope.evaluation.metrics import compute_metrics
from blastscope.evaluation.model_baselines import ModelBaseline, model_baselines
from blastscope.evaluation.overlap import Overlap
from blastscope.evaluation.shortcuts import measure_shortcuts
from blastscope.evaluation.verdict import Verdict, count_folds, verdict

UNSEEN = Overlap("disjoint", "subjects", "test", 40)
NONE = Estimate(np.nan, np.nan, np.nan)


def cells(subjects: int = 20, effect: float = 1.5) -> pl.DataFrame:
    """Cells of so many subjects of each class, told apart as well as ``effect`` says."""
    rng = np.random.default_rng(4)
    names = [f"{label}{k}" for label in ("all", "hem") for k in range(subjects) for _ in range(20)]
    is_all = np.array([name.startswith("all") for name in names])
    p_all = 1 / (1 + np.exp(-rng.normal(np.where(is_all, effect, -effect))))
    return pl.DataFrame(
        {
            "cell": [f"c{k}" for k in range(len(names))],
            "subject": names,
            "label": np.where(is_all, "all", "hem"),
            "part": "test",
            "p_all": p_all,
        }
    )


def judged(
    frame: pl.DataFrame,
    *more: ModelBaseline,
    overlap: Overlap = UNSEEN,
    error=(0.01, 0.02),
    measured: CellMeasurements | None = None,
    folds: tuple[int, int] = (0, 0),
) -> Verdict:
    is_all, p_all = (frame["label"] == "all").to_numpy(), frame["p_all"].to_numpy()
    baselines = (*model_baselines(None, frame, "test", {}), *more)
    sampling = resampling(is_all, frame["subject"].to_list()).sampling
    shortcuts = measure_shortcuts(frame, {}, measured)
    return verdict(
        compute_metrics(is_all, p_all), sampling, overlap, baselines, shortcuts, error, folds
    )


def sized(frame: pl.DataFrame, sizes: np.ndarray) -> CellMeasurements:
    table = frame.select("cell", size=pl.Series(sizes))
    return CellMeasurements(Path("boxes.csv"), table, frame.select("cell", "label", "subject"))


def size(low: float, high: float, auc: Estimate = NONE) -> ModelBaseline:
    lead = {"weighted_f1": Estimate((low + high) / 2, low, high), "auc": auc}
    return ModelBaseline("size", {}, {}, lead)


def test_ahead_of_size_on_unseen_subjects_is_good():
    found = judged(cells(), size(0.05, 0.2))
    assert (found.baselines, found.tested_on, found.calls) == ("ahead", "disjoint", "both")
    assert (found.subjects, found.subjects_all, found.subjects_hem) == ("enough", 20, 20)
    assert (found.calibration, found.level, found.closest) == ("calibrated", "good", "size")


@pytest.mark.parametrize(
    ("given", "baselines", "level"),
    [
        (size(-0.05, 0.2), "level", "caution"),
        (size(-0.2, -0.05), "behind", "bad"),
        (size(0.05, 0.2, Estimate(-0.1, -0.2, -0.05)), "behind", "bad"),  # ranks cells worse
    ],
)
def test_the_interval_of_the_lead_decides(given, baselines, level):
    found = judged(cells(), given)
    assert (found.baselines, found.level) == (baselines, level)


def test_a_ruler_knows_no_more_than_size_and_another_model_does():
    frame = cells()
    rng = np.random.default_rng(5)
    large = np.where(frame["label"] == "all", 220, 190) + rng.normal(0, 20, frame.height)
    ruler = frame.with_columns(p_all=pl.Series(large / 400))
    assert judged(ruler, size(-0.1, 0.1), measured=sized(frame, large)).size == "no-more"
    lead = Estimate(0.1, 0.05, 0.15)
    found = judged(frame, size(0.05, 0.2, lead), measured=sized(frame, large))
    assert (found.size, found.level) == ("beyond", "good")
    # A model that adds the size of a normal cell to what it knows leans on it.
    odds = np.log(frame["p_all"] / (1 - frame["p_all"])).to_numpy() + (large - 205) / 6
    leans = frame.with_columns(p_all=pl.Series(1 / (1 + np.exp(-odds))))
    assert judged(leans, size(0.05, 0.2, lead), measured=sized(frame, large)).size == "partly"
    assert judged(frame).size == "not-measured"


def test_always_all_alone_is_not_enough():
    found = judged(cells())
    assert (found.baselines, found.all_compared, found.level) == ("ahead", False, "caution")


def test_the_lead_over_always_all_is_paired_and_right():
    frame = cells()
    (baseline,) = model_baselines(None, frame, "test", {})
    is_all, p_all = (frame["label"] == "all").to_numpy(), frame["p_all"].to_numpy()
    own = compute_metrics(is_all, p_all)["weighted_f1"]
    theirs = compute_metrics(is_all, np.ones(len(is_all)))["weighted_f1"]
    lead = baseline.lead["weighted_f1"]
    assert lead.value == pytest.approx(own - theirs)
    assert baseline.estimates["weighted_f1"].value == pytest.approx(theirs)
    assert lead.low < lead.value < lead.high


@pytest.mark.parametrize(
    ("kind", "level"), [("disjoint", "good"), ("unknown", "caution"), ("shared", "caution"),
                        ("training", "bad")],
)  # fmt: skip
def test_only_unseen_subjects_are_a_test(kind, level):
    overlap = replace(UNSEEN, kind=kind)
    assert judged(cells(), size(0.05, 0.2), overlap=overlap).level == level


@pytest.mark.parametrize("label", ["all", "hem"])
def test_cells_of_one_class_are_no_comparison(label):
    found = judged(cells().filter(pl.col("label") == label))
    assert (found.baselines, found.calls) == ("one-class-cells", "one-class-cells")
    assert found.level == "caution"


@pytest.mark.parametrize(("p", "calls"), [(0.9, "all-only"), (0.1, "hem-only")])
def test_a_model_that_calls_everything_one_class_is_bad(p, calls):
    found = judged(cells().with_columns(p_all=pl.lit(p)), size(0.05, 0.2))
    assert (found.calls, found.level) == (calls, "bad")


def in_folds(*calls: tuple[int, float]) -> pl.DataFrame:
    """Return one fold for each pair: an ALL and a normal cell, both with this probability."""
    rows = [(fold, label, p) for fold, p in calls for label in ("all", "hem")]
    return pl.DataFrame(rows, schema=["fold", "label", "p_all"], orient="row")


def test_folds_whose_cells_are_called_alike_are_counted():
    assert count_folds(in_folds((1, 0.9), (2, 0.1), (3, 0.5))) == (3, 3)
    told_apart = pl.DataFrame({"fold": [4, 4], "label": ["all", "hem"], "p_all": [0.6, 0.4]})
    assert count_folds(pl.concat([in_folds((1, 0.9)), told_apart])) == (2, 1)
    one_class = in_folds((1, 0.9)).filter(pl.col("label") == "all")
    assert count_folds(one_class) == (0, 0)


def test_a_cross_validation_whose_networks_each_call_one_class_is_bad():
    found = judged(cells(), size(0.05, 0.2), folds=(3, 3))
    assert (found.calls, found.level) == ("alike-in-folds", "bad")
    found = judged(cells(), size(0.05, 0.2), folds=(3, 1))
    assert (found.calls, found.levels["calls"], found.level) == ("both", "caution", "caution")
    assert judged(cells(), size(0.05, 0.2), folds=(3, 0)).level == "good"


def test_cells_of_one_class_are_told_apart_from_calls_of_one_class():
    assert judged(cells().filter(pl.col("label") == "all")).calls == "one-class-cells"


@pytest.mark.parametrize(("n", "subjects"), [(1, "too-few"), (9, "few"), (10, "enough")])
def test_few_subjects_are_told_of(n, subjects):
    assert judged(cells(n)).subjects == subjects


def test_one_cell_without_a_subject_leaves_the_number_of_subjects_open():
    first = pl.int_range(pl.len()) == 0
    unnamed = cells().with_columns(subject=pl.when(~first).then("subject"))
    assert judged(unnamed).subjects == "unknown"


@pytest.mark.parametrize(
    ("error", "calibration"),
    [((0.02, 0.02), "calibrated"), ((0.021, 0.02), "miscalibrated"), (None, "not-judged")],
)
def test_calibration_is_held_against_chance(error, calibration):
    assert judged(cells(), error=error).calibration == calibration
