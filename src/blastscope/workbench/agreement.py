"""How far two sets of labels agree: a confusion table and Cohen's kappa with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blastscope.workbench.review_state import LABELS

FEWEST = 10
"""Below so many cells no kappa is given."""
_NO_VARIANCE = 1e-12
"""A variance of one cell's part that is 0 but for rounding."""
_NORMAL_95 = 1.959963984540054


@dataclass(frozen=True)
class Kappa:
    """Cohen's kappa with its 95 % interval, or why there is none.

    With ``no-interval`` there is a kappa, but its large-sample variance is 0: no two labels differ,
    or one of the two used one label only. That does not mean that kappa is known for sure.
    """

    kappa: float | None
    low: float | None
    high: float | None
    reason: str | None  # few-cells, one-class, no-interval


def confusion(
    first: NDArray[np.int8], second: NDArray[np.int8], classes: int = len(LABELS)
) -> NDArray[np.int64]:
    """Count pairs of labels, 1 to ``classes`` each; rows are the first's. 0 is no label."""
    both = (first > 0) & (second > 0)
    pairs = (first[both].astype(np.int64) - 1) * classes + (second[both] - 1)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def kappa(table: NDArray[np.int64]) -> Kappa:
    """Return Cohen's kappa of a confusion table.

    The interval is by the large-sample variance of Fleiss, Cohen and Everitt (Psychological
    Bulletin 72:323-327, 1969, equation 13).
    """
    cells = int(table.sum())
    if cells < FEWEST:
        return Kappa(None, None, None, "few-cells")
    share = table / cells
    rows, columns = share.sum(axis=1), share.sum(axis=0)
    expected = float(rows @ columns)
    if expected >= 1:  # both gave one and the same label throughout
        return Kappa(None, None, None, "one-class")
    value = (float(np.trace(share)) - expected) / (1 - expected)
    same = np.sum(np.diag(share) * (1 - (rows + columns) * (1 - value)) ** 2)
    # Of a pair (i, j): the second's share of i and the first's of j.
    sums = (columns[:, None] + rows[None, :]) ** 2
    off = share * sums
    other = (1 - value) ** 2 * (off.sum() - np.trace(off))
    variance = (same + other - (value - expected * (1 - value)) ** 2) / (1 - expected) ** 2
    if variance <= _NO_VARIANCE:
        return Kappa(value, None, None, "no-interval")
    half = _NORMAL_95 * float(np.sqrt(variance / cells))
    return Kappa(value, max(-1.0, value - half), min(1.0, value + half), None)


def agreement_json(table: NDArray[np.int64], labels: tuple[str, ...] = LABELS) -> dict[str, Any]:
    """Return a confusion table, its agreement and kappa."""
    found = kappa(table)
    return {
        "table": {"rows": list(labels), "counts": table.tolist()},
        "cells": int(table.sum()),
        "same": int(np.trace(table)),
        "kappa": found.kappa,
        "low": found.low,
        "high": found.high,
        "reason": found.reason,
    }
