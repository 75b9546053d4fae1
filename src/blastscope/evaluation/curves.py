"""ROC and precision-recall curves as points to draw."""

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
