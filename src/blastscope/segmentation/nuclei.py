"""Nuclei of white cells: found by optical density, touching ones separated.

A nucleus takes away red light, a red cell blue light, so that the density of red minus that of
blue tells them apart in Romanowsky stains. Touching nuclei are separated at the necks of their
distance transform by a watershed; this is what Duggal et al. (2016) did with a network. The
lobes of one nucleus are thinner than a nucleus and stay together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np

from blastscope.segmentation.optical_density import Floats

Mask: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]
Labels: TypeAlias = np.ndarray[Any, np.dtype[np.int32]]

UM = 0.15
"""Micrometres a pixel of the picture in which cells are looked for. At twice the size nothing more
was found, in four times the time."""
SMOOTH = 0.3
"""The standard deviation, in micrometres, by which densities are smoothed."""
LEAST_DIFFERENCE = 0.15
"""The least density of red minus blue of a nucleus: Otsu's threshold in a field without white
cells would part red cells from glass."""
DENSE = 0.6
"""A density of red from which on, with ``LEAST_DIFFERENCE``, a pixel is a nucleus whatever its
blue: red cells have .5 at most."""
BLACK = 2.2
"""A density of all three colours above which a pixel is black and not stain: a scale bar, an arrow,
the rim of a stitched picture. The darkest pixels of 492 fields have 1.6."""
SPECK = 0.3
"""The radius, in micrometres, of what is too thin for a piece of a nucleus."""
LOBES = 1.8
"""Half the gap, in micrometres, across which lobes belong to one nucleus."""
LEAST_AREA = 11.0
"""The least area of a nucleus, in square micrometres; platelets have less."""
LEAST_RADIUS = 3.0
"""The least inscribed radius, in micrometres, of a nucleus that is separated from another."""
NECK = 0.92
"""Nuclei are separated if their neck is at most this share of the thinner one's radius."""
LEAST_PART = 30.0
"""The least area, in square micrometres, of a nucleus that is separated from another."""
NEAR = 0.45
"""How far, in micrometres, a nucleus may reach beyond where it was found."""
_LEVELS = 40
_MOST = 1.5


def disc(micrometres: float) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return a disc of a radius, for morphology; at least 3 × 3."""
    radius = max(1, round(micrometres / UM))
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))  # type: ignore[return-value]


@dataclass(frozen=True)
class Nucleus:
    """A nucleus: where it is in the picture, in pixels of ``UM``, and its mask there."""

    x: int
    y: int
    mask: Mask
    separated: bool = False  # whether it was separated from another

    @property
    def area(self) -> float:
        """In square micrometres."""
        return float(self.mask.sum()) * UM * UM

    @property
    def centre(self) -> tuple[float, float]:
        """The centre of its mask, x and y."""
        rows, columns = np.nonzero(self.mask)
        return self.x + float(columns.mean()), self.y + float(rows.mean())

    def placed(self, shape: tuple[int, int]) -> Mask:
        """Return its mask in a picture of ``shape``."""
        whole = np.zeros(shape, bool)
        height, width = self.mask.shape
        whole[self.y : self.y + height, self.x : self.x + width] = self.mask
        return whole


def nuclear_density(density: Floats) -> Floats:
    """Return the density of red minus that of blue, or of red minus ``DENSE``; smoothed, (H, W).

    The second finds nuclei of stains in which red and blue are nearly alike, as in the normalized
    colours of C-NMC; no red cell takes away so much red light.
    """
    red, blue = density[..., 0], density[..., 2]
    difference = np.where(_black(density), 0, red - np.minimum(blue, DENSE))
    return cv2.GaussianBlur(difference, (0, 0), SMOOTH / UM)  # type: ignore[return-value]


def _black(density: Floats) -> Mask:
    """Return what is black in a picture and its blurred rim, (H, W); single dots are left out.

    Left in, a scale bar was a white cell, and moved the threshold of the whole picture.
    """
    dark = (density.min(axis=2) > BLACK).astype(np.uint8)
    if not dark.any():
        return np.zeros(dark.shape, np.bool_)
    block = cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    found: Mask = cv2.dilate(block, disc(2 * SMOOTH)).astype(bool)
    return found


def nuclear_threshold(difference: Floats) -> float:
    """Return Otsu's threshold of red minus blue, at least ``LEAST_DIFFERENCE``."""
    levels = (np.clip(difference, 0, _MOST) * (255 / _MOST)).astype(np.uint8)
    found, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)
    return max(found / 255 * _MOST, LEAST_DIFFERENCE)


def find_nuclei(density: Floats) -> list[Nucleus]:
    """Find the nuclei in a picture.

    Args:
        density: optical density, (H, W, 3), at ``UM`` micrometres a pixel.
    """
    difference = nuclear_density(density)
    dark = (difference > nuclear_threshold(difference)).astype(np.uint8)
    dark = cv2.morphologyEx(dark, cv2.MORPH_OPEN, disc(SPECK))  # type: ignore[assignment]
    joined = cv2.morphologyEx(dark, cv2.MORPH_CLOSE, disc(LOBES))
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(joined)
    found = []
    for k in range(1, count):
        x, y, width, height = boxes[k, :4]
        inside = np.s_[y : y + height, x : x + width]
        for mask, separated in _pieces(labels[inside] == k, dark[inside] > 0):
            if mask.sum() * UM * UM >= LEAST_AREA:
                found.append(_tight(x, y, mask, separated))
    return found


