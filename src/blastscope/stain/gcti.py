"""GCTI-SN: geometry-inspired, chemical- and tissue-invariant stain normalization, step by step.

Gupta et al., GCTI-SN: Geometry-inspired chemical and tissue invariant stain normalization of
microscopic medical images, Medical Image Analysis 65:101788, 2020: the normalization that the
C-NMC images went through. Written from a description of its steps:

1. light: the channels are scaled so that the background has the reference's colour;
2. density: natural logarithm, no white level;
3. basis: the singular vectors, not centred, of the stained pixels' densities;
4. wedge: two stains at the .1 and 99.9 percentiles of the angle in the plane of the first two
   vectors; the third vector, at right angles, is the residual;
5. match: the order of the two stains, and the sign of the residual, that lie nearest to the
   reference's;
6. align: the plane and its first stain are turned onto the reference's, and the angle of each pixel
   from the first stain is stretched by the ratio of the two wedges;
7. quantity: the 99.9 percentile of each stain's amount becomes the reference's;
8. back to light, clipped.

Two things differ from the authors' program. The residual's percentile is near 0, so a division by
it explodes: only the two stains are scaled in step 7, and only they may be exchanged in step 5. And
the angles of step 4 are those of the stained pixels: that of clear glass is noise.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from blastscope.stain.macenko import amounts
from blastscope.stain.optical_density import (
    STAINED,
    WHITE,
    Floats,
    Mask,
    Pixels,
    optical_density,
    sampled,
    transmitted,
)
from blastscope.stain.statistics import StainError, StainStatistics, as_numbers

ANGLES = (0.1, 99.9)
STRONGEST = 99.9
WINDOW = 71
"""The side, in pixels, of the box filter that finds the background."""
BRIGHTEST = 99
"""The percentile of brightness that is taken for background."""
_LEAST_PIXELS = 100
_LEAST_AMOUNT = 1e-3


def measure(
    pixels: Pixels, mask: Mask, on_black: bool, to_light: tuple[float, ...] = ()
) -> StainStatistics:
    """Measure light, stains and amounts in the pixels of a mask (steps 1 to 4).

    Args:
        to_light: the background that the channels are scaled to first; their own if empty.

    Raises:
        StainError: if there are too few stained pixels, or a stain is absent.
    """
    light = background_light(pixels, mask)
    density = _density(sampled(pixels, mask), light, to_light or light)
    stained = density[np.linalg.norm(density, axis=1) > STAINED]
    if len(stained) < _LEAST_PIXELS:
        raise StainError(f"has {len(stained)} stained pixels, and gcti needs {_LEAST_PIXELS}")
    vectors = _stains(stained)
    return StainStatistics(
        "gcti",
        on_black,
        light=as_numbers(light),
        vectors=as_numbers(vectors),
        strongest=as_numbers(_strongest(amounts(density, vectors))),
    )


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


def _density(values: Pixels, light: Floats, to_light: Floats | tuple[float, ...]) -> Floats:
    """Return densities (N, 3) with the light scaled; 0 becomes the smallest level above it."""
    return optical_density(np.maximum(values, 1)) - np.log(np.asarray(to_light) / light)


def _stains(density: Floats) -> Floats:
    """Return two stains and the residual as rows (steps 3 and 4)."""
    basis = np.linalg.eigh(density.T @ density)[1][:, ::-1].T  # rows, the largest first
    basis = np.where((basis < 0).sum(axis=1, keepdims=True) > 1, -basis, basis)
    along, across = density @ basis[0], density @ basis[1]
    low, high = np.percentile(np.arctan2(across, along), ANGLES)
    stains = [np.cos(angle) * basis[0] + np.sin(angle) * basis[1] for angle in (low, high)]
    return np.stack([*stains, basis[2]])


def _strongest(found: Floats) -> Floats:
    strongest = np.percentile(found[:, :2], STRONGEST, axis=0)
    if not (strongest > _LEAST_AMOUNT).all():
        raise StainError("has in effect one stain: the amount of the other is nowhere above 0")
    return np.asarray(strongest)


def align(density: Floats, own: Floats, theirs: Floats) -> Floats:
    """Turn densities (N, 3) onto the reference's plane and stretch their angles (steps 5 and 6).

    Args:
        own: two stains and the residual, as rows.
        theirs: those of the reference.
    """
    own = _matched(own, theirs)
    here, there = _frame(own), _frame(theirs)
    along, across, beside = (density @ here.T).T
    length, angle = np.hypot(along, across), np.arctan2(across, along)
    angle *= _between(theirs[0], theirs[1]) / _between(own[0], own[1])
    return np.stack([length * np.cos(angle), length * np.sin(angle), beside], axis=1) @ there


def _matched(own: Floats, theirs: Floats) -> Floats:
    """Return the own vectors in the order, and with the sign, nearest to the reference's."""
    orders = (own[[0, 1]], own[[1, 0]])
    options = [np.stack([*stains, sign * own[2]]) for stains in orders for sign in (1, -1)]
    return min(options, key=lambda option: float(np.square(option - theirs).sum()))


def _frame(vectors: Floats) -> Floats:
    """Return three unit vectors as rows: the first stain, in the plane beside it, the residual."""
    first, second, residual = vectors
    beside = second - (second @ first) * first
    return np.stack([first, beside / np.linalg.norm(beside), residual])


def _between(first: Floats, second: Floats) -> float:
    return float(np.arccos(np.clip(first @ second, -1, 1)))


def match(values: Pixels, own: StainStatistics, reference: StainStatistics) -> Floats:
    """Return RGB (N, 3), 0..255, as the reference is stained (steps 1, 2, 5 to 8).

    ``own`` is what ``aligned`` returned.
    """
    vectors = reference.stains
    density = _density(values, np.array(own.light), reference.light)
    found = amounts(align(density, own.stains, vectors), vectors)
    found[:, :2] *= np.array(reference.strongest) / np.array(own.strongest)
    return transmitted(found @ vectors)


def aligned(
    pixels: Pixels, mask: Mask, own: StainStatistics, reference: StainStatistics
) -> StainStatistics:
    """Return an image's statistics with the amounts of its aligned densities, which step 7 scales.

    Args:
        own: measured of the image with ``to_light`` the reference's.

    Raises:
        StainError: if a stain is absent.
    """
    density = _density(sampled(pixels, mask), np.array(own.light), reference.light)
    turned = align(density, own.stains, reference.stains)
    strongest = as_numbers(_strongest(amounts(turned, reference.stains)))
    return replace(own, strongest=strongest)
