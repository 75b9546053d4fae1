"""Draw one synthetic cell: a stained nucleus with a little cytoplasm, on black.

The light that a stain lets through falls exponentially with its amount (Beer and Lambert's law), so
a cell is drawn as a map of stain density and turned into colour at the end. The differences between
the classes are those that the FAB classification and haematology textbooks name for lymphoblasts
against mature lymphocytes: a larger nucleus, finer and paler chromatin, nucleoli, an indented
outline and scant cytoplasm. Each of them overlaps between the classes. The numbers were set by eye
and by the summary statistics of real cells; they are not measurements.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Mask = NDArray[np.uint8]
Point = NDArray[np.float64]
"""x and y in pixels, shape (2,)."""
Radii = NDArray[np.float64]
"""An outline: the distance from the centre at each of ``ANGLES``, shape (320,)."""

ANGLES = np.linspace(0, 2 * np.pi, 320, endpoint=False)
SIDE = 450
"""Height and width of an image in pixels, as in C-NMC."""

# Blue, green, red, as OpenCV has it: the light of glass without stain, then optical densities per
# unit of stain.
LIGHT = np.array([200, 190, 200], np.float32)
_NUCLEUS = np.array([0.91, 1.9, 1.07], np.float32)
_CYTOPLASM = np.array([0.68, 1.2, 1.04], np.float32)
_DEBRIS = np.array([0.8, 1.2, 0.82], np.float32)
_DARKEST = 4  # inside a cell nothing is black, so that a threshold finds the whole cell


def outline(roughness: float, cleft: float, rng: np.random.Generator) -> Radii:
    """Return a nucleus's outline of mean radius 1; ``cleft``: the probability of an indentation."""
    elongation = abs(rng.normal(0, 0.05)) + 0.01
    radii = 1 + elongation * np.cos(2 * (ANGLES - rng.uniform(0, np.pi)))
    orders = np.arange(3, 22)[:, None]
    phases = rng.uniform(0, 2 * np.pi, orders.shape)
    amplitudes = rng.normal(0, 1, orders.shape) * (3 / orders) ** 1.3
    radii += roughness * (amplitudes * np.cos(orders * ANGLES + phases)).sum(0)
    if rng.random() < cleft:
        radii -= rng.uniform(0.06, 0.3) * _bump(rng, rng.uniform(0.12, 0.45))
    return np.clip(radii, 0.4, 1.35)


def snags(rng: np.random.Generator) -> Radii:
    """Return the small bites and spurs that segmentation leaves on an outline."""
    snags = np.zeros_like(ANGLES)
    for _ in range(rng.poisson(0.7)):
        height = rng.uniform(0.03, 0.1) * rng.choice([-1, 1])
        snags += height * _bump(rng, rng.uniform(0.03, 0.08))
    return snags


def _bump(rng: np.random.Generator, width: float) -> Radii:
    """Return a bump of height 1 at a random angle; ``width`` is in radians."""
    distance = np.angle(np.exp(1j * (ANGLES - rng.uniform(0, 2 * np.pi))))
    return np.asarray(np.exp(-0.5 * (distance / width) ** 2))


def filled(radii: Radii, centre: Point, size: int) -> Mask:
    """Return a square mask of what lies inside an outline, cut off at the mask's border."""
    directions = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
    corners = np.rint((centre + radii[:, None] * directions) * 16).astype(np.int32)
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [corners], 1.0, shift=4)
    return mask


def debris(radii: Radii, centre: Point, cell: Mask, rng: np.random.Generator) -> Mask:
    """Return a mask of the fragments beside the cell: none in most images, apart from it."""
    mask = np.zeros_like(cell)
    if rng.random() >= 0.07:
        return mask
    for _ in range(rng.integers(1, 3)):
        own = rng.uniform(3, 11)
        angle = rng.uniform(0, 2 * np.pi)
        away = radii.max() + own + rng.uniform(4, 25)
        place = centre + away * np.array([np.cos(angle), np.sin(angle)])
        mask |= filled(own * outline(0.09, 0.3, rng), place, len(cell))
    around = np.asarray(cv2.dilate(cell, np.ones((5, 5), np.uint8)), np.uint8)
    return np.where(around > 0, 0, mask).astype(np.uint8)


