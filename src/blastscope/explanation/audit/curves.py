"""Compare deletion and insertion curves: does the attribution mark what decides the call?

Deletion and insertion are those of V. Petsiuk, A. Das and K. Saenko, RISE (BMVC 2018, Section 4.2):
the less probability is left while the pixels that a map ranks first are removed, and the more comes
back while they are restored, the better the map.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from blastscope.evaluation.confidence_intervals import Estimate
from blastscope.evaluation.metrics import THRESHOLD
from blastscope.explanation.audit.rows import Floats, Rows, means
from blastscope.explanation.map_measures import area
from blastscope.explanation.tables import CURVES

OTHER = "other"
RANKERS = tuple(CURVES.values())
"""What ranks the pixels, as the columns of the curves end: methods, ``random``, ``other``."""
MUST_BEAT = ("random", OTHER)
"""What a Grad-CAM map must beat. A random map of the same grid does not know where cells lie in
images; the map of another cell does, and knows nothing of this image."""
RIVALS = (*MUST_BEAT, "occlusion")
KINDS = ("deletion", "insertion")
LEAST_GAIN = 0.01
"""The smallest difference in area that counts. An area is a mean probability: a network whose
probabilities hardly move has smaller differences than this with narrow intervals. It is not a share
of the range of the curve, which may itself be small."""


class RivalVerdict(StrEnum):
    """How Grad-CAM compares with a rival."""

    BETTER = "better"
    HARDLY_BETTER = "hardly-better"
    NO_DIFFERENCE = "no-difference"
    HARDLY_WORSE = "hardly-worse"
    WORSE = "worse"
    TOO_FEW = "too-few-cells"


@dataclass(frozen=True)
class MeanCurve:
    """The mean probability of the called class while the image is removed or restored."""

    kind: str  # ``deletion`` or ``insertion``
    method: str  # one of ``RANKERS``
    cells: int  # how many have the curve
    mean: tuple[float, ...]  # at each step, from none to all of the image
    area: Estimate  # under the curve, 0 to 1: the trapezoid mean, averaged over the cells


@dataclass(frozen=True)
class RivalComparison:
    """Grad-CAM compared with a rival on the same cells."""

    kind: str  # ``deletion``, for which less is better, or ``insertion``, for which more is
    against: str  # one of ``RIVALS``
    cells: int  # how many have both curves
    difference: Estimate  # Grad-CAM's area minus the rival's; the interval is paired
    verdict: RivalVerdict  # whether Grad-CAM is better, and by enough to count

    @property
    def better(self) -> bool:
        """Whether Grad-CAM is clearly better than the rival, and by enough."""
        return self.verdict is RivalVerdict.BETTER


def compare_curves(rows: Rows) -> tuple[tuple[MeanCurve, ...], tuple[RivalComparison, ...]]:
    """Average the deletion and insertion curves, and compare Grad-CAM with its rivals."""
    curves, gains = [], []
    for kind in KINDS:
        found = {method: rows.lists(f"{kind}_{method}") for method in RANKERS}
        under = {method: _areas(lines) for method, lines in found.items()}
        asked = [method for method in RANKERS if not np.isnan(under[method]).all()]
        for method in asked:
            known = int((~np.isnan(under[method])).sum())
            mean = tuple(float(value) for value in means(found[method]))
            curves.append(MeanCurve(kind, method, known, mean, rows.estimate(under[method])))
        for rival in RIVALS:
            if rival in asked and "grad_cam" in asked:
                apart = under["grad_cam"] - under[rival]
                known = int((~np.isnan(apart)).sum())
                estimate = rows.estimate(apart)
                gains.append(RivalComparison(kind, rival, known, estimate, judge(kind, estimate)))
    return tuple(curves), tuple(gains)


def _areas(curves: Floats) -> Floats:
    """Return the area under each curve (cells, steps); NaN for a method that was not used."""
    return area(curves) if curves.shape[1] else np.full(len(curves), np.nan)


def judge(kind: str, difference: Estimate) -> RivalVerdict:
    """Judge whether a difference is clear of zero, large enough, and on the good side."""
    if np.isnan(difference.low):
        return RivalVerdict.TOO_FEW
    gain = difference.negated() if kind == "deletion" else difference
    enough = abs(gain.value) >= LEAST_GAIN
    if gain.above_zero:
        return RivalVerdict.BETTER if enough else RivalVerdict.HARDLY_BETTER
    if gain.negated().above_zero:
        return RivalVerdict.WORSE if enough else RivalVerdict.HARDLY_WORSE
    return RivalVerdict.NO_DIFFERENCE


@dataclass(frozen=True)
class Blurred:
    """What is left of the calls if the whole image is blurred."""

    cells: int  # how many were blurred
    kept: Estimate  # share of them whose call stays the same
    p_called: dict[str, float]  # by call, the mean probability of that call that is left


def blur_away(rows: Rows) -> Blurred | None:
    """Count the calls that stay if the whole image is blurred; None without deletion curves.

    The curves end at the image that is blurred throughout, whatever map ranked its pixels; they
    are of a single view.
    """
    curves = rows.lists("deletion_grad_cam")
    if np.isnan(curves).all():
        return None
    left = curves[:, -1]
    called_all = (rows.frame["called"] == "all").to_numpy()
    # at exactly .5 a cell is called normal
    stays = (left > THRESHOLD) | (~called_all & (left == THRESHOLD))
    known = ~np.isnan(left)
    by_call = {"all": known & called_all, "hem": known & ~called_all}
    return Blurred(
        cells=int(known.sum()),
        kept=rows.estimate(np.where(known, stays, np.nan)),
        p_called={call: float(left[mine].mean()) for call, mine in by_call.items() if mine.any()},
    )
