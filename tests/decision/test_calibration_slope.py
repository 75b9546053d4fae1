"""Intercept and slope against scikit-learn's regression and known distortions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from blastscope.decision.calibration_slope import calibration_slope


def drawn(slope: float = 1.0, shift: float = 0.0, n: int = 40_000, seed: int = 1):
    """Labels by their log-odds, and probabilities that state ``slope`` times those plus a shift."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(0.5, 1.5, n)
    is_all = rng.random(n) < 1 / (1 + np.exp(-odds))
    return is_all, 1 / (1 + np.exp(-(slope * odds + shift)))


@pytest.mark.parametrize(("slope", "shift"), [(1.0, 0.0), (2.0, 0.0), (0.5, 0.3)])
def test_the_slope_is_scikit_learns(slope, shift):
    is_all, p_all = drawn(slope, shift, n=2000)
    odds = np.log(p_all / (1 - p_all))[:, None]
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(odds, is_all)
    found = calibration_slope(is_all, p_all)
    assert found.slope == pytest.approx(theirs.coef_[0, 0], rel=1e-4)
    assert found.slope == pytest.approx(1 / slope, rel=0.15)


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
