"""Find the cell in an image, and cut the square that a network sees.

C-NMC cells are segmented, on pure black. The paper (Section 3.1) takes the grey image, a threshold
at 1, and the bounding box of the *first* outer contour that OpenCV lists; on an image with debris
that may be the debris. The default here is the box around everything above the threshold, which can
only be too large. On the 3,581 cells of fold 1 both give the published boxes (C. Marzahl) within
one pixel on every side; they differ if a second piece lies apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np

from blastscope.data.images import MAX_PIXELS, UnusableImageError
from blastscope.stain.normalize import normalize_pixels
from blastscope.stain.statistics import StainError, StainStatistics

Pixels: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
Contour = Literal["union", "first"]
Scale = Literal["crop", "keep"]

THRESHOLD = 1
"""Grey values up to this one are background (paper, Section 3.1)."""
FIELD = 320
"""Side of the field that ``keep`` cuts, in source pixels. It holds 98 of 100 C-NMC cells
whole and the rest but for their rims; a wider one would only spend pixels on black."""
BEYOND = "beyond-field"
"""The flag of a cell that the field cuts."""
_LARGE = 2**24
"""Squares of more bytes are not shrunk as floats."""
CLAHE_CLIP = 2.0
CLAHE_TILES = (8, 8)


@dataclass(frozen=True)
class Box:
    """A bounding box in pixels; ``x`` and ``y`` are its left and upper edge, inclusive."""

    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True)
class Located:
    """A cell's box, in how many pieces its foreground lies, and whether it touches the frame."""

    box: Box
    components: int
    touches_frame: bool


def locate(pixels: Pixels, contour: Contour = "union") -> Located:
    """Find the cell in an RGB image (uint8, height × width × 3).

    Raises:
        UnusableImageError: if the image is all black, or so long that its square would be larger
            than any image that is decoded.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    _, mask = cv2.threshold(grey, THRESHOLD, 255, cv2.THRESH_BINARY)
    whole = Box(*cv2.boundingRect(mask))
    if not whole.w:
        raise UnusableImageError("black", "is all black: there is no cell on it")
    if max(whole.w, whole.h) ** 2 > MAX_PIXELS:
        raise UnusableImageError(
            "too-large", f"has a cell of {whole.w} × {whole.h} pixels: crop the image to one cell"
        )
    # Outlines are looked for where there can be any: it takes half as long.
    inside = mask[whole.y : whole.y + whole.h, whole.x : whole.x + whole.w]
    at = (whole.x, whole.y)
    outlines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=at)
    height, width = mask.shape
    touches = (
        whole.x == 0 or whole.y == 0 or whole.x + whole.w == width or whole.y + whole.h == height
    )
    box = whole if contour == "union" else Box(*cv2.boundingRect(outlines[0]))
    return Located(box, len(outlines), touches)


def square_crop(pixels: Pixels, box: Box) -> Pixels:
    """Cut ``box`` out of an RGB image and pad it with black to a square (paper, Section 3.1).

    The side is the box's longer one; if the padding is odd, the extra row or column is below or to
    the right, as in the paper's experiments.
    """
    side = max(box.w, box.h)
    top, left = (side - box.h) // 2, (side - box.w) // 2
    square = np.zeros((side, side, 3), np.uint8)
    cut = pixels[box.y : box.y + box.h, box.x : box.x + box.w]
    square[top : top + box.h, left : left + box.w] = cut
    return square


def fixed_field(pixels: Pixels, box: Box) -> Pixels:
    """Cut the field around the box's centre, black beyond the box: absolute size survives."""
    square = np.zeros((FIELD, FIELD, 3), np.uint8)
    left = box.x + box.w // 2 - FIELD // 2
    top = box.y + box.h // 2 - FIELD // 2
    x0, x1 = max(box.x, left), min(box.x + box.w, left + FIELD)
    y0, y1 = max(box.y, top), min(box.y + box.h, top + FIELD)
    square[y0 - top : y1 - top, x0 - left : x1 - left] = pixels[y0:y1, x0:x1]
    return square


def is_beyond_field(box: Box, scale: Scale) -> bool:
    """Return whether ``keep`` cuts something off the cell."""
    return scale == "keep" and max(box.w, box.h) > FIELD


def clahe(pixels: Pixels) -> Pixels:
    """Equalise the contrast of an RGB image on the Y of YUV (paper, Section 3.1, Figure 3).

    Clip limit 2.0, 8 × 8 tiles, as the paper's authors ran it.
    """
    yuv = cv2.cvtColor(pixels, cv2.COLOR_RGB2YUV)
    equalise = cv2.createCLAHE(clipLimit=CLAHE_CLIP, tileGridSize=CLAHE_TILES)
    yuv[:, :, 0] = equalise.apply(np.ascontiguousarray(yuv[:, :, 0]))
    return cv2.cvtColor(yuv, cv2.COLOR_YUV2RGB)  # type: ignore[return-value]


def resize(square: Pixels, size: int) -> Pixels:
    """Resize a square to ``size``: by area if it shrinks, so that chromatin does not alias."""
    if square.shape[0] == size:
        return square
    if square.shape[0] < size:
        return cv2.resize(square, (size, size), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]
    if square.size > _LARGE:  # its floats would take a gigabyte
        return cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]
    if square.shape[0] % size == 0:  # whole blocks have a way of their own, and round halves up
        return cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]
    # OpenCV adds areas up as floats anyway; given floats it does so a quarter faster, to the bit.
    shrunk = cv2.resize(square.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    return cv2.convertScaleAbs(shrunk)  # type: ignore[return-value]


def prepared(
    pixels: Pixels,
    box: Box,
    size: int,
    scale: Scale,
    with_clahe: bool,
    stain: StainStatistics | None = None,
) -> Pixels:
    """Prepare one cell in the paper's order: crop, CLAHE, resize.

    ``scale``: ``crop`` stretches each cell's box to ``size`` pixels (the paper's way); ``keep``
    cuts the same field for every cell. Before all else the image gets the stain of a reference, if
    there is one, in its own pixels: resizing mixes a cell's rim with black. Both images are uint8,
    height × width × 3, RGB.

    Raises:
        UnusableImageError: if the stain of this cell cannot be normalized so.
    """
    if stain is not None:
        try:
            pixels = normalize_pixels(pixels, stain).pixels
        except StainError as error:
            raise UnusableImageError("stain", str(error)) from error
    square = square_crop(pixels, box) if scale == "crop" else fixed_field(pixels, box)
    return resize(clahe(square) if with_clahe else square, size)
