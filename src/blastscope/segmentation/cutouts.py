"""Cut a cell out of its field in the form of C-NMC: 450 px, on black, at its scale."""

from __future__ import annotations

import cv2
import numpy as np

from blastscope.data.crop import Box, Pixels
from blastscope.segmentation.nuclei import Mask
from blastscope.segmentation.scale import C_NMC

FRAME = 450
"""The side of a cell image, in pixels."""
_PADDING = 3


def cut_out(rgb: Pixels, box: Box, mask: Mask, um_per_pixel: float) -> Pixels | None:
    """Return the image of a cell, (FRAME, FRAME, 3), or None if it is larger than the frame.

    Args:
        rgb: the field, uint8, (H, W, 3).
        box: of the cell.
        mask: of the cell in its box.
        um_per_pixel: the field's scale.
    """
    factor = um_per_pixel / C_NMC
    height, width = round(box.h * factor), round(box.w * factor)
    if max(height, width) > FRAME or min(height, width) < 1:
        return None
    left, top = max(0, box.x - _PADDING), max(0, box.y - _PADDING)
    colours = rgb[top : box.y + box.h + _PADDING, left : box.x + box.w + _PADDING]
    whole = np.zeros(colours.shape[:2], np.float32)
    y, x = box.y - top, box.x - left
    whole[y : y + box.h, x : x + box.w] = mask
    size = (max(1, round(colours.shape[1] * factor)), max(1, round(colours.shape[0] * factor)))
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    larger = cv2.resize(np.ascontiguousarray(colours), size, interpolation=way)
    inside = cv2.resize(whole, size, interpolation=cv2.INTER_LINEAR) > 0.5
    if factor == 1:
        larger, inside = colours, whole > 0.5
    # A pixel of the cell is never black: black is what the cell is not.
    cell = np.where(inside[..., None], np.maximum(larger, 2), 0).astype(np.uint8)
    x, y, w, h = cv2.boundingRect(inside.astype(np.uint8))
    if max(w, h) > FRAME or not w:
        return None
    frame = np.zeros((FRAME, FRAME, 3), np.uint8)
    down, across = (FRAME - h) // 2, (FRAME - w) // 2
    frame[down : down + h, across : across + w] = cell[y : y + h, x : x + w]
    return frame
