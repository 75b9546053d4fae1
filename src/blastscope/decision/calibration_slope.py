"""Calibration intercept and slope: whether probabilities are too high, or too extreme.

The labels are regressed on the log-odds of the probabilities (Cox, Biometrika 45:562-565, 1958; Van
Calster et al., BMC Medicine 17:230, 2019). A slope below 1 says that probabilities are too extreme,
as those of an overfitted model are; an intercept below 0, with the slope held at 1, that they are
too high on average.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from blastscope.decision.calibration import Bools, Floats
from blastscope.io.json_objects import NumberOrNull

_EDGE = 1e-6
"""Probabilities closer to 0 or 1 count as this far from it: their log-odds must be finite."""
_STEPS, _ENOUGH = 100, 1e-10


@dataclass(frozen=True)
class CalibrationSlope:
    """The intercept (calibration in the large) and the slope; 0 and 1 are ideal.

    Both are NaN if a class is missing; the slope also if all probabilities are equal, or separate
    the classes completely.
    """

    intercept: NumberOrNull
    slope: NumberOrNull


def calibration_slope(is_all: Bools, p_all: Floats) -> CalibrationSlope:
    """Fit both by maximum likelihood, as two regressions; arrays have shape (n,)."""
    if is_all.all() or not is_all.any():
        return CalibrationSlope(math.nan, math.nan)
    p = np.clip(p_all, _EDGE, 1 - _EDGE)
    odds = np.log(p / (1 - p))
    one = np.ones((len(odds), 1))
    (intercept,) = _fit(one, odds, is_all)
    if np.ptp(odds) == 0 or odds[is_all].min() > odds[~is_all].max():
        return CalibrationSlope(intercept, math.nan)
    _, slope = _fit(np.column_stack([one, odds]), np.zeros(len(odds)), is_all)
    return CalibrationSlope(intercept, slope)


def _fit(columns: Floats, offset: Floats, is_all: Bools) -> list[float]:
    """Return the coefficients of a logistic regression by Newton's method."""
    found = np.zeros(columns.shape[1])
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(offset + columns @ found, -30, 30)))
        curvature = columns.T @ (columns * (p * (1 - p))[:, None])
        step = np.linalg.lstsq(curvature, columns.T @ (is_all - p), rcond=None)[0]
        found = found + step
        if np.abs(step).max() < _ENOUGH:
            break
    return [float(value) for value in found]
