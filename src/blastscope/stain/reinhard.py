"""Reinhard: give the pixels the reference's mean and standard deviation in CIELAB.

Reinhard et al., Color Transfer between Images, IEEE Computer Graphics and Applications
21(5):34-41, 2001. The colour space is CIELAB (sRGB, D65) instead of the authors' lαβ, as usual for
stains. It needs no stain vectors, and so is well-posed for a cell of one stain.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blastscope.stain.optical_density import WHITE, Floats, Mask, Pixels, sampled
from blastscope.stain.statistics import StainStatistics, as_numbers

LEAST_DEVIATION = 0.5
"""A channel that hardly varies is not stretched further than from this deviation."""


def to_lab(values: NDArray[Any]) -> NDArray[np.float32]:
    """Turn RGB of 0..255, (N, 3), into L* of 0..100, a* and b*."""
    rgb = np.ascontiguousarray(values, np.float32)[:, None] / np.float32(WHITE)
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB), np.float32)[:, 0]


def to_rgb(lab: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn L*, a*, b*, (N, 3), into RGB of 0..255; colours that RGB lacks are clipped."""
    rgb = cv2.cvtColor(np.ascontiguousarray(lab)[:, None], cv2.COLOR_LAB2RGB)
    return np.asarray(rgb[:, 0] * np.float32(WHITE), np.float32)


def measure(pixels: Pixels, mask: Mask, on_black: bool) -> StainStatistics:
    """Measure the mean and standard deviation of the pixels of a mask."""
    lab = to_lab(sampled(pixels, mask)).astype(np.float64)
    return StainStatistics(
        "reinhard", on_black, as_numbers(lab.mean(axis=0)), as_numbers(lab.std(axis=0))
    )


def match(values: Pixels, own: StainStatistics, reference: StainStatistics) -> Floats:
    """Return RGB (N, 3), 0..255, with the reference's mean and deviation."""
    wide, their_wide = np.maximum([own.deviation, reference.deviation], LEAST_DEVIATION)
    lab = (to_lab(values) - own.mean) * (their_wide / wide) + reference.mean
    return to_rgb(lab.astype(np.float32)).astype(np.float64)
