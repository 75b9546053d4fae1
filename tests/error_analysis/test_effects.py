"""Tests and effect sizes against scipy, published examples and calculations by hand."""

from __future__ import annotations

from math import asin, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from blastscope.error_analysis import effects
from blastscope.error_analysis.effects import (
    association,
    delta_within,
    difference,
    heterogeneity,
)

numbers = st.lists(st.integers(0, 6), min_size=5, max_size=20)


@given(numbers, numbers)
def test_delta_is_the_share_above_less_the_share_below(hard, right):
    if len({*hard, *right}) == 1:
        return
    ours, theirs = np.array(hard, float), np.array(right, float)
    found = difference(ours, theirs)
    signs = np.sign(ours[:, None] - theirs[None])
    assert found.delta == pytest.approx(signs.mean())
    # The unbiased variances of the row and column means of the same matrix are DeLong's.
    half = 1.959964 * sqrt(
        signs.mean(axis=1).var(ddof=1) / len(ours) + signs.mean(axis=0).var(ddof=1) / len(theirs)
    )
    if found.low is not None and found.high is not None:
        assert found.low == pytest.approx(max(-1, found.delta - half), abs=1e-6)
        assert found.high == pytest.approx(min(1, found.delta + half), abs=1e-6)
    else:
        assert half < 1e-5


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(24)
    truth = 2 * stats.norm.cdf(0.8 / sqrt(2)) - 1  # of two normals 0.8 apart
    draws = [difference(rng.normal(0.8, 1, 40), rng.normal(0, 1, 80)) for _ in range(400)]
    held = np.mean([d.low <= truth <= d.high for d in draws])  # type: ignore[operator]
    assert 0.91 <= held <= 0.98


def test_groups_apart_have_no_interval():
    found = difference(np.arange(10.0, 15.0), np.arange(5.0))
    assert (found.delta, found.low, found.high) == (1, None, None)
    assert found.p == pytest.approx(2 / 252)  # one of C(10, 5) orders, on either side


def test_delta_within_subjects_by_hand():
    values = np.array([3.0, 1.0, 1.0, 2.0, 5.0, 6.0, 9.0, 0.0, 7.0])
    hard = np.array([1, 0, 1, 1, 0, 0, 1, 0, 1], bool)
    subjects = ["A", "A", "B", "B", "B", "B", "C", None, None]
    # A: +1 with weight 1/3; B: -1 with weight 4/5; C has hard cells only; the last name none.
    within, both = delta_within(values, hard, subjects)
    assert within == pytest.approx((1 / 3 - 4 / 5) / (1 / 3 + 4 / 5))
    assert both == 2
    assert delta_within(values[6:], hard[6:], subjects[6:]) == (None, 0)


def test_what_only_sets_subjects_apart_vanishes_within_them():
    rng = np.random.default_rng(1)
    owner = np.repeat([0, 1], 400)
    values = 10 * owner + rng.normal(size=800)
    hard = rng.random(800) < np.where(owner, 0.7, 0.1)
    assert difference(values[hard], values[~hard]).delta > 0.5
    within, both = delta_within(values, hard, [str(k) for k in owner])
    assert within == pytest.approx(0, abs=0.12)
    assert both == 2


def test_fishers_tea():
    # R. A. Fisher's lady: three of four cups right; two-sided p 34/70.
    flag = np.array([1] * 4 + [0] * 4, bool)
    hard = np.array([1, 1, 1, 0, 1, 0, 0, 0], bool)
    found = association(flag, hard)
    assert found.p == pytest.approx(34 / 70)
    assert found.odds_ratio == 9
    assert found.risk_difference == pytest.approx(0.5)
    assert found.h == pytest.approx(2 * asin(sqrt(0.75)) - 2 * asin(sqrt(0.25)))
    assert association(flag, flag).odds_ratio is None


def test_shares_that_differ_and_shares_that_do_not():
    cells = np.array([100, 100, 100])
    apart = heterogeneity(np.array([10, 30, 50]), cells)
    table = [[10, 90], [30, 70], [50, 50]]
    assert apart.chi2 == pytest.approx(stats.chi2_contingency(table).statistic)
    assert apart.p == pytest.approx(stats.chi2_contingency(table).pvalue)
    assert not apart.simulated
    assert apart.v == pytest.approx(stats.contingency.association(table), abs=0.02)
    level = heterogeneity(np.array([30, 30, 30]), cells)
    assert (level.chi2, level.v) == (0, 0)
    assert heterogeneity(np.array([20, 0]), np.array([20, 20])).v == pytest.approx(1)


def test_the_corrected_v_is_about_nothing_where_nothing_is():
    rng = np.random.default_rng(3)
    cells = np.full(70, 20)
    found = [heterogeneity(rng.binomial(cells, 0.3), cells).v for _ in range(40)]
    assert np.mean(found) < 0.08  # uncorrected it would be sqrt(69 / 1400) = 0.22


def test_few_cells_get_a_simulated_p_like_the_exact_one():
    hard, cells = np.array([4, 0]), np.array([8, 7])
    found = heterogeneity(hard, cells)
    assert found.simulated
    first = np.arange(0, 5)  # all tables with these margins
    chances = stats.hypergeom(15, 4, 8).pmf(first)
    statistics = np.array(
        [
            stats.chi2_contingency([[k, 8 - k], [4 - k, 3 + k]], correction=False).statistic
            for k in first
        ]
    )
    exact = chances[statistics >= statistics[4] - 1e-9].sum()
    assert found.p == pytest.approx(exact, abs=0.01)
    assert heterogeneity(hard, cells) == found  # the same at every run


def test_simulating_by_parts_draws_as_many_tables_and_holds_few(monkeypatch):
    cells = np.full(40, 3)
    hard = np.random.default_rng(8).binomial(cells, 0.3)
    whole = heterogeneity(hard, cells)
    drawn = []
    generator = np.random.default_rng

    class Watched:
        def __init__(self, seed):
            self.rng = generator(seed)

        def multivariate_hypergeometric(self, colours, count, size):
            drawn.append(size * len(colours))
            return self.rng.multivariate_hypergeometric(colours, count, size=size)

    monkeypatch.setattr(effects, "_AT_ONCE", 50_000)
    monkeypatch.setattr(np.random, "default_rng", Watched)
    assert heterogeneity(hard, cells) == whole
    assert max(drawn) <= 50_000
    assert sum(drawn) == effects.SIMULATIONS * 40
