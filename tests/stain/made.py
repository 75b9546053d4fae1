"""Images whose stains are known, because they are made of them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

# Red, green, blue densities of unit length: a nuclear and a cytoplasmic stain, 20.0° apart.
NUCLEAR = np.array([0.60, 0.72, 0.35]) / np.linalg.norm([0.60, 0.72, 0.35])
PLASMA = np.array([0.35, 0.80, 0.50]) / np.linalg.norm([0.35, 0.80, 0.50])
ANGLE = float(np.degrees(np.arccos(NUCLEAR @ PLASMA)))


def rotated(vector: NDArray, towards: NDArray, degrees: float) -> NDArray:
    """A unit vector at an angle from ``vector``, in the plane of both."""
    beside = towards - (towards @ vector) * vector
    beside /= np.linalg.norm(beside)
    turn = np.radians(degrees)
    return np.cos(turn) * vector + np.sin(turn) * beside


def two_stain_density(
    seed: int = 0, side: int = 240, stains: tuple[NDArray, NDArray] = (NUCLEAR, PLASMA)
) -> NDArray:
    """Densities (side, side, 3) of a field: sharp blobs of each stain, of both, and glass."""
    rng = np.random.default_rng(seed)
    amount = []
    for _ in range(2):
        noise = cv2.GaussianBlur(rng.standard_normal((side, side)), (0, 0), side / 16)
        noise /= noise.std()
        amount.append(np.where(noise > 0.2, 0.4 + 0.6 * np.clip(noise - 0.2, 0, 2), 0))
    return amount[0][..., None] * stains[0] + amount[1][..., None] * stains[1]


def image_of(density: NDArray, light: float | NDArray = 255.0) -> NDArray:
    """The 8-bit image of densities, by Beer and Lambert's law."""
    return np.clip(np.rint(light * np.exp(-density)), 0, 255).astype(np.uint8)


def cell_on_black(pixels: NDArray) -> NDArray:
    """The middle disc of an image; black around it."""
    side = len(pixels)
    y, x = np.ogrid[:side, :side]
    inside = (y - side / 2) ** 2 + (x - side / 2) ** 2 < (0.4 * side) ** 2
    return np.maximum(pixels, 4) * inside[..., None].astype(np.uint8)
