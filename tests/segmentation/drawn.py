"""Fields drawn with exact truth: glass, red cells, white cells with a round nucleus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

UM = 0.1
"""Micrometres a pixel of a drawn field."""
GLASS, RED, PALE = (228, 224, 222), (206, 150, 142), (216, 178, 172)
CYTOPLASM, NUCLEUS = (188, 190, 222), (104, 66, 158)


@dataclass(frozen=True)
class White:
    """A white cell: its centre in pixels, the radii of cell and nucleus in micrometres."""

    x: float
    y: float
    radius: float = 6.0
    nucleus: float = 4.5


def disc(shape: Sequence[int], x: float, y: float, radius: float) -> np.ndarray:
    """Return a disc's mask; the radius in micrometres."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (columns - x) ** 2 + (rows - y) ** 2 <= (radius / UM) ** 2


def draw(
    shape: tuple[int, int], whites: Sequence[White] = (), reds: Sequence[tuple[float, float]] = ()
) -> np.ndarray:
    """Draw a field, uint8, (H, W, 3), with a little blur and noise."""
    field = np.full((*shape, 3), GLASS, np.float32)
    for x, y in reds:
        field[disc(shape, x, y, 3.75)] = RED
        field[disc(shape, x, y, 1.2)] = PALE
    for one in whites:
        field[disc(shape, one.x, one.y, one.radius)] = CYTOPLASM
    for one in whites:
        field[disc(shape, one.x, one.y, one.nucleus)] = NUCLEUS
    field = cv2.GaussianBlur(field, (0, 0), 1.2)
    noise = np.random.default_rng(1).normal(0, 3, field.shape)
    return np.clip(field + noise, 0, 255).astype(np.uint8)


def grid(count: int, step: float = 110, first: float = 60) -> list[tuple[float, float]]:
    """Return places of red cells that do not touch."""
    return [(first + step * (k % 5), first + step * (k // 5)) for k in range(count)]


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Return twice the intersection divided by the sum of two masks."""
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


def placed(cell, shape: Sequence[int], mask: np.ndarray | None = None) -> np.ndarray:
    """Return a found cell's mask in its field."""
    whole = np.zeros(tuple(shape[:2]), bool)
    box = cell.box
    whole[box.y : box.y + box.h, box.x : box.x + box.w] = cell.mask if mask is None else mask
    return whole
