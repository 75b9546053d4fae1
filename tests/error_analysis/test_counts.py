"""Counts of errors, compared with the figures of the paper's Section 3.4.1, and pairs by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from blastscope.error_analysis.counts import agreements, count_errors, misses
from tests.error_analysis.made import scores_of, scores_with

MODELS = ("CNN", "VGG16", "ResNet50 v1", "ResNet50 v2")
ERRORS = (196, 173, 123, 117)
ONLY_RIGHT = (12, 12, 1, 13)


def published() -> tuple[list[str], np.ndarray]:
    """2,133 cells with the published counts: by how many models missed, by each, saved by each."""
    alone = [[k] for k, count in enumerate((77, 54, 25, 31)) for _ in range(count)]
    pairs = {(0, 1): 42, (0, 3): 10, (1, 2): 10, (2, 3): 10}
    two = [list(pair) for pair, count in pairs.items() for _ in range(count)]
    three = [
        [k for k in range(4) if k != saviour]
        for saviour, count in enumerate(ONLY_RIGHT)
        for _ in range(count)
    ]
    who = [[0, 1, 2, 3]] * 41 + three + two + alone
    missed = np.zeros((2133, 4), bool)
    for row, models in enumerate(who):
        missed[row, models] = True
    labels = ["all"] * 9 + ["hem"] * 32 + ["all"] * 1428 + ["hem"] * 664
    return labels, missed


def test_the_papers_counts_come_out_of_a_table_that_has_them():
    labels, missed = published()
    counts = count_errors(scores_with(labels, missed, models=MODELS))
    assert counts.total == (2133 - 338, 187, 72, 38, 41)
    assert (counts.missed_by["all"][4], counts.missed_by["hem"][4]) == (9, 32)
    by_model = [counts.of(model) for model in MODELS]
    assert tuple(sum(row.errors for row in rows) for rows in by_model) == ERRORS
    assert tuple(sum(row.only_right or 0 for row in rows) for rows in by_model) == ONLY_RIGHT
    assert sum(row.only_wrong or 0 for rows in by_model for row in rows) == 187
    assert sum(k * n for k, n in enumerate(counts.total)) == 609 == sum(ERRORS)
    assert {row.label: row.cells for row in by_model[0]} == {"all": 1437, "hem": 696}


@given(arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 5))), st.integers(0, 2**30))
def test_errors_add_up(missed, seed):
    labels = np.random.default_rng(seed).choice(["all", "hem"], len(missed)).tolist()
    counts = count_errors(scores_with(labels, missed))
    assert sum(k * n for k, n in enumerate(counts.total)) == sum(r.errors for r in counts.models)
    assert sum(counts.total) == len(missed)
    if missed.shape[1] > 2:
        assert sum(row.only_wrong or 0 for row in counts.models) == counts.total[1]
        assert sum(row.only_right or 0 for row in counts.models) == counts.total[-2]


def test_an_exact_half_is_called_normal():
    scores = scores_of(["all", "hem"], np.array([[0.5, 0.51], [0.5, 0.51]]))
    assert misses(scores).tolist() == [[True, False], [False, True]]


def test_nothing_is_unique_to_a_lone_model():
    rows = count_errors(scores_with(["all", "hem"], np.array([[True], [False]]))).models
    assert [(row.errors, row.only_right, row.only_wrong) for row in rows] == [
        (1, None, None),
        (0, None, None),
    ]


def test_agreement_of_a_pair_by_hand():
    # Of ten ALL and ten normal cells both are right on 10, only one 5, only the other 3, none 2.
    right = np.array([[1, 1]] * 10 + [[1, 0]] * 5 + [[0, 1]] * 3 + [[0, 0]] * 2, bool)
    labels = ["all", "hem"] * 10
    (pair,) = agreements(scores_with(labels, ~right))
    assert (pair.one, pair.other) == ("m0", "m1")
    assert pair.q == pytest.approx((10 * 2 - 5 * 3) / (10 * 2 + 5 * 3))
    assert (pair.disagreement, pair.double_fault) == (8 / 20, 2 / 20)
    # Calls: cells alternate ALL and normal, so of the five only the first gets right three are ALL
    # (rows 10, 12, 14), of the three only the second gets right one is (16), of the two missed by
    # both one is (18). Called ALL by both: 5 right + 1 normal missed; by the first alone: 3 ALL it
    # gets right + 2 normal it misses; by the second alone: 2 + 1.
    both, first, second = 6, 5, 3
    neither = 20 - both - first - second
    chance = ((both + first) * (both + second) + (second + neither) * (first + neither)) / 400
    assert pair.kappa == pytest.approx(((both + neither) / 20 - chance) / (1 - chance))


def test_twins_and_opposites():
    missed = np.array([[1, 1, 0], [0, 0, 1], [1, 1, 0], [0, 0, 1]], bool)
    twins, opposites, _ = agreements(scores_with(["all", "hem", "hem", "all"], missed))
    assert (twins.kappa, twins.q, twins.disagreement, twins.double_fault) == (1, 1, 0, 0.5)
    assert (opposites.kappa, opposites.q) == (-1, -1)
    assert (opposites.disagreement, opposites.double_fault) == (1, 0)


def test_what_is_undefined_is_none(recwarn):
    (pair,) = agreements(scores_of(["all", "all", "hem"], np.full((3, 2), 0.9)))
    assert pair.kappa is None
    (perfect,) = agreements(scores_with(["all", "hem"], np.zeros((2, 2), bool)))
    assert (perfect.kappa, perfect.q) == (1, None)
    assert not recwarn.list
