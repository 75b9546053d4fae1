"""What a study says of the maps: where the heat is, and whether it is where the decision is made.

Deletion and insertion are those of V. Petsiuk, A. Das and K. Saenko, RISE (BMVC 2018, Section 4.2):
the less probability is left while what a map ranks first is taken away, and the more is back while
it is brought back, the better the map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blastscope.evaluation.confidence_intervals import Estimate
from blastscope.explanation.attribution import METHODS
from blastscope.explanation.audit.means import Floats, Rows, means, ratio
from blastscope.explanation.cell_image import REGIONS
from blastscope.explanation.deletion_insertion import area
from blastscope.explanation.measures import CURVES

HEAT = {"grad_cam": "heat", "occlusion": "occlusion"}
"""The methods whose heat is shared out, and how their columns begin."""
OTHER = "other"
RANKED = {
    **{column: METHODS.get(method, method) for method, column in CURVES.items()},
    OTHER: "another cell's map",
}
"""The methods that have curves, as the columns end in them, with the names to show."""
MUST_BEAT = ("random", OTHER)
"""What a Grad-CAM map must beat. A random map of the same grid does not know where cells lie in
pictures; the map of another cell does, and knows nothing of this picture."""
RIVALS = (*MUST_BEAT, "occlusion")
KINDS = ("deletion", "insertion")
LEAST_GAIN = 0.01
"""An area is a mean probability. A difference of less than a hundredth is none worth the name,
however sure it is: a network whose probabilities hardly move has such differences, and narrow
intervals. It is not asked as a share of what the curve moves, for there it may be most of it."""
UNTOLD = "too few cells to say"
BETTER, WORSE = "better than", "worse than"


@dataclass(frozen=True)
class Region:
    """How much of the heat a region has.

    Attributes:
        region: ``cell``, ``debris`` or ``background``.
        heat: the mean share of the heat.
        area: the mean share of the picture, of the same cells.
        ratio: of the two; 1 for a map that ignores the picture.
    """

    region: str
    heat: Estimate
    area: float
    ratio: Estimate


@dataclass(frozen=True)
class Heat:
    """Where the evidence for what the cells were called lies.

    Attributes:
        method: ``grad_cam`` or ``occlusion``.
        cells: cells that have such evidence.
        without: cells that have none.
        regions: cell, debris, background.
    """

    method: str
    cells: int
    without: int
    regions: tuple[Region, ...]

    def region(self, name: str) -> Region:
        """Return one of the regions."""
        return next(region for region in self.regions if region.region == name)

    @property
    def less_in_cell(self) -> bool:
        """Whether the cell clearly has less of the heat than its share of the picture.

        The ratio's interval lies below 1, by as much as the two places that are shown can show.
        """
        return round(self.region("cell").ratio.high, 2) < 1

    @property
    def doubts(self) -> tuple[str, ...]:
        """What speaks against the map by where its heat lies; empty where nothing does."""
        if np.isnan(self.region("cell").ratio.low):
            return (f"heat in the cell: {UNTOLD}",)
        return ("less heat in the cell than its share of the picture",) * self.less_in_cell


@dataclass(frozen=True)
class MeanCurve:
    """The mean probability of the called class while the picture goes, or comes back.

    Attributes:
        kind: ``deletion`` or ``insertion``.
        method: a key of ``RANKED``.
        cells: how many have the curve.
        mean: at each step, from nothing to all.
        area: under the curve, 0 to 1: the trapezoid mean, averaged over the cells.
    """

    kind: str
    method: str
    cells: int
    mean: tuple[float, ...]
    area: Estimate


@dataclass(frozen=True)
class RivalComparison:
    """Grad-CAM against a rival on the same cells.

    Attributes:
        kind: ``deletion``, where less is better, or ``insertion``, where more is.
        against: one of ``RIVALS``.
        cells: how many have both curves.
        difference: Grad-CAM's area less the rival's; the interval is paired.
        verdict: in words.
    """

    kind: str
    against: str
    cells: int
    difference: Estimate
    verdict: str

    @property
    def better(self) -> bool:
        """Whether Grad-CAM is clearly better than the rival, and by enough."""
        return self.verdict == f"{BETTER} {named(self.against)}"


def share_heat(rows: Rows) -> tuple[Heat, ...]:
    """Hold the heat of each region against its area; a method that was not asked for is left out.

    The ratio is that of the means, so that a cell with next to no debris does not count as much as
    one with a lot of it.
    """
    found = []
    for method, start in HEAT.items():
        has = ~np.isnan(rows.column(f"{start}_cell"))
        if not has.any() and method != "grad_cam":
            continue
        regions = []
        for region in REGIONS:
            heat = rows.column(f"{start}_{region}")
            share = np.where(has, rows.column(f"area_{region}"), np.nan)
            mean_share = float(means(share[:, None])[0])
            against = ratio(heat, share, rows.draws)
            regions.append(Region(region, rows.estimate(heat), mean_share, against))
        found.append(Heat(method, int(has.sum()), int((~has).sum()), tuple(regions)))
    return tuple(found)


def rank_pixels(rows: Rows) -> tuple[tuple[MeanCurve, ...], tuple[RivalComparison, ...]]:
    """Sum up the deletion and insertion curves, and hold Grad-CAM against its rivals."""
    curves, gains = [], []
    for kind in KINDS:
        found = {method: rows.lists(f"{kind}_{method}") for method in RANKED}
        under = {method: _areas(lines) for method, lines in found.items()}
        asked = [method for method in RANKED if not np.isnan(under[method]).all()]
        for method in asked:
            known = int((~np.isnan(under[method])).sum())
            mean = tuple(float(value) for value in means(found[method]))
            curves.append(MeanCurve(kind, method, known, mean, rows.estimate(under[method])))
        for rival in RIVALS:
            if rival in asked and "grad_cam" in asked:
                apart = under["grad_cam"] - under[rival]
                known = int((~np.isnan(apart)).sum())
                estimate = rows.estimate(apart)
                verdict = judge(kind, rival, estimate)
                gains.append(RivalComparison(kind, rival, known, estimate, verdict))
    return tuple(curves), tuple(gains)


def _areas(curves: Floats) -> Floats:
    """Return the area under each curve (cells, steps); NaN for a method not asked for."""
    return area(curves) if curves.shape[1] else np.full(len(curves), np.nan)


def judge(kind: str, rival: str, difference: Estimate) -> str:
    """Say whether a difference is clear of zero, of some size, and on the good side of it."""
    if np.isnan(difference.low):
        return UNTOLD
    gain = difference.negated() if kind == "deletion" else difference
    if gain.above_zero:
        how = BETTER
    elif gain.negated().above_zero:
        how = WORSE
    else:
        return f"not told from {named(rival)}"
    hardly = "" if abs(gain.value) >= LEAST_GAIN else "hardly "
    return f"{hardly}{how} {named(rival)}"


def named(rival: str) -> str:
    """Return a rival's name within a sentence."""
    return RANKED[rival].lower()
