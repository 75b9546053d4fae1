"""The tests of pairs against hand calculations, scipy and DeLong's definition, word for word."""

from __future__ import annotations

from math import comb, erfc, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from blastscope.evaluation.pair_tests import delong, holm, mcnemar


def test_mcnemar_of_the_papers_ten_cells():
    by_hand = 2 * sum(comb(24, k) for k in range(8)) / 2**24
    assert by_hand == pytest.approx(0.0639, abs=5e-5)
    assert mcnemar(17, 7) == pytest.approx(by_hand, rel=1e-12)
    assert mcnemar(7, 17) == pytest.approx(by_hand, rel=1e-12)


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_twice_the_lesser_tail(b, c):
    tail = sum(comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
    assert mcnemar(b, c) == pytest.approx(min(1, 2 * tail), rel=1e-9)


def test_mcnemar_of_equal_models():
    assert mcnemar(0, 0) == 1
    assert mcnemar(5, 5) == pytest.approx(1)


def slow_delong(is_all, first, second):
    """DeLong, DeLong and Clarke-Pearson's equations, by the double loop that defines them."""
    placements = []
    for p in (first, second):
        pairs = [[1.0 if x > y else 0.5 if x == y else 0.0 for y in p[~is_all]] for x in p[is_all]]
        placements.append((np.mean(pairs, axis=1), np.mean(pairs, axis=0)))
    m, n = is_all.sum(), (~is_all).sum()
    s10 = np.cov([placements[0][0], placements[1][0]])
    s01 = np.cov([placements[0][1], placements[1][1]])
    s = s10 / m + s01 / n
    difference = placements[0][0].mean() - placements[1][0].mean()
    z = difference / sqrt(s[0, 0] + s[1, 1] - 2 * s[0, 1])
    return difference, erfc(abs(z) / sqrt(2))


@pytest.mark.parametrize("places", [1, 3])
def test_delong_is_its_definition(places):
    rng = np.random.default_rng(places)
    is_all = rng.random(90) < 0.4
    shared = rng.normal(is_all, 0.8)
    first, second = (np.round(shared + rng.normal(0, s, 90), places) for s in (0.4, 0.8))
    difference, p = delong(is_all, first, second)
    expected = slow_delong(is_all, first, second)
    assert 1e-6 < expected[1] < 0.99  # neither end, where anything would agree
    assert (difference, p) == pytest.approx(expected, rel=1e-9)
    areas = roc_auc_score(is_all, first), roc_auc_score(is_all, second)
    assert difference == pytest.approx(areas[0] - areas[1], abs=1e-12)


def test_delong_by_hand():
    """Two ALL cells, two normal; the first model orders all four pairs, the second three.

    Components of the second: ALL cells 1/2 and 1, normal cells 1/2 and 1; of the first all 1. The
    differences (1/2, 0) have the variance 1/8 in either class: 1/8/2 + 1/8/2 = 1/8 altogether. So
    z = 1/4 / sqrt(1/8) = 0.7071, and p = erfc(0.5) = 0.4795.
    """
    is_all = np.array([True, True, False, False])
    difference, p = delong(is_all, np.array([0.7, 0.9, 0.1, 0.2]), np.array([0.4, 0.9, 0.1, 0.6]))
    assert difference == 0.25
    assert p == pytest.approx(0.4795, abs=5e-5)


def test_delong_where_there_is_nothing_to_test_by():
    is_all = np.array([True, True, False, False])
    p = np.array([0.7, 0.3, 0.1, 0.6])
    assert delong(is_all, p, p) == (0, 1)
    assert delong(is_all, p, p**3) == (0, 1)  # ranked alike
    difference, unknown = delong(is_all, is_all.astype(float), np.full(4, 0.5))
    assert (difference, np.isnan(unknown)) == (0.5, True)  # each without spread
    assert np.isnan(delong(np.ones(4, dtype=bool), p, p)).all()
    assert np.isnan(delong(np.arange(4) == 0, p, 1 - p)[1])  # a class of one cell


def test_delong_keeps_its_level():
    """Two equally good models are told apart in one of twenty draws, as the level says."""
    rng = np.random.default_rng(8)
    is_all = np.arange(120) < 60
    told = 0
    for _ in range(600):
        shared = rng.normal(is_all, 0.7)
        told += delong(is_all, *(shared + rng.normal(0, 0.7, (2, 120))))[1] <= 0.05
    assert 0.025 < told / 600 < 0.08


def test_holm_by_hand():
    # 0.01 × 4, then 0.02 × 3, then 0.03 × 2 and 0.04 × 1, none below the one before.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []
    skipped = holm([np.nan, 0.02, 0.03])  # two tests were made, not three
    assert np.isnan(skipped[0])
    assert skipped[1:] == pytest.approx([0.04, 0.04])
