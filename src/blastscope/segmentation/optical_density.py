"""Optical density: how much light of each colour the stain takes away from the light of the glass.

Density is the negative natural logarithm of a pixel divided by the glass beside it (Beer and
Lambert), so that an uneven light and the colour of the lamp drop out.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import cv2
import numpy as np

from blastscope.data.crop import Pixels

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]

BRIGHTEST = 0.08
"""The share of pixels that is taken for glass: red cells seldom leave less of it free."""
BLOCKS = 6
"""Blocks a side in which the light of a tile is measured."""
DARKEST = 0.6
"""A block whose brightest pixels have less than this share of the tile's light has no glass."""


def glass_colour(rgb: Pixels) -> Floats:
    """Return the colour of the glass: the median of the brightest pixels; (3,), at least 1.

    Args:
        rgb: uint8, (H, W, 3).
    """
    light = rgb.sum(axis=2, dtype=np.int32)
    least = np.quantile(light[::2, ::2], 1 - BRIGHTEST)
    glass: Floats = np.maximum(np.median(rgb[light >= least], axis=0), 1).astype(np.float32)
    return glass


def optical_density(rgb: Pixels) -> Floats:
    """Return the density of each channel, (H, W, 3), against the glass around each pixel.

    The light of the glass is measured in blocks and laid between them, so that a lamp that is
    brighter in the middle makes no cells at the rim. A block without glass takes its light from
    its neighbours.

    Args:
        rgb: uint8, (H, W, 3).
    """
    whole = glass_colour(rgb)
    light = _light_map(rgb, whole)
    if not light.size:
        return _density(rgb, whole)
    height, width = rgb.shape[:2]
    shade = cv2.resize(np.log(light / whole), (width, height), interpolation=cv2.INTER_LINEAR)
    return _density(rgb, whole) + np.asarray(shade, np.float32)


def _density(rgb: Pixels, glass: Floats) -> Floats:
    """Return densities by a table of the 256 levels of each channel."""
    levels = np.maximum(np.arange(256, dtype=np.float32), 1)
    table = -np.log(levels[:, None] / glass[None])
    found = cv2.LUT(rgb, np.ascontiguousarray(table[None].astype(np.float32)))
    return np.asarray(found, np.float32)


def _light_map(rgb: Pixels, whole: Floats) -> Floats:
    """Return the light of the glass in blocks, (BLOCKS, BLOCKS, 3); empty for a small tile."""
    height, width = rgb.shape[:2]
    if min(height, width) < 60 * BLOCKS:
        return np.empty(0, np.float32)
    found = np.zeros((BLOCKS, BLOCKS, 3), np.float32)
    known = np.zeros((BLOCKS, BLOCKS), np.float32)
    rows, columns = (np.linspace(0, side, BLOCKS + 1).astype(int) for side in (height, width))
    for k in range(BLOCKS):
        for j in range(BLOCKS):
            block = rgb[rows[k] : rows[k + 1] : 2, columns[j] : columns[j + 1] : 2]
            colour = glass_colour(block)
            if (colour / whole).min() >= DARKEST:
                found[k, j], known[k, j] = colour, 1
    if known.mean() < 0.5:
        return np.empty(0, np.float32)
    weight = cv2.GaussianBlur(known, (0, 0), 1.0)[..., None]
    smooth = cv2.GaussianBlur(found * known[..., None], (0, 0), 1.0) / np.maximum(weight, 1e-3)
    return np.where(weight > 1e-3, smooth, whole).astype(np.float32)
