"""Measure attribution maps: shares by region, profile by radius, agreement, ensemble's map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from blastscope.data.crop import Pixels
from blastscope.ensemble.combination import Combination
from blastscope.explanation.cell_image import BACKGROUND, CELL, DEBRIS, Map

Floats = NDArray[np.float64]

RADII = tuple(k / 10 for k in range(16))
"""The edges of the bins: ten from the centre (0) to the outline (1), five beyond it, to 1.5."""
SIDE = 16
"""Maps of several models are compared on this many positions a side: as fine as the finest of the
paper's grids (14), and few enough that neighbours are not counted many times."""
_FLAT = 1e-6  # of the largest value: a smaller range is what is left of resizing a constant


class Shares(NamedTuple):
    """Shares by region; the three add up to 1."""

    cell: float
    debris: float
    background: float


def shares(attribution: NDArray[np.floating], regions: Pixels) -> Shares | None:
    """Return how much of a map (S, S), not below zero, lies in each region; None if it is all zero.

    Compare it with :func:`area_shares`, the shares of a flat map, and with the shares of another
    cell's map in the same regions: a map that ignores this image but knows where cells lie in
    images. The positions of a class activation map are wide, so that some of the attribution of a
    cell's rim always lies outside the cell. Regions are those of ``CellImage.regions_at``, shape
    (S, S).
    """
    total = float(attribution.sum(dtype=np.float64))
    if total <= 0 or not np.isfinite(total):
        return None
    inside = (
        float(attribution[regions == k].sum(dtype=np.float64)) for k in (CELL, DEBRIS, BACKGROUND)
    )
    return Shares(*(part / total for part in inside))


def area_shares(regions: Pixels) -> Shares:
    """Return the share of the image that each region takes, of regions of shape (S, S)."""
    return Shares(*(float((regions == k).mean()) for k in (CELL, DEBRIS, BACKGROUND)))


def radii(regions: Pixels) -> NDArray[np.float64]:
    """Return the radius of each pixel of regions (S, S), of the same shape.

    It is 0 at the point farthest from the outline, 1 on the outline and larger beyond it; NaN
    everywhere if there is no cell. It is measured from the outline rather than from a centre of
    mass, so that the rim of a bean-shaped cell has one radius. The outline runs between pixels,
    half a pixel from the centres of the pixels that it separates; if the cell reaches the edge of
    the image, that is its outline.
    """
    cell = np.pad((regions == CELL).astype(np.uint8), 1)
    if not cell.any():
        return np.full(regions.shape, np.nan)
    inside, outside = (_distance(mask)[1:-1, 1:-1] for mask in (cell, 1 - cell))
    depth = inside.max()
    return np.asarray(np.where(regions == CELL, 1 - inside / depth, 1 + outside / depth))


def _distance(mask: Pixels) -> NDArray[np.float64]:
    """Return the distance of each pixel of a mask from its edge; below zero elsewhere."""
    exact = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(exact, np.float64) - 0.5


def radial_profile(signed: NDArray[np.floating], regions: Pixels) -> NDArray[np.float64]:
    """Return the mean attribution per pixel by radius, divided by the mean absolute attribution.

    Args:
        signed: above zero for ALL, below for normal, shape (S, S), as ``regions``.

    Returns:
        Shape (15,), a value per bin of ``RADII``: 2 means that a pixel there speaks twice as
            strongly for ALL as an average pixel does for either class. NaN if a bin has no
            pixel; NaN everywhere if there is no cell or no attribution.
    """
    bins = len(RADII) - 1
    which = np.digitize(radii(regions).ravel(), RADII) - 1  # NaN is beyond the last, too
    near = which < bins
    pixels = np.bincount(which[near], minlength=bins)
    total = np.bincount(which[near], weights=signed.ravel()[near], minlength=bins)
    mean = float(np.abs(signed).mean(dtype=np.float64))
    profile = np.full(bins, np.nan)
    if mean > 0:
        np.divide(total, pixels * mean, out=profile, where=pixels > 0)
    return profile


def agreement(signed: NDArray[np.floating]) -> Floats:
    """Return the agreement of the maps of one cell: Spearman's correlation, which ignores scale.

    The signed maps (models, side, side) are in common coordinates (``CellImage.on_crop``) and
    compared on a 16 × 16 grid. The result is (models, models), NaN on the diagonal and if a map is
    flat.
    """
    return agreement_of(np.stack([coarse(one) for one in signed]))


def agreement_of(coarse_maps: NDArray[np.floating]) -> Floats:
    """Return the agreement of maps that are coarse already, shape (models, 256)."""
    ranks = _ranks(coarse_maps)
    found: Floats = np.clip(ranks @ ranks.T, -1, 1)
    np.fill_diagonal(found, np.nan)
    return found


def coarse(signed: NDArray[np.floating]) -> NDArray[np.float32]:
    """Average a map of shape (side, side) over the positions of the common grid, shape (256,)."""
    positions = cv2.resize(signed.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(positions, np.float32).ravel()


def spearman(first: NDArray[np.floating], second: NDArray[np.floating]) -> Floats:
    """Return Spearman's correlation of N maps with their counterparts, (N,); NaN if flat."""
    products = _ranks(first.reshape(len(first), -1)) * _ranks(second.reshape(len(second), -1))
    return np.asarray(np.clip(products.sum(axis=1), -1, 1))


def _ranks(maps: NDArray[np.floating]) -> Floats:
    """Return ranks (N, positions) of mean 0 and length 1: their products are correlations."""
    ranks = np.asarray(rankdata(maps, axis=1), np.float64)
    ranks -= ranks.mean(axis=1, keepdims=True)
    flat = ~(np.ptp(maps, axis=1) > _FLAT * np.abs(maps).max(axis=1))  # NaN is flat as well
    ranks[flat] = np.nan
    ranks /= np.linalg.norm(ranks, axis=1, keepdims=True)
    return ranks


def weights_of(combination: Combination) -> tuple[float, ...]:
    """Return the weight of each member: equal for votes and arbiters, coefficients for logits."""
    if combination.kind in ("votes", "arbiter"):
        return (1.0,) * len(combination.weights)
    return combination.weights


def combined_map(
    signed: Sequence[Map], combination: Combination, scales: Sequence[float] | None = None
) -> Map:
    """Combine the members' signed maps on the crop, all of one shape, by the ensemble's weights.

    Logits of different networks have different scales, so each map is first divided by its model's
    scale, above zero, or, without ``scales``, by the sum of its absolute values; a map that is zero
    everywhere adds nothing. The result is float32, below zero for normal.

    Raises:
        ValueError: if the numbers of maps and weights differ.
    """
    weights = weights_of(combination)
    if len(signed) != len(weights):
        raise ValueError(f"there are {len(signed)} maps, but {len(weights)} weights")
    total = np.zeros(np.shape(signed[0]), np.float64)
    sizes = scales or [float(np.abs(one).sum(dtype=np.float64)) for one in signed]
    for one, weight, size in zip(signed, weights, sizes, strict=True):
        if size > 0:
            total += weight * one / size
    return total.astype(np.float32)


def area(curve: NDArray[np.floating]) -> Floats:
    """Return the area under deletion or insertion curves (…, steps): their mean, by trapezoids.

    Low is good for deletion, high for insertion.
    """
    points = np.asarray(curve, np.float64)
    return np.asarray((points[..., 1:] + points[..., :-1]).mean(axis=-1) / 2)
