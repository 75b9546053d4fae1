"""ROC, precision-recall and decision curves as points to draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sk


@dataclass(frozen=True)
class Curve:
    """The points of a curve, its area, and the point at which the decision is taken."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    area: float
    decision: tuple[float, float] | None


def roc_curve(is_all: NDArray[np.bool_], p_all: NDArray[np.float64], threshold: float) -> Curve:
    """Sensitivity for ALL (y) against the share of normal cells called ALL (x).

    Both arrays have shape (n,), with both classes; the point of ``threshold`` is marked.
    """
    x, y, _ = sk.roc_curve(is_all, p_all)
    called = p_all > threshold
    decision = (float(called[~is_all].mean()), float(called[is_all].mean()))
    return Curve(x, y, float(sk.roc_auc_score(is_all, p_all)), decision)


def precision_recall_curve(
    is_all: NDArray[np.bool_], p_all: NDArray[np.float64], threshold: float
) -> Curve:
    """Precision of the call ALL (y) against sensitivity (x); the area is average precision.

    Both arrays have shape (n,), with both classes; the point of ``threshold`` is marked unless
    nothing is called ALL.
    """
    precision, recall, _ = sk.precision_recall_curve(is_all, p_all, drop_intermediate=True)
    called = p_all > threshold
    decision = None
    if called.any():
        decision = (float(called[is_all].mean()), float(is_all[called].mean()))
    area = float(sk.average_precision_score(is_all, p_all))
    return Curve(recall[::-1], precision[::-1], area, decision)


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit at each threshold: of the model's calls, and of calling every cell ALL.

    Calling none has a net benefit of 0. All arrays have shape (thresholds,).
    """

    threshold: NDArray[np.float64]
    model: NDArray[np.float64]
    every_cell: NDArray[np.float64]


def decision_curve(is_all: NDArray[np.bool_], p_all: NDArray[np.float64]) -> DecisionCurve:
    """Compute the decision curve of calibrated probabilities; both arrays have shape (n,).

    Net benefit is the share of true positives minus the share of false ones, these times the odds
    of the threshold: whoever calls ALL from a probability of .2 on accepts four false alarms for a
    blast (Vickers and Elkin, Medical Decision Making 26:565-574, 2006).
    """
    threshold = np.arange(1, 100) / 100
    odds = threshold / (1 - threshold)
    called = p_all[None] >= threshold[:, None]
    right, wrong = (called & is_all).mean(axis=1), (called & ~is_all).mean(axis=1)
    share = is_all.mean()
    return DecisionCurve(threshold, right - wrong * odds, share - (1 - share) * odds)
