"""Summarise where a model's attribution lies: by region, by radius, and in cells off the cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from blastscope.evaluation.confidence_intervals import Estimate
from blastscope.explanation.audit.rows import Floats, Rows, means, ratio
from blastscope.explanation.cell_image import REGIONS
from blastscope.explanation.map_measures import RADII

METHODS = ("grad_cam", "occlusion")
"""The methods whose attribution is shared out by region, as their columns begin."""
OUTSIDE = ("background", "debris")
"""The regions beside the cell."""
MOST = 12
"""How many off-cell cells are named."""
BEYOND = 0.05
"""By how much a region's share of the attribution must exceed its share of the image for a cell to
count as off-cell."""
CLASSES = ("all", "hem")
ZONES = {"inner": (0.0, 0.5), "outer": (0.5, 1.0), "beyond": (1.0, 1.5)}
"""Three ranges of the radius, fixed beforehand. To choose the highest of fifteen bins and then test
it would find a peak in noise one time in three."""

Direction = Literal["all", "hem", "neither", "too-few-cells", "not-measured"]


@dataclass(frozen=True)
class Region:
    """How much of the attribution a region has."""

    region: str  # ``cell``, ``debris`` or ``background``
    share: Estimate  # the mean share of the attribution
    area: float  # the mean share of the image, of the same cells
    ratio: Estimate  # share divided by area; 1 for a map that ignores the image


@dataclass(frozen=True)
class RegionShares:
    """Where the attribution for the called class lies."""

    method: str  # ``grad_cam`` or ``occlusion``
    cells: int  # cells that have such an attribution
    without: int  # cells that have none
    regions: tuple[Region, ...]  # cell, debris, background

    def region(self, name: str) -> Region:
        """Return one of the regions."""
        return next(region for region in self.regions if region.region == name)

    @property
    def judged(self) -> bool:
        """Whether there are enough cells for a verdict."""
        return not np.isnan(self.region("cell").ratio.low)

    @property
    def less_on_cell(self) -> bool:
        """Whether the cell clearly has less of the attribution than its share of the image.

        The interval of the ratio lies below 1, at the two decimal places that are shown.
        """
        return round(self.region("cell").ratio.high, 2) < 1


def share_by_region(rows: Rows) -> tuple[RegionShares, ...]:
    """Compare the attribution of each region with its area; a method that was not used is left out.

    The ratio is that of the means, so that a cell with hardly any debris does not count as much as
    one with much of it.
    """
    found = []
    for method in METHODS:
        has = ~np.isnan(rows.column(f"{method}_cell"))
        if not has.any() and method != "grad_cam":
            continue
        regions = []
        for region in REGIONS:
            share = rows.column(f"{method}_{region}")
            area = np.where(has, rows.column(f"area_{region}"), np.nan)
            mean_area = float(means(area[:, None])[0])
            regions.append(
                Region(region, rows.estimate(share), mean_area, ratio(share, area, rows.draws))
            )
        found.append(RegionShares(method, int(has.sum()), int((~has).sum()), tuple(regions)))
    return tuple(found)


@dataclass(frozen=True)
class OffCellImage:
    """One cell with much attribution off the cell."""

    cell: str  # its name
    label: str | None  # its true class, if known
    called: str  # the class that the model called
    p_all: float  # the model's probability of ALL
    share: float  # the region's share of the Grad-CAM attribution for the call
    area: float  # the region's share of the image
    ratio: float  # share divided by area


@dataclass(frozen=True)
class OffCell:
    """The cells in which a region beside the cell has clearly more than its share."""

    place: str  # ``background`` or ``debris``
    total: int  # how many such cells there are
    of: int  # cells that have the region, and an attribution for their call
    # How many there would be with the map of another cell laid on each of these: a map that ignores
    # the image, but knows where cells lie in images. None if unknown.
    expected: int | None
    expected_of: int  # cells that have such another map
    not_above_expected: bool  # whether there are no more of these cells than expected
    # At most ``MOST``, those with the largest excess over the region's share first.
    worst: tuple[OffCellImage, ...]


def find_off_cell(cells: pl.DataFrame) -> dict[str, tuple[OffCell, ...]]:
    """Find the cells in which each model's attribution lies on the background, or on debris.

    They are ordered by the excess over the region's share of the image, not by the ratio: with
    hardly any background, any attribution there is many times its share. By model, in the order of
    the table ``audit.parquet``: background, then debris; a region that no cell has, or in which no
    cell has an attribution, is left out.
    """
    found = {}
    for model in cells["model"].unique(maintain_order=True):
        mine = cells.filter(pl.col("model") == model)
        regions = (_off_cell(mine, region) for region in OUTSIDE)
        found[str(model)] = tuple(region for region in regions if region is not None)
    return found


def _off_cell(cells: pl.DataFrame, region: str) -> OffCell | None:
    share, area = pl.col(f"grad_cam_{region}"), pl.col(f"area_{region}")
    have = cells.filter(share.is_not_null() & (area > 0))
    if not have.height:
        return None
    more = have.filter(share - area > BEYOND)
    other = pl.col(f"other_{region}")
    laid = have.filter(other.is_not_null())
    expected = laid.filter(other - area > BEYOND).height if laid.height else None
    # a tie is sorted by name, so that a table in another order names the same cells
    worst = more.sort(share - area, pl.col("cell"), descending=[True, False]).head(MOST)
    columns = {"share": share, "area": area, "ratio": share / area}
    shown = worst.select("cell", "label", "called", "p_all", **columns)
    return OffCell(
        place=region,
        total=more.height,
        of=have.height,
        expected=expected,
        expected_of=laid.height,
        not_above_expected=expected is not None
        and 0 < laid.filter(share - area > BEYOND).height <= expected,
        worst=tuple(OffCellImage(**row) for row in shown.iter_rows(named=True)),
    )


@dataclass(frozen=True)
class Profile:
    """The mean attribution by radius in the cells of one class."""

    label: str  # the true class
    cells: int  # how many have an attribution
    # One per bin, above zero for ALL; NaN if no cell reaches it. Each bin has an interval of its
    # own.
    mean: tuple[Estimate, ...]
    # The mean over the bins of each of ``ZONES``, every cell counting alike.
    zones: tuple[Estimate, ...]
    directions: tuple[Direction, ...]  # for which class each zone clearly speaks


@dataclass(frozen=True)
class ByRadius:
    """The profiles of both classes; of ``edges``, 0 is the centre of a cell and 1 its outline."""

    edges: tuple[float, ...]
    profiles: tuple[Profile, ...]


def average_by_radius(rows: Rows) -> ByRadius | None:
    """Average the cells of each class, bin by bin; None if no labelled cell has an attribution.

    Raises:
        ValueError: if the lists do not have the bins of ``RADII``.
    """
    labelled = rows.labelled
    if not labelled.frame.height:
        return None
    values = labelled.lists("radius")
    if np.isnan(values).all():
        return None
    if values.shape[1] != len(RADII) - 1:
        raise ValueError(f"{values.shape[1]} radii, but {len(RADII) - 1} bins")
    profiles = tuple(
        _of_class(labelled, values, label)
        for label, mine in zip(CLASSES, (labelled.is_all, ~labelled.is_all), strict=True)
        if not np.isnan(values[mine]).all()
    )
    return ByRadius(tuple(float(edge) for edge in RADII), profiles)


def _of_class(rows: Rows, values: Floats, label: str) -> Profile:
    mine = np.where((rows.is_all == (label == "all"))[:, None], values, np.nan)
    count = int((~np.isnan(mine).all(axis=1)).sum())
    zones = rows.estimates(_by_zone(mine))
    directions = tuple(_direction(zone) for zone in zones)
    return Profile(label, count, rows.estimates(mine), zones, directions)


def _by_zone(values: Floats) -> Floats:
    """Average the bins of each zone, cell by cell: (cells, bins) to (cells, zones)."""
    starts = np.array(RADII[:-1])
    inside = [(starts >= low) & (starts < high) for low, high in ZONES.values()]
    return np.column_stack([means(values[:, zone].T) for zone in inside])


def _direction(mean: Estimate) -> Direction:
    if not mean.known:
        return "not-measured"
    if np.isnan(mean.low):
        return "too-few-cells"
    if mean.above_zero:
        return "all"
    return "hem" if mean.negated().above_zero else "neither"
