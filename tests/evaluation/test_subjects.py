from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest

from blastscope.evaluation.subjects import subject_overlap, subject_table, wilson_interval


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


def overlap(*subjects: tuple[str | None, str], part: str = "test") -> tuple[str, str]:
    found = subject_overlap(rows(*((s, "all", p, 0.5) for s, p in subjects)), part)
    return found.kind, found.sentence


def test_overlap_says_what_the_figures_can_say():
    kind, sentence = overlap(("A", "train"), ("B", "train"), ("A", "test"), ("B", "test"))
    assert kind == "shared"
    assert sentence == (
        "All 2 test subjects are also in training: this figure says nothing about unseen patients."
    )
    kind, sentence = overlap(("A", "train"), ("A", "test"), ("B", "test"), ("C", "test"))
    assert (kind, sentence[:44]) == ("shared", "1 of the 3 test subjects is also in training")
    assert overlap(("A", "train"), ("B", "test")) == (
        "disjoint",
        "No test subject is in training.",
    )
    assert overlap(("A", "train"), ("A", "validation"), part="validation")[0] == "shared"
    assert overlap(("A", "train"), part="train")[0] == "training"


def test_a_test_subject_in_validation_is_mentioned():
    kind, sentence = overlap(("A", "train"), ("B", "validation"), ("B", "test"), ("C", "test"))
    assert kind == "disjoint"
    assert sentence.endswith("But 1 of 2 are in validation, which chooses.")


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ([("A", "test")], "no training cells"),
        ([(None, "train"), (None, "test")], "no subjects"),
        ([(None, "train"), ("A", "test")], "no subjects"),
        (
            [("A", "train"), (None, "train"), ("B", "test")],
            "not every cell names its subject (1 do not)",
        ),
    ],
)
def test_overlap_is_never_guessed(cells, why):
    kind, sentence = overlap(*cells)
    assert kind == "unknown"
    assert why in sentence
