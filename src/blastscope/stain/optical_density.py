"""Optical density: what a stain absorbs, which adds up where stains overlap (Beer and Lambert)."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
Mask: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float64]

WHITE = 255.0
STAINED = 0.15
"""The least optical density of a stained pixel (Macenko et al., ISBI 2009, pp. 1107-1110)."""
MOST_SAMPLED = 2**20
"""Statistics are measured on at most this many pixels, evenly spaced, so that memory is flat."""


def optical_density(values: NDArray[Any], light: float | Floats = WHITE) -> Floats:
    """Return -ln(value / light): natural logarithm, no unit.

    Args:
        values: grey levels above 0, any shape, or (N, 3) if ``light`` is of three channels.
        light: the grey level of glass without stain.
    """
    return np.asarray(-np.log(np.asarray(values, np.float64) / light))


def transmitted(density: Floats, light: float | Floats = WHITE) -> Floats:
    """Return the grey level that a density lets through: the inverse of ``optical_density``."""
    return np.asarray(light * np.exp(-density))


def sampled(pixels: Pixels, mask: Mask) -> Pixels:
    """Return the pixels of a mask, (N, 3); of a large image evenly spaced ones."""
    values = pixels[mask]
    step = -(-len(values) // MOST_SAMPLED)
    return values[:: max(step, 1)]
