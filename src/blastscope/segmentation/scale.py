"""How many micrometres a pixel has: as told, or by the red cells, or not at all.

A red cell on a dried smear measures some 7.5 micrometres, and little varies in blood that is
healthy enough. Only round red cells that lie alone count, from all fields together; too few of
them, or of too many sizes, are no scale. (With a guess, platelets passed for white cells, and
precision fell to .62.)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from blastscope.data.crop import Pixels
from blastscope.errors import BlastscopeError
from blastscope.segmentation.nuclei import fill_holes
from blastscope.segmentation.optical_density import optical_density

RED_CELL = 7.5
"""The diameter of a red cell on a dried smear, in micrometres."""
C_NMC = 0.06
"""Micrometres a pixel of the C-NMC cells. No publication of the set states it: this is an estimate.
At this scale half of the lymphoblasts' boxes measure 12.1 to 14.2 µm (median 13.2 µm, 7,272 cells)
and normal cells 9.9 to 12.2 µm (median 10.8 µm, 3,389 cells)."""
SMALLEST, LARGEST = 0.02, 0.5
"""Micrometres a pixel that are taken: below, one cell fills a field; above, no nucleus has a
shape."""
FEWEST = 8
"""Red cells that a scale is measured by, at least."""
SPREAD = 0.3
"""The most that the middle half of the diameters may differ, as a share of the median."""
DIFFER = 0.09
"""The standard deviation of the diameters of red cells of one smear, as a share: their middle half
differs by .09 to .12 of the median on two public sets."""
CONTRADICTS = 1.25
"""How many times a scale that was told may be the one that red cells show, or the reverse: red
cells of patients measure from 6 to 9 µm."""
_SIDE = 1200
_LEAST = 80
"""The least area of a red cell, in pixels: a smaller spot has no shape."""
_CLEAR = 13.5
"""The diameter of red cells, in pixels, from which a shrunk field tells their size: of smaller ones
only those count that have ``_LEAST``, and their median came out 11 % too large at 9 pixels."""
_PALE = 1.5
"""The total density above which more tells nothing of red cells: dark nuclei would raise the
threshold above theirs, and leave of pale red cells only where two lie on each other."""


@dataclass(frozen=True)
class Scale:
    """Micrometres a pixel, and how they are known.

    Attributes:
        um_per_pixel: micrometres a pixel.
        red_cells: how many red cells it was measured by; None if it was told.
        diameter: their median diameter in pixels; None if it was told.
        by_red_cells: of a scale that was told, the one that red cells show; None if they cannot be
            measured.
    """

    um_per_pixel: float
    red_cells: int | None = None
    diameter: float | None = None
    by_red_cells: float | None = None

    @property
    def within(self) -> float | None:
        """How far the scale may be off, as a share; None if it was told."""
        return None if self.red_cells is None else uncertainty(self.red_cells)

    @property
    def is_contradicted(self) -> bool:
        """Whether red cells show quite another scale than the one that was told."""
        if self.by_red_cells is None:
            return False
        apart = self.um_per_pixel / self.by_red_cells
        return max(apart, 1 / apart) > CONTRADICTS


def uncertainty(red_cells: int) -> float:
    """Return half of the 95 % interval of the median of some red cells' diameters, as a share.

    The standard error of a median of n values is 1.25 standard deviations divided by √n, if they
    are normal. That red cells of a smear may not measure 7.5 micrometres comes on top.
    """
    return 1.96 * 1.25 * DIFFER / float(np.sqrt(red_cells))


def told_scale(um_per_pixel: float) -> Scale:
    """Return a scale that a user gave.

    Raises:
        BlastscopeError: if no microscope has it.
    """
    if not SMALLEST <= um_per_pixel <= LARGEST:
        raise BlastscopeError(
            f"{um_per_pixel:g} is not a number of micrometres per pixel between {SMALLEST} and "
            f"{LARGEST}: divide 7.5 by the diameter of a red cell in pixels."
        )
    return Scale(um_per_pixel)


def red_cell_diameters(rgb: Pixels) -> np.ndarray:
    """Return the diameters, in pixels, of round red cells that lie alone.

    Args:
        rgb: uint8, (H, W, 3).
    """
    factor = min(1.0, _SIDE / max(rgb.shape[:2]))
    found = _diameters(_shrunk(rgb, factor))
    while factor < 1 and (not found.size or _middle(found) < _CLEAR):
        factor = min(1.0, 2 * factor)
        found = _diameters(_shrunk(rgb, factor))
    return np.asarray(found / factor)


def _shrunk(rgb: Pixels, factor: float) -> Pixels:
    """Shrink a field, or its middle if more than ``_SIDE`` pixels a side would be left."""
    if factor == 1 and max(rgb.shape[:2]) <= _SIDE:
        return rgb
    height, width = rgb.shape[:2]
    side = round(_SIDE / factor)
    top, left = max(0, height - side) // 2, max(0, width - side) // 2
    part = np.ascontiguousarray(rgb[top : top + side, left : left + side])
    small = cv2.resize(part, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _middle(diameters: np.ndarray) -> float:
    """Return the median of diameters, each counted by its area: dust is many and small."""
    every = np.sort(diameters)
    weights = np.cumsum(every**2)
    return float(every[np.searchsorted(weights, weights[-1] / 2)])


def _diameters(rgb: Pixels) -> np.ndarray:
    """Return the diameters of round red cells that lie alone and have ``_LEAST`` pixels."""
    density = cv2.GaussianBlur(optical_density(rgb), (0, 0), 1.0)
    total = density.sum(axis=2)
    levels = (np.clip(total, 0, _PALE) * (254 / _PALE)).astype(np.uint8)
    threshold, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)
    seen = fill_holes(levels > threshold)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(seen.astype(np.uint8))
    height, width = seen.shape
    found = []
    for k in range(1, count):
        x, y, w, h, area = (int(value) for value in boxes[k])
        if area < _LEAST or x == 0 or y == 0 or x + w == width or y + h == height:
            continue
        if max(w, h) > 1.35 * min(w, h):
            continue
        mask = labels[y : y + h, x : x + w] == k
        red, _, blue = density[y : y + h, x : x + w][mask].mean(axis=0)
        if red < blue and _is_round(mask, area):
            found.append(2 * np.sqrt(area / np.pi))
    return np.array(found)


def _is_round(mask: np.ndarray, area: int) -> bool:
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = cv2.convexHull(outlines[0])
    length = cv2.arcLength(hull, True)
    return area > 0.93 * cv2.contourArea(hull) and 4 * np.pi * area > 0.85 * length**2


def measured_scale(diameters: Iterable[np.ndarray]) -> Scale:
    """Return the scale by the red cells of several fields.

    Args:
        diameters: of each field, in pixels.

    Raises:
        BlastscopeError: if there are too few red cells, or their sizes differ too much.
    """
    fields = list(diameters)
    every = np.concatenate([np.empty(0), *fields])
    give = (
        "give the micrometres per pixel (--um-per-pixel): 7.5 divided by the diameter of a red "
        "cell in pixels"
    )
    if every.size:
        middle = _middle(every)
        near = every[(every > 0.6 * middle) & (every < 1.5 * middle)]
    else:
        near = every
    if near.size < FEWEST:
        raise BlastscopeError(
            f"The scale cannot be measured: {near.size} round red cells lie alone in the fields, "
            f"and {FEWEST} are needed; {give}."
        )
    low, median, high = np.quantile(near, (0.25, 0.5, 0.75))
    medians = [np.median(one) for one in fields if one.size >= 4]
    apart = max(medians) / min(medians) if medians else 1.0
    if (high - low) / median > SPREAD or apart > 1.6:
        raise BlastscopeError(
            "The scale cannot be measured: the red cells of these fields have too many sizes "
            f"(from {every.min():.0f} to {every.max():.0f} pixels); {give}, or segment fields of "
            "one microscope and objective at a time."
        )
    return told_or_refused(median, near.size, give)


def told_or_refused(diameter: float, count: int, give: str) -> Scale:
    """Return the scale of a red cell's diameter in pixels.

    Raises:
        BlastscopeError: if no microscope has it.
    """
    um = RED_CELL / float(diameter)
    if not SMALLEST <= um <= LARGEST:
        raise BlastscopeError(
            f"The scale cannot be measured: round spots of {diameter:.0f} pixels are not red cells "
            f"in a field in which white cells can be outlined; {give}."
        )
    return Scale(um, int(count), float(diameter))
