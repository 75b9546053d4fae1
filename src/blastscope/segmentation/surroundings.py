"""What lies around the white cells of a picture: how dense glass is at most, how red red cells are.

A cell's outline is looked for between its nucleus and these two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from blastscope.segmentation.nuclei import UM, Mask, Nucleus
from blastscope.segmentation.optical_density import Floats

NOISE = 3.5
"""Standard deviations of the glass above its usual density up to which a pixel is glass."""
CLEAR = 0.03
"""The least distance from the glass's usual density at which a pixel is no longer glass."""
BLUR = 0.15
"""The standard deviation, in micrometres, by which densities are smoothed."""
AWAY = 3.0
"""Red cells are looked for further than this, in micrometres, from every nucleus."""
_FEW = 300


@dataclass(frozen=True)
class Surroundings:
    """Densities of a picture, smoothed, and what its glass and red cells are like.

    Attributes:
        density: (H, W, 3).
        glass: the sum of the three densities up to which a pixel is glass.
        redness: the density of red divided by that of green up to which a pixel that is not glass
            looks like a red cell; below zero if there are no red cells.
        nuclei: all nuclei of the picture, (H, W).
    """

    density: Floats
    glass: float
    redness: float
    nuclei: Mask

    def is_glass(self) -> Mask:
        """Return where glass is, (H, W)."""
        return np.asarray(self.density.sum(axis=2) < self.glass, bool)

    def is_red(self) -> Mask:
        """Return where pixels that are not glass look like red cells, (H, W)."""
        return np.asarray(ratio(self.density) < self.redness, bool)


def ratio(density: Floats) -> Floats:
    """Return the density of red divided by that of green."""
    return density[..., 0] / (density[..., 1] + 1e-3)


def measure_surroundings(density: Floats, nuclei: Sequence[Nucleus]) -> Surroundings:
    """Measure glass and red cells of a picture.

    Args:
        density: optical density, (H, W, 3), at ``nuclei.UM`` micrometres a pixel.
        nuclei: all that were found in it.
    """
    smooth = np.asarray(cv2.GaussianBlur(density, (0, 0), BLUR / UM), np.float32)
    total = smooth.sum(axis=2)
    mask = np.zeros(total.shape, bool)
    for one in nuclei:
        height, width = one.mask.shape
        mask[one.y : one.y + height, one.x : one.x + width] |= one.mask
    glass = _glass_limit(total)
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5) * UM > AWAY
    red = ratio(smooth)[(total > 2 * glass) & away]
    redness = float(np.quantile(red, 0.75)) if red.size >= _FEW else -1.0
    return Surroundings(smooth, glass, redness, mask)


def _glass_limit(total: Floats) -> float:
    """Return the density up to which a pixel is glass: the usual one and its noise.

    At most half of Otsu's threshold between light and dark, which alone calls pale cytoplasm glass.
    """
    levels = (np.clip(total, 0, 2) * 127.5).astype(np.uint8)
    otsu, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)
    most = otsu / 127.5 / 2
    low = total[total < most]
    if low.size < _FEW:
        return max(most, CLEAR)
    counts, edges = np.histogram(low, bins=60)
    usual = edges[np.convolve(counts, np.ones(5), "same").argmax()]
    below = low[low <= usual]
    noise = 1.48 * np.median(np.abs(below - usual)) if below.size > 20 else 0.02
    return float(max(CLEAR, min(most, max(usual, 0) + max(CLEAR, NOISE * noise))))
