"""Whether maps agree: Spearman's rank correlation, which asks for order and not for scale."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]

SIDE = 16
"""Maps of several models are compared on this many fields a side: as fine as the finest of the
paper's grids (14), and few enough that neighbours are not counted many times over."""
_FLAT = 1e-6  # of the largest value: below it, what is left of resizing a constant


def agreement(signed: NDArray[np.floating]) -> Floats:
    """Return how far the maps of one cell agree with each other.

    Args:
        signed: the models' maps in common coordinates (``Picture.on_crop``), above zero for ALL,
            shape (models, side, side).

    Returns:
        Spearman's correlation on a common 16 × 16 grid, shape (models, models); NaN with itself
        and where a map is flat.
    """
    return agreement_of(np.stack([coarse(one) for one in signed]))


def agreement_of(coarse_maps: NDArray[np.floating]) -> Floats:
    """Do the same with maps that are coarse already, shape (models, 256)."""
    ranks = _ranks(coarse_maps)
    found: Floats = np.clip(ranks @ ranks.T, -1, 1)
    np.fill_diagonal(found, np.nan)
    return found


def coarse(signed: NDArray[np.floating]) -> NDArray[np.float32]:
    """Average a map of shape (side, side) over the fields of the common grid, shape (256,)."""
    fields = cv2.resize(signed.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(fields, np.float32).ravel()


def spearman(first: NDArray[np.floating], second: NDArray[np.floating]) -> Floats:
    """Return Spearman's correlation of each map with its like.

    Args:
        first: maps of any shape (N, …).
        second: as many, of the same shape.

    Returns:
        Shape (N,); NaN where either map is flat.
    """
    products = _ranks(first.reshape(len(first), -1)) * _ranks(second.reshape(len(second), -1))
    return np.asarray(np.clip(products.sum(axis=1), -1, 1))


def _ranks(maps: NDArray[np.floating]) -> Floats:
    """Return ranks (N, fields) of mean 0 and length 1, whose products are correlations."""
    ranks = np.asarray(rankdata(maps, axis=1), np.float64)
    ranks -= ranks.mean(axis=1, keepdims=True)
    flat = ~(np.ptp(maps, axis=1) > _FLAT * np.abs(maps).max(axis=1))  # NaN is flat as well
    ranks[flat] = np.nan
    ranks /= np.linalg.norm(ranks, axis=1, keepdims=True)
    return ranks
