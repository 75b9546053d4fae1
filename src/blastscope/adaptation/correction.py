"""Correct the last layer on few cells: a ridge logistic regression towards the weights it has.

The new logit of a cell is ``slope * old logit + correction @ features + intercept``. The slope is
that of Platt's curve on the old logits, and fixed before the rest is fitted. What is added to the
layer's logit, a term of size, stays as it is. The correction is
penalized, so that few cells move the weights little. With a penalty without end this is Platt's
curve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from blastscope.decision.calibration import fit_platt, softened
from blastscope.engines.engine import mean_probability
from blastscope.engines.last_layer import LastLayer

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

STRENGTH = 1.0
"""The variance of the correction: how far, in logits, it may move a usual cell. The features are
scaled so that a usual cell is one long; scikit-learn calls this ``C``."""
_STEPS = 100
_CLOSE, _SAFE = 1e-13, 1e-9


@dataclass(frozen=True)
class Correction:
    """What is done to a last layer."""

    slope: float
    weight: Floats  # added to the weights, shape (features,)
    intercept: float

    def logits(self, logits: Floats, features: Floats) -> Floats:
        """Return the new logits (N,) of cells with old logits (N,) and features (N, F)."""
        found: Floats = self.slope * logits + features @ self.weight + self.intercept
        return found

    def of(self, layer: LastLayer) -> LastLayer:
        """Return the corrected layer."""
        weight = self.slope * layer.weight + self.weight
        return LastLayer(weight, self.slope * layer.bias + self.intercept)


def fit_correction(
    is_all: Bools,
    logits: Floats,
    features: Floats,
    added: Floats | None = None,
    strength: float = STRENGTH,
) -> Correction | None:
    """Fit a correction to Platt's softened targets; None if the old logits say nothing.

    Args:
        is_all: truth, shape (n,), both classes present.
        logits: of the old layer, shape (n,).
        features: what it takes, shape (n, F).
        added: what the network adds to the layer's logit, shape (n,); nothing by default.
        strength: as ``STRENGTH``.
    """
    term = np.zeros(len(logits)) if added is None else added
    curve = fit_platt(is_all, mean_probability((logits + term)[:, None]))
    centre = features.mean(0)
    centred = features - centre
    size = float(np.sqrt(np.mean((centred**2).sum(1))))
    if curve is None or not size > 0:
        return None
    slope = curve.values[0]
    # In the space that the cells span the fit is the same, and much smaller.
    left, lengths, right = np.linalg.svd(centred / size, full_matrices=False)
    columns = np.column_stack([np.ones(len(logits)), left * lengths])
    penalty = np.full(columns.shape[1], 1 / strength)
    penalty[0] = 0
    intercept, *moved = ridge_logistic(columns, softened(is_all), penalty, slope * logits + term)
    weight: Floats = np.array(moved) @ right / size
    return Correction(slope, weight, float(intercept - centre @ weight))


def ridge_logistic(columns: Floats, target: Floats, penalty: Floats, offset: Floats) -> Floats:
    """Return the coefficients with the lowest penalized logistic loss, by Newton's method.

    Args:
        columns: shape (n, k).
        target: the probability of ALL to be met, shape (n,).
        penalty: of half the squared coefficient, shape (k,).
        offset: added to each cell's logit, shape (n,).
    """

    def loss(coefficients: Floats) -> float:
        z = offset + columns @ coefficients
        return float((np.logaddexp(0, z) - target * z).sum() + penalty @ coefficients**2 / 2)

    at: Floats = np.zeros(columns.shape[1])
    now = loss(at)
    for _ in range(_STEPS):
        p = expit(offset + columns @ at)
        gradient = columns.T @ (p - target) + penalty * at
        curvature = (columns * (p * (1 - p))[:, None]).T @ columns + np.diag(penalty + _SAFE)
        step, part = np.linalg.solve(curvature, gradient), 1.0
        while loss(at - part * step) > now and part > _SAFE:
            part /= 2
        at = at - part * step
        before, now = now, loss(at)
        if before - now < _CLOSE * (1 + abs(now)):
            break
    return at
