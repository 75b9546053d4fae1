"""Inspect one cell's image: decode it, find the cell, hash the pixels, note what is odd."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash

from blastscope.data.crop import Contour, Located, locate
from blastscope.data.images import Decoded, UnusableImageError
from blastscope.data.layouts import CellFile, Problem


@dataclass(frozen=True)
class Inspection:
    """A usable cell: its pixels, where the cell is, and what is odd about it."""

    pixels: np.ndarray[Any, np.dtype[np.uint8]]
    """uint8, height × width × 3, RGB."""
    located: Located
    pixel_hash: str
    format: str
    mode: str
    flags: tuple[str, ...]


def inspect_cell(item: CellFile, contour: Contour = "union") -> Inspection | Problem:
    """Read one cell; what makes it unusable is returned, so that all of a set can be named."""
    try:
        return inspect_image(item.decode(), contour, item.flags)
    except UnusableImageError as error:
        return Problem(item.file, error.kind, str(error))


def inspect_image(
    decoded: Decoded, contour: Contour = "union", flags: Sequence[str] = ()
) -> Inspection:
    """Inspect a decoded image; ``flags`` are what is odd about its name or place.

    Raises:
        UnusableImageError: if there is no cell on it.
    """
    try:
        located = locate(decoded.pixels, contour)
    except UnusableImageError as error:
        if error.kind == "black" and "frames" in decoded.flags:
            message = "has several pages and the first is all black: save the cell's page alone"
            raise UnusableImageError("black", message) from None
        raise
    found = [*flags, *decoded.flags]
    if located.touches_frame:
        found.append("frame")
    if located.components > 1:
        found.append("components")
    digest = pixel_hash(decoded.pixels)
    return Inspection(decoded.pixels, located, digest, decoded.format, decoded.mode, tuple(found))


def pixel_hash(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    """Return XXH3-128 (hex) over height, width and the RGB bytes of a uint8 image.

    It tells whether two images show the same pixels, whatever their format or name.
    """
    digest = xxhash.xxh3_128()
    digest.update(np.array(pixels.shape[:2], "<u4").tobytes())
    digest.update(np.ascontiguousarray(pixels).data)
    return str(digest.hexdigest())
