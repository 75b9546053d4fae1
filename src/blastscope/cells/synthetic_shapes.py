"""The shapes of a synthetic cell: its outline, the snags on it and the debris beside it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]
Point = NDArray[np.float64]
"""x and y in pixels, shape (2,)."""
Radii = NDArray[np.float64]
"""An outline: the distance from the centre at each of ``ANGLES``, shape (320,)."""

ANGLES = np.linspace(0, 2 * np.pi, 320, endpoint=False)


def outline(roughness: float, cleft: float, rng: np.random.Generator) -> Radii:
    """Return the outline of a nucleus, its mean radius being 1.

    Args:
        roughness: spread of its deviations from an ellipse.
        cleft: probability of an indentation.
    """
    elongation = abs(rng.normal(0, 0.05)) + 0.01
    radii = 1 + elongation * np.cos(2 * (ANGLES - rng.uniform(0, np.pi)))
    orders = np.arange(3, 22)[:, None]
    phases = rng.uniform(0, 2 * np.pi, orders.shape)
    amplitudes = rng.normal(0, 1, orders.shape) * (3 / orders) ** 1.3
    radii += roughness * (amplitudes * np.cos(orders * ANGLES + phases)).sum(0)
    if rng.random() < cleft:
        radii -= rng.uniform(0.06, 0.3) * _bump(rng, rng.uniform(0.12, 0.45))
    return np.clip(radii, 0.4, 1.35)


def snags(rng: np.random.Generator) -> Radii:
    """Return the small bites and spurs that segmentation leaves on an outline."""
    snags = np.zeros_like(ANGLES)
    for _ in range(rng.poisson(0.7)):
        height = rng.uniform(0.03, 0.1) * rng.choice([-1, 1])
        snags += height * _bump(rng, rng.uniform(0.03, 0.08))
    return snags


def _bump(rng: np.random.Generator, width: float) -> Radii:
    """Return a bump of height 1 at a random angle; ``width`` is in radians."""
    distance = np.angle(np.exp(1j * (ANGLES - rng.uniform(0, 2 * np.pi))))
    return np.asarray(np.exp(-0.5 * (distance / width) ** 2))


def filled(radii: Radii, centre: Point, size: int) -> Mask:
    """Return a square mask of what lies inside an outline, cut off at the mask's border."""
    directions = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
    corners = np.rint((centre + radii[:, None] * directions) * 16).astype(np.int32)
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [corners], 1.0, shift=4)
    return mask


def debris(radii: Radii, centre: Point, cell: Mask, rng: np.random.Generator) -> Mask:
    """Return a mask of the fragments beside the cell: none in most images, apart from it."""
    mask = np.zeros_like(cell)
    if rng.random() >= 0.07:
        return mask
    for _ in range(rng.integers(1, 3)):
        own = rng.uniform(3, 11)
        angle = rng.uniform(0, 2 * np.pi)
        away = radii.max() + own + rng.uniform(4, 25)
        place = centre + away * np.array([np.cos(angle), np.sin(angle)])
        mask |= filled(own * outline(0.09, 0.3, rng), place, len(cell))
    around = np.asarray(cv2.dilate(cell, np.ones((5, 5), np.uint8)), np.uint8)
    return np.where(around > 0, 0, mask).astype(np.uint8)
