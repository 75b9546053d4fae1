"""Normalize the stain of one image to a reference; black stays black."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import cv2
import numpy as np

from blastscope.stain import gcti, macenko, reinhard
from blastscope.stain.optical_density import Mask, Pixels
from blastscope.stain.statistics import METHODS, Method, Numbers, StainError, StainStatistics

LEAST_WEDGE = 4.0
"""Two stains nearer to each other than this, in degrees, cannot be told from one with noise."""
LEAST_PIXELS = 100
"""The least pixels of a cell or field."""
ON_BLACK = 0.05
"""An image with at least this share of black is a cell on black."""
DARKEST = 2
"""What is not black stays at least this bright, so that the cell is found as before."""
_STRIP = 2**18

_MODULES: dict[str, ModuleType] = {"reinhard": reinhard, "macenko": macenko, "gcti": gcti}
assert tuple(_MODULES) == METHODS


@dataclass(frozen=True)
class Normalized:
    """A normalized image.

    Attributes:
        pixels: uint8, height × width × 3, RGB.
        own: what was measured of the image before.
    """

    pixels: Pixels
    own: StainStatistics


def foreground(pixels: Pixels) -> Mask:
    """Return which pixels are not black: grey above 1, as cells are found."""
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) > 1)


def measure_stain(pixels: Pixels, method: Method) -> StainStatistics:
    """Measure an image that others are to be normalized to.

    Args:
        pixels: uint8, height × width × 3, RGB; a cell on black, or a whole field.

    Raises:
        StainError: if there is too little on it, or it has in effect one stain and the method needs
            two.
    """
    cut = _cut(pixels)
    return _measured(cut, method)


def normalize_pixels(pixels: Pixels, reference: StainStatistics) -> Normalized:
    """Give an image the stain of a reference; black stays black.

    Args:
        pixels: uint8, height × width × 3, RGB; a cell on black, or a whole field.
        reference: what ``measure_stain`` found on the reference.

    Raises:
        StainError: as ``measure_stain`` does, or if one of the two images is a cell on black and
            the other a whole field.
    """
    cut = _cut(pixels)
    if cut.on_black != reference.on_black:
        kinds = ("a whole field", "a cell on black")
        raise StainError(
            f"is {kinds[cut.on_black]}, and the reference is {kinds[not cut.on_black]}"
        )
    own = _measured(cut, reference.method, reference.light)
    if reference.method == "gcti":
        own = gcti.aligned(cut.pixels, cut.mask, own, reference)
    changed = np.zeros_like(pixels)
    changed[cut.place][cut.mask] = _matched(cut.pixels[cut.mask], own, reference)
    return Normalized(changed, own)


@dataclass(frozen=True)
class _Cut:
    """What is not black of an image, cut out."""

    pixels: Pixels
    mask: Mask
    place: tuple[slice, slice]
    on_black: bool


def _cut(pixels: Pixels) -> _Cut:
    mask = foreground(pixels)
    count = int(np.count_nonzero(mask))
    if count < LEAST_PIXELS:
        raise StainError(f"has {count} pixels that are not black, fewer than {LEAST_PIXELS}")
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    place = (slice(y, y + height), slice(x, x + width))
    on_black = count <= (1 - ON_BLACK) * mask.size
    return _Cut(np.ascontiguousarray(pixels[place]), mask[place], place, on_black)


def _measured(cut: _Cut, method: Method, to_light: Numbers = ()) -> StainStatistics:
    found: StainStatistics
    if method == "gcti":
        found = gcti.measure(cut.pixels, cut.mask, cut.on_black, to_light)
    else:
        found = _MODULES[method].measure(cut.pixels, cut.mask, cut.on_black)
    wedge = found.wedge
    if wedge is not None and wedge < LEAST_WEDGE:
        raise StainError(
            f"has in effect one stain: its two stain vectors are {wedge:.1f}° apart, and "
            f"{method} needs {LEAST_WEDGE:.0f}°: use reinhard"
        )
    return found


def _matched(values: Pixels, own: StainStatistics, reference: StainStatistics) -> Pixels:
    """Match pixels (N, 3), a strip at a time so that memory stays flat."""
    module, changed = _MODULES[reference.method], np.empty_like(values)
    for first in range(0, len(values), _STRIP):
        strip = slice(first, first + _STRIP)
        found = module.match(values[strip], own, reference)
        changed[strip] = np.rint(np.clip(found, 0, 255)).astype(np.uint8)
    dark = np.asarray(cv2.cvtColor(changed[:, None], cv2.COLOR_RGB2GRAY)).ravel() < DARKEST
    changed[dark] = np.maximum(changed[dark], DARKEST)
    return changed
