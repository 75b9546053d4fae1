"""Referral: send the least certain calls to an expert.

Risk and coverage, and the area under their curve (AURC): Geifman and El-Yaniv, Selective
Classification for Deep Neural Networks, NeurIPS 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from blastscope.decision.calibration import Bools, Floats
from blastscope.io.json_objects import Probability

FEWEST_KEPT = 20
"""An error rate among fewer cells than these is chance."""


def sureness(p_all: Floats, called: Bools) -> Floats:
    """Return the probability that each call is right, by its calibrated probability, shape (n,).

    A cell with a probability of .2 that is called ALL, because no blast is to be missed, is
    probably normal, and among the first that an expert should see.
    """
    return np.where(called, p_all, 1 - p_all)


@dataclass(frozen=True)
class RiskCoverage:
    """The error of what is kept, as more and more of the least sure cells are referred.

    Attributes:
        coverage: shares of cells kept, rising to 1, shape (k,).
        risk: the share of wrong calls among those, shape (k,).
        least: the sureness of the least sure cell that is kept, shape (k,).
        area: the mean risk over all coverages (AURC); cells that are equally sure are kept in no
            particular order.
        best: the area that the same number of errors would have, all of them the least sure.
    """

    coverage: Floats
    risk: Floats
    least: Floats
    area: float
    best: float


def risk_coverage(wrong: Bools, sure: Floats) -> RiskCoverage:
    """Compute the curve of calls, ``wrong`` or not and so ``sure``, both of shape (n,)."""
    n = len(wrong)
    order = np.argsort(-sure, kind="stable")
    ordered = sure[order]
    ends = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True])
    kept = ends + 1
    errors = np.cumsum(wrong[order])[ends]
    # Within a tie errors come evenly, as they do on average over its orders.
    expected = np.interp(np.arange(1, n + 1), np.r_[0, kept], np.r_[0, errors])
    ranks = np.arange(1, n + 1)
    perfect = np.maximum(0, ranks - (n - int(wrong.sum())))
    return RiskCoverage(
        coverage=kept / n,
        risk=errors / kept,
        least=ordered[ends],
        area=float((expected / ranks).mean()),
        best=float((perfect / ranks).mean()),
    )


@dataclass(frozen=True)
class Referral:
    """From which sureness on a call is kept, and what that reached on the fitting cells.

    Attributes:
        wanted: the highest error rate among the calls that are kept.
        threshold: calls that are less sure than this are referred; above 1 if all are, because no
            number of the surest calls has so few errors.
        kept: the share of cells that were kept.
        error: the share of wrong calls among them; 0 if none is kept.
    """

    wanted: Probability
    threshold: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
    kept: Probability
    error: Probability

    def refers(self, sure: Floats) -> NDArray[np.bool_]:
        """Return which calls go to the expert, shape (n,)."""
        return sure < self.threshold


def choose_referral(wrong: Bools, sure: Floats, wanted: float) -> Referral:
    """Keep as many calls, shape (n,), as can be kept with an error rate of ``wanted`` at most."""
    curve = risk_coverage(wrong, sure)
    enough = np.round(curve.coverage * len(wrong)) >= min(FEWEST_KEPT, len(wrong))
    good = np.flatnonzero((curve.risk <= wanted) & enough)
    if not len(good):
        return Referral(wanted, 2.0, 0.0, 0.0)
    at = good[-1]
    none_referred = at == len(curve.coverage) - 1
    threshold = 0.0 if none_referred else float((curve.least[at] + curve.least[at + 1]) / 2)
    return Referral(wanted, threshold, float(curve.coverage[at]), float(curve.risk[at]))
