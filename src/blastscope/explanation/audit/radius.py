"""Where from the centre to the outline a model finds its evidence, in the cells of each class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blastscope.evaluation.confidence_intervals import Estimate
from blastscope.explanation.audit.means import Floats, Rows, means
from blastscope.explanation.audit.words import NAMES, told
from blastscope.explanation.radius import RADII

CLASSES = ("all", "hem")
ZONES = {"in the inner half": (0.0, 0.5), "in the outer half": (0.5, 1.0),
         "beyond the outline": (1.0, 1.5)}  # fmt: skip
"""Three stretches of the radius, laid down before the evidence is looked at. To pick the highest
of fifteen bins and then test it as if it had been meant would find a peak in noise, one time in
three."""
SIGN = (
    "Evidence by radius, above zero for ALL and below for normal, 1 being the average strength of "
    "the picture's evidence, for whichever class."
)
"""How the figures of the sentence are to be read: as those of the figure."""


@dataclass(frozen=True)
class Profile:
    """The mean evidence by radius in the cells of one class.

    Attributes:
        label: the true class.
        cells: how many have any evidence.
        mean: a figure a bin, above zero for ALL; NaN where no cell reaches. The interval is of each
            bin by itself.
        zones: the mean over the bins of each of ``ZONES``, every cell counting alike.
    """

    label: str
    cells: int
    mean: tuple[Estimate, ...]
    zones: tuple[Estimate, ...]


@dataclass(frozen=True)
class ByRadius:
    """The profiles of both classes.

    Attributes:
        edges: of the bins: 0 is the cell's centre, 1 its outline.
        profiles: of each class that has cells.
        sentence: what the evidence is for in each zone, in the cells of each class.
    """

    edges: tuple[float, ...]
    profiles: tuple[Profile, ...]
    sentence: str


def profile(rows: Rows) -> ByRadius | None:
    """Average the cells of each class, bin by bin; None where no labelled cell has evidence.

    Raises:
        ValueError: where the lists are not of the bins of ``RADII``.
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
    edges = tuple(float(edge) for edge in RADII)
    sentence = " ".join([SIGN, *(_told(found) for found in profiles)])
    return ByRadius(edges, profiles, sentence)


def _of_class(rows: Rows, values: Floats, label: str) -> Profile:
    mine = np.where((rows.is_all == (label == "all"))[:, None], values, np.nan)
    count = int((~np.isnan(mine).all(axis=1)).sum())
    return Profile(label, count, rows.estimates(mine), rows.estimates(_by_zone(mine)))


def _by_zone(values: Floats) -> Floats:
    """Average the bins of each zone, cell by cell: (cells, bins) to (cells, zones)."""
    starts = np.array(RADII[:-1])
    inside = [(starts >= low) & (starts < high) for low, high in ZONES.values()]
    return np.column_stack([means(values[:, zone].T) for zone in inside])


def _told(found: Profile) -> str:
    """Give the evidence by zone in the cells of a class, and say of each zone what it is for."""
    zones = [f"{_zone(e)} {zone}" for zone, e in zip(ZONES, found.zones, strict=True)]
    return f"In {NAMES[found.label]} cells: {'; '.join(zones)}."


def _zone(mean: Estimate) -> str:
    """Say what the cells have in a zone; its name comes after."""
    if not mean.known:
        return "nothing measured"
    if np.isnan(mean.low):
        return f"{told(mean, sign=True)}, too few cells to say what for,"
    how = "for neither clearly"
    if mean.above_zero:
        how = f"clearly for {NAMES['all']}"
    elif mean.negated().above_zero:
        how = f"clearly for {NAMES['hem']}"
    return f"{how}, {told(mean, sign=True)},"
