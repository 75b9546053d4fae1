"""Intercept and slope against the equations of maximum likelihood, and known distortions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given

from blastscope.decision.calibration_slope import calibration_slope
from tests.decision.made import labelled


def drawn(slope: float = 1.0, shift: float = 0.0, n: int = 40_000, seed: int = 1):
    """Labels by their log-odds, and probabilities that state ``slope`` times those plus a shift."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(0.5, 1.5, n)
    is_all = rng.random(n) < 1 / (1 + np.exp(-odds))
    return is_all, 1 / (1 + np.exp(-(slope * odds + shift)))


@pytest.mark.parametrize(("slope", "shift"), [(1.0, 0.0), (2.0, 0.0), (0.5, 0.3)])
def test_the_slope_solves_the_equations_of_maximum_likelihood(slope, shift):
    """What is left of the labels sums to zero, by itself and times the log-odds."""
    is_all, p_all = drawn(slope, shift, n=2000)
    odds = np.log(p_all / (1 - p_all))
    found = calibration_slope(is_all, p_all)
    assert found.slope == pytest.approx(1 / slope, rel=0.15)

    def left(intercept: float, slope: float) -> np.ndarray:
        return is_all - 1 / (1 + np.exp(-(intercept + slope * odds)))

    assert left(found.intercept, 1).sum() == pytest.approx(0, abs=1e-6)
    low, high = -10.0, 10.0  # bisect the intercept beside the slope
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if left(middle, found.slope).sum() > 0 else (low, middle)
    assert (left(low, found.slope) * odds).sum() == pytest.approx(0, abs=0.02)


def test_true_probabilities_have_0_and_1():
    found = calibration_slope(*drawn())
    assert found.intercept == pytest.approx(0, abs=0.04)
    assert found.slope == pytest.approx(1, abs=0.04)


def test_probabilities_that_are_too_high_have_a_negative_intercept():
    # All odds are e times too high: the intercept takes that back.
    assert calibration_slope(*drawn(shift=1.0)).intercept == pytest.approx(-1, abs=0.05)


def test_what_cannot_be_fitted_is_not_a_number():
    p_all = np.array([0.1, 0.2, 0.8, 0.9])
    assert math.isnan(calibration_slope(np.ones(4, bool), p_all).intercept)
    apart = calibration_slope(p_all > 0.5, p_all)
    assert math.isnan(apart.slope)
    assert apart.intercept == pytest.approx(0, abs=1e-6)
    assert math.isnan(calibration_slope(np.array([True, False]), np.array([0.5, 0.5])).slope)


TOUCHING = (np.array([0.1, 0.2, 0.5]), np.array([0.5, 0.8, 0.9]))


@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize("turned", [False, True])
def test_classes_that_share_one_value_at_their_ends_have_no_slope(times, turned):
    normal, blast = (np.repeat(one, times) for one in TOUCHING)
    is_all = np.repeat([turned, not turned], [len(normal), len(blast)])
    p_all = np.concatenate([normal, blast])
    found = calibration_slope(is_all, p_all)
    assert math.isnan(found.slope)
    assert found.intercept == pytest.approx(0, abs=1e-6)
    # By hand: cells at .5 (log-odds 0) stay even, and a steeper slope makes all others likelier.
    odds = np.log(p_all / (1 - p_all)) * np.where(is_all, 1, -1) * (-1 if turned else 1)
    likelihood = [-np.log1p(np.exp(-slope * odds)).sum() for slope in (1, 10, 20, 40)]
    assert (np.diff(likelihood) > 0).all()


@given(labelled(most=12))
def test_there_is_a_slope_if_no_threshold_separates_the_classes(cells):
    is_all, p_all = cells
    found = calibration_slope(is_all, p_all)
    separate = any(
        (p_all[one] >= cut).all() and (p_all[other] <= cut).all()
        for one, other in ((is_all, ~is_all), (~is_all, is_all))
        for cut in p_all
    )
    assert math.isnan(found.slope) == separate
