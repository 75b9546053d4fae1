"""Predictive values at the prevalence of a clinic: of calls ALL and normal, how many are right.

Two of three cells of C-NMC 2019 are ALL, and precision measured there holds only for such a
mixture. Sensitivity and specificity do not depend on it, and Bayes's rule gives the predictive
values at any prevalence (Altman and Bland, BMJ 309:102, 1994), if cells of each class are as in the
tested ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from blastscope.errors import BlastscopeError
from blastscope.evaluation.bootstrap import resampling
from blastscope.evaluation.confidence_intervals import Estimate, draw
from blastscope.evaluation.weighted_metrics import METRICS, WeightedMetrics

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PredictiveValues:
    """At one prevalence of ALL cells: how many calls of each kind are right.

    Attributes:
        prevalence: the share of cells that are ALL.
        ppv: of cells that are called ALL, the share that is.
        npv: of cells that are called normal, the share that is.
    """

    prevalence: float
    ppv: Estimate
    npv: Estimate


def predictive_values(
    is_all: NDArray[np.bool_],
    p_all: Floats,
    subjects: Sequence[str | None],
    prevalences: Sequence[float],
) -> tuple[PredictiveValues, ...]:
    """Compute predictive values with 95 % intervals by subject; arrays have shape (cells,).

    Raises:
        BlastscopeError: if a prevalence is not between 0 and 1.
    """
    wrong = [one for one in prevalences if not 0 < one < 1]
    if wrong:
        raise BlastscopeError(
            f"The prevalence {wrong[0]:g} is not between 0 and 1: give the share of cells that are "
            "ALL, such as 0.2."
        )
    if not prevalences:
        return ()
    columns = [METRICS.index(name) for name in ("recall_all", "recall_hem")]
    drawn = draw(WeightedMetrics(is_all, p_all[:, None]).of, resampling(is_all, subjects))
    recalls = drawn.of(lambda found: found[:, 0, columns])
    found = []
    for share in prevalences:
        of_both = recalls.of(partial(bayes, prevalence=share))
        found.append(PredictiveValues(share, *of_both.estimates()))
    return tuple(found)


def bayes(recalls: Floats, prevalence: float) -> Floats:
    """Return PPV and NPV of pairs of sensitivity and specificity, (rows, 2); NaN without a call."""
    sensitivity, specificity = recalls[:, 0], recalls[:, 1]
    right = prevalence * sensitivity, (1 - prevalence) * specificity
    wrong = (1 - prevalence) * (1 - specificity), prevalence * (1 - sensitivity)
    pairs = [
        np.divide(one, one + other, out=np.full(len(recalls), np.nan), where=one + other > 0)
        for one, other in zip(right, wrong, strict=True)
    ]
    return np.column_stack(pairs)