@dataclass(frozen=True)
class Morphology:
    """What is typical of a class; a cell varies around it."""

    radius: float
    """Median radius in pixels."""
    density: float
    """Median amount of stain in the nucleus, 1 being typical of both classes."""
    clumping: float
    """Relative spread of the stain from place to place (clumped chromatin has a large one)."""
    grain: float
    """Scale of the chromatin's pattern in pixels."""
    nucleoli: float
    """Mean number of visible nucleoli (Poisson, at most 3 are drawn)."""
    roughness: float
    """Spread of the outline's deviations from an ellipse, as a share of the radius."""
    cleft: float
    """Probability of an indentation."""
    cytoplasm: float
    """Median width of the cytoplasm, as a share of the radius."""


MORPHOLOGY = {
    "all": Morphology(106, 0.955, 0.046, 7.0, 1.3, 0.019, 0.32, 0.015),
    "hem": Morphology(89, 1.045, 0.061, 10.0, 0.35, 0.012, 0.10, 0.032),
}


@dataclass(frozen=True)
class Subject:
    """What the cells of one subject share whatever their class: the slide, stain and microscope."""

    size: float
    hue: Array
    density: float
    light: Array
    blur: float
    clumping: float
    grain: float
    roughness: float


def draw_subject(rng: np.random.Generator) -> Subject:
    """Draw a subject's effects; all but ``blur`` (pixels) are factors around 1."""
    return Subject(
        size=_spread(rng, 0.05),
        hue=np.exp(rng.normal(0, 0.036, 3)).astype(np.float32),
        density=_spread(rng, 0.05),
        light=np.exp(rng.normal(0, 0.036) + rng.normal(0, 0.018, 3)).astype(np.float32),
        blur=rng.uniform(1.0, 2.2),
        clumping=_spread(rng, 0.18),
        grain=_spread(rng, 0.12),
        roughness=_spread(rng, 0.15),
    )


@dataclass(frozen=True)
class DrawnCell:
    """A cell, and what it is made of.

    Attributes:
        image: as ``draw_cell`` returns it.
        cell: what belongs to the cell, 1 or 0, (450, 450); debris does not.
        nucleus: what of that belongs to the nucleus.
    """

    image: Mask
    cell: Mask
    nucleus: Mask


def draw_cell(label: str, subject: Subject, rng: np.random.Generator) -> Mask:
    """Draw one cell.

    Args:
        label: ``"all"`` or ``"hem"``.
        subject: what it shares with the subject's other cells.
        rng: where the cell's own variation comes from; the image depends on nothing else.

    Returns:
        Image of shape (450, 450, 3), blue-green-red, exactly 0 outside the cell and its debris and
        at least 4 inside.
    """
    return draw_whole_cell(label, subject, rng, _centre).image


def draw_whole_cell(
    label: str,
    subject: Subject,
    rng: np.random.Generator,
    centre_of: Callable[[float, np.random.Generator], Point] | None = None,
) -> DrawnCell:
    """Draw one cell, and say what of it is cell and what nucleus.

    Args:
        centre_of: draws x and y of its centre, given its radius; by default the image's centre.
    """
    typical = MORPHOLOGY[label]
    radius = float(np.clip(typical.radius * subject.size * _spread(rng, 0.13), 48, 160))
    centre = centre_of(radius, rng) if centre_of else np.full(2, SIDE / 2)
    roughness = typical.roughness * subject.roughness * _spread(rng, 0.4)
    nucleus = outline(roughness, typical.cleft, rng)
    width = typical.cytoplasm * _spread(rng, 0.5)
    cell = nucleus + width * (1 + 0.8 * np.cos(ANGLES - rng.uniform(0, 2 * np.pi)))
    cell = cell + snags(rng)
    within = filled(cell * radius, centre, SIDE)
    fragments = debris(cell * radius, centre, within, rng)
    seen = within | fragments
    left, top, wide, high = cv2.boundingRect(seen)
    # Half the resolution is enough for a stain pattern that the optics have blurred anyway.
    size = (max(wide, high) + 9) // 2
    here = (centre - (left, top)) / 2
    inside = filled(nucleus * radius / 2, here, size)
    colours = _colours(typical, subject, inside, here, radius / 2, rng)
    patch = cv2.resize(colours, (2 * size, 2 * size), interpolation=cv2.INTER_CUBIC)[:high, :wide]
    area = (slice(top, top + high), slice(left, left + wide))
    shade = subject.light * LIGHT * np.exp(-_DEBRIS * subject.hue * rng.uniform(0.7, 1.3))
    patch[fragments[area] > 0] = shade
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[area] = cv2.copyTo(np.maximum(cv2.convertScaleAbs(patch), _DARKEST), seen[area])
    return DrawnCell(image, within, filled(nucleus * radius, centre, SIDE) & within)


def _spread(rng: np.random.Generator, sigma: float) -> float:
    """Return a log-normal factor with median 1."""
    return float(np.exp(rng.normal(0, sigma)))


