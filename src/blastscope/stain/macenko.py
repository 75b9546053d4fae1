"""Macenko: two stain vectors from the wedge of optical densities, then the reference's two.

Macenko et al., A method for normalizing histology slides for quantitative analysis, ISBI 2009, pp.
1107-1110. It was made for haematoxylin and eosin; which stain is which is decided by what lies
nearer to the reference, not by their names.
"""

from __future__ import annotations

import numpy as np

from blastscope.stain.optical_density import (
    STAINED,
    Floats,
    Mask,
    Pixels,
    optical_density,
    sampled,
    transmitted,
)
from blastscope.stain.statistics import StainError, StainStatistics, as_numbers

ANGLES = (1, 99)
"""The percentiles of angles that the two stains lie at."""
STRONGEST = 99
"""The percentile of amounts that is matched."""
_LEAST_PIXELS = 100
_LEAST_AMOUNT = 1e-3


def measure(pixels: Pixels, mask: Mask, on_black: bool) -> StainStatistics:
    """Measure the two stains and their strongest amounts in the pixels of a mask.

    Raises:
        StainError: if there are too few stained pixels, all have one colour, or a stain is absent.
    """
    density = optical_density(sampled(pixels, mask).astype(np.float64) + 1)
    stained = density[(density >= STAINED).all(axis=1)]
    if len(stained) < _LEAST_PIXELS:
        raise StainError(f"has {len(stained)} stained pixels, and macenko needs {_LEAST_PIXELS}")
    plane = np.linalg.eigh(np.cov(stained.T))[1][:, :0:-1]  # the two largest, the larger first
    plane *= np.where(plane.sum(axis=0) < 0, -1, 1)
    along, across = (stained @ plane).T
    low, high = np.percentile(np.arctan2(across, along), ANGLES)
    vectors = np.array([[np.cos(angle), np.sin(angle)] for angle in (low, high)]) @ plane.T
    strongest = np.percentile(amounts(density, vectors), STRONGEST, axis=0)
    if not (strongest > _LEAST_AMOUNT).all():
        raise StainError("has in effect one stain: the amount of the other is nowhere above 0")
    return StainStatistics(
        "macenko", on_black, vectors=as_numbers(vectors), strongest=as_numbers(strongest)
    )


def amounts(density: Floats, vectors: Floats) -> Floats:
    """Return the amount of each stain in each pixel, (N, stains): least squares."""
    return np.asarray(density @ np.linalg.pinv(vectors))


def match(values: Pixels, own: StainStatistics, reference: StainStatistics) -> Floats:
    """Return RGB (N, 3), 0..255, with the reference's stains, as strong as there."""
    vectors, theirs = own.stains, reference.stains
    scale = np.array(reference.strongest)
    order = [0, 1]
    if _distance(vectors[::-1], theirs) < _distance(vectors, theirs):
        order = [1, 0]
    found = amounts(optical_density(values.astype(np.float64) + 1), vectors)[:, order]
    found *= scale / np.array(own.strongest)[order]
    return transmitted(found @ theirs) - 1


def _distance(some: Floats, others: Floats) -> float:
    return float(np.square(some - others).sum())
