"""From an image and a box to the square that a network sees."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import cv2
import numpy as np

from blastscope.cells.locate import Box

Pixels: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
Scale = Literal["crop", "keep"]

FIELD = 320
"""Side of the field that ``keep`` cuts, in source pixels. It holds 98 of 100 C-NMC cells
whole and the rest but for their rims; a wider one would only spend pixels on black."""
BEYOND = "beyond-field"
"""How a cell is flagged that the field does not hold whole."""
CLAHE_CLIP = 2.0
CLAHE_TILES = (8, 8)


def square_crop(pixels: Pixels, box: Box) -> Pixels:
    """Cut ``box`` out of an RGB image and pad it with black to a square (paper, Section 3.1).

    The side is the box's longer one; where the padding is odd, the extra row or column is below
    or to the right, as in the paper's experiments.
    """
    side = max(box.w, box.h)
    top, left = (side - box.h) // 2, (side - box.w) // 2
    square = np.zeros((side, side, 3), np.uint8)
    cut = pixels[box.y : box.y + box.h, box.x : box.x + box.w]
    square[top : top + box.h, left : left + box.w] = cut
    return square


def fixed_field(pixels: Pixels, box: Box, field: int = FIELD) -> Pixels:
    """Cut a ``field``-pixel square around the box's centre, so that absolute size survives.

    Beyond the image, and beyond the box, it is black.
    """
    square = np.zeros((field, field, 3), np.uint8)
    left = box.x + box.w // 2 - field // 2
    top = box.y + box.h // 2 - field // 2
    x0, x1 = max(box.x, left), min(box.x + box.w, left + field)
    y0, y1 = max(box.y, top), min(box.y + box.h, top + field)
    square[y0 - top : y1 - top, x0 - left : x1 - left] = pixels[y0:y1, x0:x1]
    return square


def is_beyond_field(box: Box, scale: Scale) -> bool:
    """Say whether ``keep`` cuts something off the cell."""
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
    """Resize a square to ``size``: by area where it shrinks, so that chromatin does not alias."""
    if square.shape[0] == size:
        return square
    if square.shape[0] < size:
        return cv2.resize(square, (size, size), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]
    if square.shape[0] % size == 0:  # whole blocks have a way of their own, and round halves up
        return cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]
    # OpenCV adds areas up as floats anyway; given floats it does so a quarter faster, to the bit.
    shrunk = cv2.resize(square.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    return cv2.convertScaleAbs(shrunk)  # type: ignore[return-value]


def prepared(pixels: Pixels, box: Box, size: int, scale: Scale, with_clahe: bool) -> Pixels:
    """Do the whole preparation of one cell, in the paper's order: crop, CLAHE, resize.

    Args:
        pixels: uint8, height × width × 3, RGB.
        box: where the cell is.
        size: the side of the result.
        scale: ``crop`` stretches each cell's box to the size (the paper's way); ``keep`` cuts
            the same field for every cell.
        with_clahe: whether to equalise the contrast.

    Returns:
        uint8, size × size × 3, RGB.
    """
    square = square_crop(pixels, box) if scale == "crop" else fixed_field(pixels, box)
    return resize(clahe(square) if with_clahe else square, size)