def _centre(radius: float, rng: np.random.Generator) -> Point:
    """Return x and y of the cell's centre: near the middle or, one time in 200, at the border."""
    centre = SIDE / 2 + rng.normal(0, 5, 2)
    if rng.random() < 0.005:
        beyond = radius * rng.uniform(0.5, 0.9)
        centre[rng.integers(2)] = beyond if rng.random() < 0.5 else SIDE - beyond
    return centre


def _colours(
    typical: Morphology,
    subject: Subject,
    inside: Mask,
    centre: Point,
    radius: float,
    rng: np.random.Generator,
) -> Array:
    """Return the colour of every pixel, blue-green-red, shape (size, size, 3)."""
    size = len(inside)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    edge = np.exp(depth * (-1 / (rng.uniform(0.08, 0.2) * radius)))
    stain = _chromatin(typical, subject, size, radius, rng)
    stain += rng.uniform(0.04, 0.16) * edge - _nucleoli(typical, size, centre, radius, rng)
    # Thin chromatin lets more red through, a nucleus's edge is bluer, and the hue drifts.
    warmth = 0.35 * (1 - stain) - 0.06 * edge + 0.025 * _pattern(size, radius / 4, rng)
    tint = np.stack([1 + 0.4 * warmth, np.ones_like(warmth), 1 - warmth], axis=-1)
    density = typical.density * subject.density * _spread(rng, 0.07)
    dense = (density * stain)[..., None] * tint * (_NUCLEUS * subject.hue)
    plasma = rng.uniform(0.9, 1.15) + 0.06 * _pattern(size, 4, rng)
    share = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 1.2)[..., None]
    optical = share * dense + (1 - share) * plasma[..., None] * (_CYTOPLASM * subject.hue)
    image = np.exp(-optical) * (subject.light * LIGHT * np.float32(_spread(rng, 0.02)))
    image = cv2.GaussianBlur(image, (0, 0), subject.blur * _spread(rng, 0.15) / 2)
    noise = rng.standard_normal((size, size, 1), np.float32)
    return np.asarray(image + 0.6 * noise, np.float32)


def _chromatin(
    typical: Morphology, subject: Subject, size: int, radius: float, rng: np.random.Generator
) -> Array:
    """Return the stain in the chromatin, 1 on average: clumps, fine grain, uneven thickness."""
    clumping = min(typical.clumping * subject.clumping * _spread(rng, 0.3), 0.1)
    grain = typical.grain * subject.grain * _spread(rng, 0.12) / 2
    clumps = _pattern(size, grain, rng)
    # Pale gaps between the clumps stand out more than the clumps, hence the skew.
    chromatin = 1 + clumping * (clumps - 0.2 * (clumps**2 - 1))
    fine, uneven = _pattern(size, 1.5, rng), _pattern(size, radius / 3, rng)
    return np.asarray(chromatin + 0.012 * fine + 0.05 * uneven, np.float32)


def _pattern(size: int, scale: float, rng: np.random.Generator) -> Array:
    """Return a random field of mean 0 and spread about 1; ``scale`` is in its own pixels."""
    knots = int(np.ceil(size / scale)) + 2
    drawn = max(size, round(knots * scale))
    field = rng.standard_normal((knots, knots), np.float32)
    smooth = cv2.resize(field, (drawn, drawn), interpolation=cv2.INTER_CUBIC)
    # Cut out somewhere, so that the grid of the knots is not in the same place in every cell.
    top, left = rng.integers(drawn - size + 1, size=2)
    return np.asarray(1.3 * smooth[top : top + size, left : left + size], np.float32)


def _nucleoli(
    typical: Morphology, size: int, centre: Point, radius: float, rng: np.random.Generator
) -> Array:
    """Return how much stain the nucleoli take away, as a share: pale spots with a soft edge."""
    y, x = np.ogrid[:size, :size]
    paler = np.zeros((size, size), np.float32)
    for _ in range(min(rng.poisson(typical.nucleoli), 3)):
        angle, turn = rng.uniform(0, 2 * np.pi, 2)
        away = radius * 0.7 * np.sqrt(rng.random())
        dx = (x - centre[0] - away * np.cos(angle)).astype(np.float32)
        dy = (y - centre[1] - away * np.sin(angle)).astype(np.float32)
        along, across = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
        width = radius * rng.uniform(0.07, 0.13)
        square = (along / width) ** 2 + (across / (width * rng.uniform(0.6, 1))) ** 2
        paler += rng.uniform(0.08, 0.24) * np.exp(-0.5 * square**1.5)
    return paler
