"""The light of an image: the colour of what is brightest, step 1 of GCTI-SN."""

from __future__ import annotations

import cv2
import numpy as np

from blastscope.stain.optical_density import WHITE, Floats, Mask, Pixels

WINDOW = 71
"""The side of the box filter in pixels."""
BRIGHTEST = 99
"""The percentile of brightness that is taken for background."""


def background_light(pixels: Pixels, mask: Mask) -> Floats:
    """Return red, green and blue of the brightest region of a mask, 0 to 255.

    In a field that is glass; in a cell on black it is the palest part of the cell. Brightness is a
    third of the root of the summed squares of the channels, after a median filter, averaged over a
    window, in whole grey levels; the pixels at the 99th percentile's level are the background.
    Averages leave out what the mask leaves out: black surroundings would darken every rim.
    """
    squares = np.zeros(mask.shape, np.float32)
    for channel in cv2.split(cv2.medianBlur(pixels, 3)):  # one after the other: fields are large
        squares += np.square(np.asarray(channel, np.float32) / np.float32(WHITE))
    bright, inside = np.sqrt(squares) / 3, mask.astype(np.float32)
    size = (WINDOW, WINDOW)
    total = cv2.boxFilter(bright * inside, -1, size, borderType=cv2.BORDER_REFLECT)
    share = cv2.boxFilter(inside, -1, size, borderType=cv2.BORDER_REFLECT)
    level = np.rint(total / np.maximum(share, 1e-6) * WHITE)
    inner = level[mask]
    inner = inner[inner > 0] if (inner > 0).any() else inner
    brightest = np.percentile(inner, BRIGHTEST, method="nearest")
    found = pixels[mask & (level == brightest)].mean(axis=0, dtype=np.float64)
    return np.asarray(np.maximum(found, 1.0))
