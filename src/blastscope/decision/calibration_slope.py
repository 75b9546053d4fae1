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
_FAR = 60.0
"""No shift of log-odds is further than this: at both ends every probability is 0 or 1."""


@dataclass(frozen=True)
class CalibrationSlope:
    """The intercept (calibration in the large) and the slope; 0 and 1 are ideal.

    Both are NaN if a class is missing; the slope also if one threshold separates the classes,
    whichever lies above and whether or not they share the threshold itself, or if all probabilities
    are equal.
    """

    intercept: NumberOrNull
    slope: NumberOrNull


def calibration_slope(is_all: Bools, p_all: Floats) -> CalibrationSlope:
    """Fit both by maximum likelihood; arrays have shape (n,)."""
    if is_all.all() or not is_all.any():
        return CalibrationSlope(math.nan, math.nan)
    p = np.clip(p_all, _EDGE, 1 - _EDGE)
    odds = np.log(p / (1 - p))
    intercept = _shift(odds, int(is_all.sum()))
    if _separated(odds, is_all):
        return CalibrationSlope(intercept, math.nan)
    return CalibrationSlope(intercept, _slope(odds, is_all))


def _separated(odds: Floats, is_all: Bools) -> bool:
    """Return whether no slope is the most likely: the likelihood rises without end with it.

    That is so if the classes have at most one value in common, at the end of both (Albert and
    Anderson, Biometrika 71:1-10, 1984).
    """
    blast, normal = odds[is_all], odds[~is_all]
    return bool(blast.min() >= normal.max() or blast.max() <= normal.min())


def _shift(odds: Floats, n_all: int) -> float:
    """Return what is to be added to the log-odds so that they expect as many ALL cells."""
    from scipy.optimize import brentq
    from scipy.special import expit

    return float(brentq(lambda shift: expit(odds + shift).sum() - n_all, -_FAR, _FAR))


def _slope(odds: Floats, is_all: Bools) -> float:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    return float(model.fit(odds[:, None], is_all).coef_[0, 0])
