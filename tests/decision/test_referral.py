"""Referral: by hand, over all orders of equals, and what is asked for is reached."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blastscope.decision.referral import choose_referral, risk_coverage, sureness


def plain_area(wrong) -> float:
    """The mean risk of the first one, two, ... n cells."""
    return float(np.mean(np.cumsum(wrong) / np.arange(1, len(wrong) + 1)))


def test_five_cells_by_hand():
    """Surest first: right, wrong, right, right, wrong."""
    wrong = np.array([False, True, True, False, False])
    sure = np.array([0.9, 0.5, 0.8, 0.7, 0.6])
    found = risk_coverage(wrong, sure)
    assert found.coverage.tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1])
    assert found.risk.tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 4, 2 / 5])
    assert found.least.tolist() == [0.9, 0.8, 0.7, 0.6, 0.5]
    assert found.area == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4 + 2 / 5) / 5)
    assert found.best == pytest.approx((0 + 0 + 0 + 1 / 4 + 2 / 5) / 5)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=1, max_size=6))
def test_the_area_of_equals_is_the_mean_over_their_orders(cells):
    wrong, sure = (np.array(column) for column in zip(*cells, strict=True))
    areas = [
        plain_area(wrong[list(order)])
        for order in permutations(range(len(wrong)))
        if (np.diff(sure[list(order)]) <= 0).all()
    ]
    found = risk_coverage(wrong, sure.astype(float))
    assert found.area == pytest.approx(np.mean(areas))
    assert found.best == pytest.approx(plain_area(sorted(wrong)))
    assert found.best <= found.area + 1e-12


def test_sureness_is_the_probability_that_the_call_is_right():
    p_all, called = np.array([0.9, 0.2, 0.2, 0.5]), np.array([True, True, False, False])
    assert sureness(p_all, called).tolist() == pytest.approx([0.9, 0.2, 0.8, 0.5])


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 30)), min_size=1, max_size=80),
    st.sampled_from([0.05, 0.1, 0.25, 0.5]),
)
def test_as_many_as_can_be_are_kept_with_the_error_that_was_asked_for(cells, wanted):
    wrong, steps = (np.array(column) for column in zip(*cells, strict=True))
    sure = steps / 30
    found = choose_referral(wrong, sure, wanted)
    kept = ~found.refers(sure)
    assert found.kept == pytest.approx(kept.mean())
    fewest = min(20, len(wrong))
    possible = [
        (sure >= least).sum()
        for least in set(sure)
        if wrong[sure >= least].mean() <= wanted and (sure >= least).sum() >= fewest
    ]
    assert kept.sum() == max(possible, default=0)
    if kept.any():
        assert wrong[kept].mean() <= wanted
        assert found.error == pytest.approx(wrong[kept].mean())


def test_nobody_is_referred_where_the_error_is_low_enough():
    found = choose_referral(np.arange(40) == 3, np.linspace(0.5, 1, 40), 0.05)
    assert (found.threshold, found.kept, found.error) == (0.0, 1.0, 1 / 40)
    assert not found.refers(np.array([0.0])).any()


def test_all_are_referred_where_the_error_cannot_be_had():
    found = choose_referral(np.ones(40, bool), np.linspace(0.5, 1, 40), 0.05)
    assert (found.kept, found.error) == (0.0, 0.0)
    assert found.refers(np.array([1.0])).all()
    # Of equals none can be taken before another.
    assert choose_referral(np.arange(40) < 20, np.full(40, 0.7), 0.25).kept == 0


def test_a_lucky_few_are_not_enough():
    """The ten surest are right, of the twenty surest one in two is wrong."""
    wrong = (np.arange(40) >= 10) & (np.arange(40) % 4 != 0)
    assert choose_referral(wrong, np.linspace(1, 0.5, 40), 0.05).kept == 0