def _pieces(together: Mask, dark: Mask) -> list[tuple[Mask, bool]]:
    """Separate what is together with gaps closed, then what is dark: closing fills necks, too."""
    closed = _separated(together)
    pieces = []
    for region in closed:
        inner = _separated(region & dark, region)
        pieces += [(piece & dark, len(closed) + len(inner) > 2) for piece in inner]
    return pieces


def _tight(x: int, y: int, mask: Mask, separated: bool) -> Nucleus:
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    cut = mask[top : top + height, left : left + width]
    return Nucleus(int(x + left), int(y + top), cut, separated)


def _separated(mask: Mask, whole: Mask | None = None) -> list[Mask]:
    """Separate a mask at its necks, and ``whole`` with it; pieces that do not touch stay together.

    Args:
        mask: whose necks count.
        whole: what is dealt out to the pieces; the mask itself without it.
    """
    whole = mask if whole is None else whole
    if mask.sum() * UM * UM < 2 * np.pi * LEAST_RADIUS**2:
        return [whole]
    distance = cv2.distanceTransform(fill_holes(np.pad(mask, 1)).astype(np.uint8), cv2.DIST_L2, 5)
    seeds = _seeds(np.asarray(distance, np.float32))
    if len(seeds) < 2:
        return [whole]
    labels = _basins(seeds, np.pad(whole, 1))[1:-1, 1:-1]
    pieces = [labels == k + 1 for k in range(len(seeds))]
    if min(float(piece.sum()) for piece in pieces) * UM * UM < LEAST_PART:
        return [whole]
    return pieces


def _seeds(distance: Floats) -> list[Mask]:
    """Return a seed for each nucleus of a region: what is above the neck that separates it.

    From the highest level of the distance transform downwards, hills grow and meet. If two meet
    at a level above ``NECK`` of the lower one's height, they are one; else they stay apart.
    """
    least = LEAST_RADIUS / UM
    hills: list[tuple[float, Mask]] = []  # height, and the last region that was its own
    for level in np.linspace(distance.max() * 0.999, least * 0.4, _LEVELS):
        count, labels = cv2.connectedComponents((distance > level).astype(np.uint8))
        standing: list[tuple[float, Mask]] = []
        for k in range(1, count):
            region = labels == k
            inside = [hill for hill in hills if (hill[1] & region).any()]
            high = [hill for hill in inside if level <= NECK * hill[0] and hill[0] >= least]
            if len(high) > 1:
                standing += high
            else:
                standing.append((float(distance[region].max()), region))
        hills = standing
    return [region for height, region in hills if height >= least]


def _basins(seeds: list[Mask], whole: Mask) -> Labels:
    """Label each pixel of ``whole`` by the nearest seed.

    The seeds end at the level of the neck between them, so that the line of the watershed runs
    through it. (``cv2.watershed`` and SciPy's flood by the difference of neighbours, which leaks.)
    """
    free = np.ones(whole.shape, np.uint8)
    for seed in seeds:
        free[seed] = 0
    _, nearest = cv2.distanceTransformWithLabels(
        free, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.zeros(int(nearest.max()) + 1, np.int32)
    for k, seed in enumerate(seeds):
        table[nearest[seed]] = k + 1
    return np.where(whole, table[nearest], 0)


def refined(density: Floats, core: Mask, cell: Mask) -> Mask:
    """Return the nucleus of an outlined cell, by a threshold of its own.

    Half of the blue is enough here, where no red cell is near: of 50 cells with a drawn nucleus the
    median Dice rose from .92 to .95.

    Args:
        density: smoothed, (H, W, 3), of the cell's box.
        core: the nucleus as it was found, (H, W).
        cell: the whole cell, (H, W).
    """
    difference = density[..., 0] - density[..., 2] / 2
    inside = cell | cv2.dilate(cell.astype(np.uint8), disc(0.6)).astype(bool)
    levels = (np.clip(difference, 0, 2) * 127.5).astype(np.uint8)
    threshold, _ = cv2.threshold(levels[inside][None], 0, 255, cv2.THRESH_OTSU)
    near = cv2.dilate(core.astype(np.uint8), disc(NEAR)).astype(bool)
    found = (levels > threshold) & near & cell
    return found if found.sum() >= core.sum() / 2 else core


def fill_holes(mask: Mask) -> Mask:
    """Return a mask without holes."""
    flooded = np.pad(mask.astype(np.uint8), 1)
    cv2.floodFill(
        flooded, np.zeros((flooded.shape[0] + 2, flooded.shape[1] + 2), np.uint8), (0, 0), 2
    )
    return (flooded != 2)[1:-1, 1:-1]  # type: ignore[no-any-return]
