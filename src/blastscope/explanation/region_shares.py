"""How much of a map's heat lies on the cell, and how much beside it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from blastscope.data.crop import Pixels
from blastscope.explanation.cell_image import BACKGROUND, CELL, DEBRIS


class Shares(NamedTuple):
    """Parts of a whole by where they lie; the three add up to 1."""

    cell: float
    debris: float
    background: float


def shares(heat: NDArray[np.floating], regions: Pixels) -> Shares | None:
    """Return how much of a map's heat lies in each region.

    To be read beside :func:`area_shares`, which are a flat map's, and beside the shares of another
    cell's map in the same regions: what one has that ignores this picture but knows where cells
    lie in pictures. The fields of a class activation map are wide, so that some of the heat of a
    cell's rim always lies outside it.

    Args:
        heat: shape (S, S), not below zero.
        regions: what each pixel is, as ``Picture.regions_at`` says, shape (S, S).

    Returns:
        The shares; None where there is no heat at all.
    """
    total = float(heat.sum(dtype=np.float64))
    if total <= 0 or not np.isfinite(total):
        return None
    inside = (float(heat[regions == k].sum(dtype=np.float64)) for k in (CELL, DEBRIS, BACKGROUND))
    return Shares(*(part / total for part in inside))


def area_shares(regions: Pixels) -> Shares:
    """Return how much of a network's image each region is, of regions of shape (S, S)."""
    return Shares(*(float((regions == k).mean()) for k in (CELL, DEBRIS, BACKGROUND)))
