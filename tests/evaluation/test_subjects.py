from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest

from blastscope.evaluation.overlap import Overlap, subject_overlap
from blastscope.evaluation.subjects import subject_table, wilson_interval


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 1), (5, 19), (2038, 2133), (7, 7), (0, 300)])
def test_wilson_agrees_with_scipy(right, n):
    low, high = wilson_interval(np.array([right]), np.array([n]))
    theirs = binomtest(right, n).proportion_ci(method="wilson")
    assert (low[0], high[0]) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def rows(*cells: tuple[str | None, str | None, str, float]) -> pl.DataFrame:
    schema = {"subject": pl.String, "label": pl.String, "part": pl.String, "p_all": pl.Float64}
    return pl.DataFrame(list(cells), schema=schema, orient="row")


def test_the_worst_subject_comes_first():
    table = subject_table(
        rows(
            ("S1", "all", "test", 0.9),
            ("H1", "hem", "test", 0.5),
            ("H1", "hem", "test", 0.7),
            ("H2", "hem", "test", 0.8),
            ("H2", None, "test", 0.1),
            (None, "hem", "test", 0.8),
            ("X", "all", "test", 0.9),
            ("X", "hem", "test", 0.1),
        )
    )
    assert table["subject"].to_list() == ["H2", "H1", "X", "S1"]
    assert table["label"].to_list() == ["hem", "hem", "mixed", "all"]
    assert table["cells"].to_list() == [1, 2, 2, 1]
    assert table["correct"].to_list() == [0, 1, 2, 1]
    assert table["accuracy"].to_list() == [0, 0.5, 1, 1]
    assert table["mean_p_all"].to_list() == pytest.approx([0.8, 0.6, 0.5, 0.9])


def test_no_subjects_make_an_empty_table():
    assert subject_table(rows((None, "all", "test", 0.2))).is_empty()


def overlap(*subjects: tuple[str | None, str], part: str = "test") -> Overlap:
    return subject_overlap(rows(*((s, "all", p, 0.5) for s, p in subjects)), part)


def test_overlap_counts_the_shared_subjects():
    every = overlap(("A", "train"), ("B", "train"), ("A", "test"), ("B", "test"))
    assert (every.kind, every.shared, every.subjects) == ("shared", 2, 2)
    some = overlap(("A", "train"), ("A", "test"), ("B", "test"), ("C", "test"))
    assert (some.kind, some.shared, some.subjects) == ("shared", 1, 3)
    assert overlap(("A", "train"), ("B", "test")) == Overlap("disjoint", "subjects", "test", 1)
    assert overlap(("A", "train"), ("A", "validation"), part="validation").kind == "shared"
    assert overlap(("A", "train"), part="train").kind == "training"
    assert overlap(("A", "train"), ("B", "validation"), part="validation").kind == "chosen"


def test_a_test_subject_in_validation_is_counted():
    found = overlap(("A", "train"), ("B", "validation"), ("B", "test"), ("C", "test"))
    assert (found.kind, found.in_validation, found.subjects) == ("disjoint", 1, 2)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ([("A", "test")], "no-training-cells"),
        ([(None, "train"), (None, "test")], "no-subjects"),
        ([(None, "train"), ("A", "test")], "no-subjects"),
        ([("A", "train"), (None, "train"), ("B", "test")], "unnamed-cells"),
    ],
)
def test_overlap_is_never_guessed(cells, reason):
    found = overlap(*cells)
    assert (found.kind, found.reason) == ("unknown", reason)
    assert found.unnamed == (reason == "unnamed-cells")
