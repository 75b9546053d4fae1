"""Conformal prediction sets: contain the true label as often as promised.

Split conformal prediction within each class (Vovk et al., Algorithmic Learning in a Random World,
2005, section 4.5; Sadinle, Lei and Wasserman, JASA 114:223-234, 2019). The promise holds for cells
that are exchangeable with those it was fitted on. Cells of another subject are not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blastscope.decision.calibration import Bools, Floats
from blastscope.io.json_objects import Probability


@dataclass(frozen=True)
class Conformal:
    """Which labels are put into a cell's set.

    Attributes:
        promised: the lowest share of cells of either class with the true label in their set.
        least_all: ALL is in the set if the probability of ALL is at least this.
        least_hem: normal is in the set if the probability of normal is at least this.
    """

    promised: Probability
    least_all: Probability
    least_hem: Probability

    def sets(self, p_all: Floats) -> NDArray[np.bool_]:
        """Return whether normal and whether ALL are in each cell's set, shape (n, 2)."""
        return np.stack([1 - p_all >= self.least_hem, p_all >= self.least_all], axis=1)


def fit_conformal(is_all: Bools, p_all: Floats, promised: float) -> Conformal:
    """Find the probabilities from which a label is put into the set.

    Args:
        is_all: truth, shape (n,), both classes present.
        p_all: calibrated probability of ALL, shape (n,).
        promised: the coverage, above 0 and below 1.
    """
    least_all, least_hem = (_least(p, promised) for p in (p_all[is_all], 1 - p_all[~is_all]))
    return Conformal(promised, least_all, least_hem)


def _least(of_truth: Floats, promised: float) -> float:
    """The probability of the truth that all but a share of n + 1 cells reach; 0 with too few."""
    out = math.floor((len(of_truth) + 1) * (1 - promised) + 1e-9)
    return 0.0 if out < 1 else float(np.sort(of_truth)[out - 1])
