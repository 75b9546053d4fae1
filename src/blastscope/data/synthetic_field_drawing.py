"""Draw one synthetic field of a blood smear: white cells, red cells and platelets on glass.

Everything is drawn as optical density, which adds up where things overlap, and turned into light at
the end. White cells are those of :mod:`blastscope.data.synthetic_drawing`, at their own scale. The
colours of platelets, the vignette and the gradient of the stain were set by eye; they are not
measurements. Red cells absorb at least as much green as blue, as eosin makes them on real smears.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blastscope.data.synthetic_drawing import (
    LIGHT,
    SIDE,
    Array,
    DrawnCell,
    Mask,
    Point,
    Subject,
    outline,
)

WIDTH, HEIGHT = 1600, 1200
"""The size of a field in pixels."""
UM_PER_PIXEL = 0.066
"""Micrometres a pixel, so that a red cell of 7.5 µm is as wide as half of a C-NMC cell's box."""
RED_CELL = 7.5 / UM_PER_PIXEL
"""The median diameter of a red cell in pixels."""

Labels = NDArray[np.uint16]

# Blue, green, red, as OpenCV has it: the glass divided by the light behind cells, then optical
# densities.
_GLASS = 1.12
# Of real red cells the density of green divided by that of blue is .9 to 1.1 (13 of BCCD's fields)
# and 2.1 to 2.3 (9 of draaslan's).
_HAEMOGLOBIN = np.array([0.40, 0.46, 0.09], np.float32)
_PLATELET = np.array([0.30, 0.62, 0.42], np.float32)
_NOISE = 0.8


@dataclass(frozen=True)
class Illumination:
    """What the microscope and the stain do to a whole field.

    Attributes:
        vignette: how much darker the corners are than the middle, as a share.
        gradient: by which share of itself the stain grows from the middle to a side of the field.
        direction: the direction in which it grows, in radians.
    """

    vignette: float
    gradient: float
    direction: float


def draw_illumination(rng: np.random.Generator) -> Illumination:
    """Draw a vignette of up to a quarter and a gradient of up to 15 %."""
    return Illumination(rng.uniform(0, 0.25), rng.uniform(0, 0.15), rng.uniform(0, 2 * np.pi))


class Canvas:
    """A field that is being drawn: optical density, and the truth about white cells."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._density = np.zeros((HEIGHT, WIDTH, 3), np.float32)
        self._depth = np.zeros((HEIGHT, WIDTH), np.float32)
        self.cells: Labels = np.zeros((HEIGHT, WIDTH), np.uint16)
        self.nuclei: Labels = np.zeros((HEIGHT, WIDTH), np.uint16)

    def add_white(self, number: int, drawn: DrawnCell, centre: Point) -> None:
        """Add a white cell; a pixel of two cells belongs to the one it lies deeper in."""
        light = self._subject.light * LIGHT
        inside = cv2.GaussianBlur(drawn.cell.astype(np.float32), (0, 0), 1.0) * drawn.cell
        density = -np.log(np.maximum(drawn.image, 1) / light) * inside[..., None]
        here, there = _overlap(centre, SIDE)
        self._density[here] += np.maximum(density[there], 0)
        depth = np.asarray(cv2.distanceTransform(drawn.cell, cv2.DIST_L2, 3), np.float32)[there]
        deeper = depth > self._depth[here]
        self._depth[here] = np.maximum(depth, self._depth[here])
        self.cells[here][deeper] = number
        self.nuclei[here][deeper] = np.where(drawn.nucleus[there] > 0, number, 0)[deeper]

    def add(self, density: Array, centre: Point) -> None:
        """Add a square of optical density (side, side, 3) around a centre."""
        here, there = _overlap(centre, len(density))
        self._density[here] += density[there]

    def image(self, illumination: Illumination, rng: np.random.Generator) -> Mask:
        """Return the field as a camera sees it: uint8, blue-green-red."""
        y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j].astype(np.float32)
        light = 1 - np.float32(illumination.vignette) * (x**2 + y**2) / 2
        stain = 1 + np.float32(illumination.gradient) * (
            x * np.float32(np.cos(illumination.direction))
            + y * np.float32(np.sin(illumination.direction))
        )
        glass = np.minimum(self._subject.light * LIGHT * _GLASS, 250).astype(np.float32)
        seen = glass * light[..., None] * np.exp(-self._density * stain[..., None])
        seen += np.float32(_NOISE) * rng.standard_normal((HEIGHT, WIDTH, 1), np.float32)
        return np.asarray(np.clip(np.rint(seen), 0, 255), np.uint8)


def _overlap(centre: Point, side: int) -> tuple[Any, Any]:
    """Return where a square around a centre lies in the field, and what of the square that is."""
    left, top = np.rint(centre - side / 2).astype(int)
    x0, x1 = max(left, 0), min(left + side, WIDTH)
    y0, y1 = max(top, 0), min(top + side, HEIGHT)
    x1, y1 = max(x0, x1), max(y0, y1)
    here = (slice(y0, y1), slice(x0, x1))
    return here, (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))


def red_cell(radius: float, subject: Subject, rng: np.random.Generator) -> Array:
    """Return the optical density of a red cell: a disc, paler in the middle."""
    side = 2 * int(np.ceil(1.3 * radius)) + 1
    y, x = np.mgrid[:side, :side].astype(np.float32) - side // 2
    turn, long = rng.uniform(0, np.pi), 1 + abs(rng.normal(0, 0.05))
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    away = np.hypot(along / long, across * long) / radius
    thick = (0.5 + rng.uniform(0.4, 0.7) * away**2) * (away < 1)
    thick = cv2.GaussianBlur(thick.astype(np.float32), (0, 0), 1.5 * subject.blur)
    amount = np.float32(rng.uniform(0.85, 1.15))
    return np.asarray(amount * thick[..., None] * _HAEMOGLOBIN * subject.hue, np.float32)


def platelet(radius: float, subject: Subject, rng: np.random.Generator) -> Array:
    """Return the optical density of a platelet: a small granular disc of uneven outline."""
    side = 2 * int(np.ceil(1.6 * radius)) + 1
    shape = np.zeros((side, side), np.uint8)
    directions = np.linspace(0, 2 * np.pi, 320, endpoint=False)
    rim = (
        radius
        * outline(0.06, 0.2, rng)[:, None]
        * np.stack([np.cos(directions), np.sin(directions)], axis=1)
    )
    cv2.fillPoly(shape, [np.rint(rim + side // 2).astype(np.int32)], 1.0)
    grain = cv2.GaussianBlur(rng.standard_normal((side, side), np.float32), (0, 0), radius / 6)
    amount = (0.7 + 0.25 * grain / max(float(grain.std()), 1e-6)).clip(0.2, 1.4) * shape
    soft = np.asarray(cv2.GaussianBlur(amount.astype(np.float32), (0, 0), subject.blur))
    return np.asarray(soft[..., None] * _PLATELET * subject.hue, np.float32)
