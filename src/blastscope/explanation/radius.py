"""Where along a cell's radius the evidence lies, from its centre to its outline and beyond."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from blastscope.data.crop import Pixels
from blastscope.explanation.cell_image import CELL

RADII = tuple(k / 10 for k in range(16))
"""The edges of the bins: ten from the centre (0) to the outline (1), five beyond it, to 1.5."""


def radii(regions: Pixels) -> NDArray[np.float64]:
    """Return the radius of each pixel.

    By the distance from the outline rather than from a centre of mass, so that a bean's rim is
    rim all along. The outline runs between pixels, half a pixel from the centres of those that it
    parts; where the cell reaches the picture's edge, that is its outline.

    Args:
        regions: what each pixel is, shape (S, S).

    Returns:
        Shape (S, S): 0 where the cell is deepest, 1 on its outline, and beyond it growing by the
        same measure; NaN everywhere where there is no cell.
    """
    cell = np.pad((regions == CELL).astype(np.uint8), 1)
    if not cell.any():
        return np.full(regions.shape, np.nan)
    inside, outside = (_distance(mask)[1:-1, 1:-1] for mask in (cell, 1 - cell))
    depth = inside.max()
    return np.asarray(np.where(regions == CELL, 1 - inside / depth, 1 + outside / depth))


def _distance(mask: Pixels) -> NDArray[np.float64]:
    """Return how far each pixel of a mask is from its edge; below zero elsewhere."""
    exact = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(exact, np.float64) - 0.5


def radial_profile(signed: NDArray[np.floating], regions: Pixels) -> NDArray[np.float64]:
    """Return the mean evidence per pixel by radius, of the picture's mean absolute evidence.

    Args:
        signed: above zero for ALL, below for normal, shape (S, S).
        regions: what each pixel is, shape (S, S).

    Returns:
        Shape (15,), a value a bin of ``RADII``: 2 in a bin says that a pixel there speaks twice
        as loudly for ALL as one does on average for either class. NaN where a bin has no pixel,
        and everywhere where there is no cell or no evidence.
    """
    bins = len(RADII) - 1
    which = np.digitize(radii(regions).ravel(), RADII) - 1  # NaN is beyond the last, too
    near = which < bins
    pixels = np.bincount(which[near], minlength=bins)
    heat = np.bincount(which[near], weights=signed.ravel()[near], minlength=bins)
    mean = float(np.abs(signed).mean(dtype=np.float64))
    profile = np.full(bins, np.nan)
    if mean > 0:
        np.divide(heat, pixels * mean, out=profile, where=pixels > 0)
    return profile
