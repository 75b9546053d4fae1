"""Shortcuts against SciPy, scikit-learn and cells whose traits are known."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from blastscope.errors import BlastscopeError
from blastscope.evaluation.cell_measurements import CellMeasurements, cell_measurements
from blastscope.evaluation.shortcuts import measure_shortcuts
from blastscope.report.shortcut_text import rivals_text

RNG = np.random.default_rng(8)
N = 240
IS_ALL = np.arange(N) % 2 == 0
SIZE = RNG.normal(np.where(IS_ALL, 220, 195), 20)
P_ALL = 1 / (1 + np.exp(-(SIZE - 205) / 15 + RNG.normal(0, 1, N)))
TRAITS = pl.DataFrame(
    {
        "cell": [f"c{k}" for k in range(N)],
        "size": SIZE,
        "touches_frame": np.arange(N) % 12 == 0,
        "edges": RNG.normal(0, 1, N),
        "lightness": RNG.normal(50, 5, N),
        "a_star": RNG.uniform(5, 20, N),
        "b_star": RNG.uniform(-30, -10, N),
    }
)
CELLS = pl.DataFrame(
    {
        "cell": TRAITS["cell"],
        "subject": [f"{'a' if blast else 'n'}{k % 8}" for k, blast in enumerate(IS_ALL)],
        "label": np.where(IS_ALL, "all", "hem"),
        "p_all": P_ALL,
        "fold": np.arange(N) // 120,
    }
)
MEASURED = CellMeasurements(Path("store"), TRAITS, CELLS.select("cell", "label", "subject"))


def test_rank_correlations_are_scipys():
    found = measure_shortcuts(CELLS.drop("fold"), {}, MEASURED)
    hue = np.arctan2(TRAITS["b_star"], TRAITS["a_star"])
    for trait, values in (("size", SIZE), ("brightness", TRAITS["lightness"]), ("hue", hue)):
        for label, here in (("all", IS_ALL), ("hem", ~IS_ALL)):
            theirs = spearmanr(np.asarray(values)[here], P_ALL[here]).statistic
            assert found.correlation(trait, label) == pytest.approx(theirs)


def test_ranks_are_within_a_fold():
    moved = CELLS.with_columns(p_all=pl.col("p_all") / 2 + 0.5 * pl.col("fold"))
    known = {"out_of_fold": "subject"}
    one, other = (measure_shortcuts(table, known, MEASURED) for table in (CELLS, moved))
    assert other.correlation("size", "hem") == pytest.approx(one.correlation("size", "hem"))
    assert other.equal_size.matched.value == pytest.approx(one.equal_size.matched.value)
    assert other.subjects.auc.mean == pytest.approx(one.subjects.auc.mean)


def test_it_is_told_whether_a_subject_is_compared_with_the_cells_of_its_fold_only():
    within, across = (
        measure_shortcuts(CELLS, known, None) for known in ({"out_of_fold": "subject"}, {})
    )
    assert within.within_folds
    assert not across.within_folds
    assert "fold" in rivals_text(within)
    assert "fold" not in rivals_text(across)


def test_subgroups_are_thirds_and_the_frame():
    found = measure_shortcuts(CELLS.drop("fold"), {}, MEASURED)
    of = {(one.by, one.name): one for one in found.subgroups}
    assert len(of) == 8
    small = np.quantile(SIZE, 1 / 3) > SIZE
    lowest = of["size", "lowest third"]
    assert lowest.cells_all + lowest.cells_hem == small.sum()
    assert lowest.metrics["auc"] == pytest.approx(roc_auc_score(IS_ALL[small], P_ALL[small]))
    framed = of["frame", "touches the frame"]
    assert framed.cells_all == (IS_ALL & (np.arange(N) % 12 == 0)).sum()
    assert framed.metrics["auc"] is None  # these twenty are all ALL


def test_a_subgroup_of_few_cells_is_counted_and_not_judged():
    few = TRAITS.with_columns(touches_frame=np.arange(N) < 9)
    measured = CellMeasurements(Path("store"), few, CELLS.select("cell", "label", "subject"))
    found = measure_shortcuts(CELLS.drop("fold"), {}, measured)
    of = {(one.by, one.name): one for one in found.subgroups}
    framed = of["frame", "touches the frame"]
    assert (framed.cells_all, framed.cells_hem) == (5, 4)
    assert set(framed.metrics.values()) == {None}


def test_without_measurements_only_subjects_are_told_of():
    found = measure_shortcuts(CELLS.drop("fold"), {}, None)
    assert found.equal_size is None
    assert not found.correlations
    assert not found.subgroups
    assert found.subjects.auc.subjects == 4
    assert 0 < found.detectable < 1
    assert math.isnan(found.correlation("size", "hem"))
    json.dumps(found.as_json(), allow_nan=False)


def test_json_has_no_nan():
    content = json.dumps(measure_shortcuts(CELLS, {}, MEASURED).as_json(), allow_nan=False)
    assert "equal_size" in content


def test_a_cell_that_was_not_measured_is_refused():
    other = CELLS.with_columns(cell=pl.lit("x") + pl.col("cell"))
    with pytest.raises(BlastscopeError, match="lacks 240 of 240"):
        measure_shortcuts(other, {}, MEASURED)


def test_boxes_have_the_sizes_and_labels_of_their_names(tmp_path):
    boxes = tmp_path / "boxes.csv"
    boxes.write_text(
        "file,x,y,width,height\nUID_11_10_1_all.bmp,121,118,222,246\nUID_H14_1_1_hem.bmp,0,0,180,150\n"
    )
    found = cell_measurements(boxes)
    sizes = found.of(pl.Series(["UID_H14_1_1_hem", "UID_11_10_1_all"]))
    assert sizes["size"].to_list() == [180, 246]
    assert found.labels.sort("cell")["label"].to_list() == ["all", "hem"]
