"""Measures of diversity, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from blastscope.error_analysis.agreement import agreements
from tests.error_analysis.made import scores_of, scores_with


def test_by_hand():
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
