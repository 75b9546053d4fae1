"""Features of a prepared image for out-of-distribution detection: position, stain, texture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from blastscope.data.crop import Pixels, resize

Floats = NDArray[np.float64]

FEATURES = (
    "filled",  # share of the image that is not black
    "rim",  # the same of its outermost pixels
    "lightness", "a_star", "b_star",  # CIELAB means of what is not black
    "lightness_spread", "a_star_spread", "b_star_spread",  # logarithms of the deviations
    "edges", "points",  # logarithms of the mean gradient and Laplacian of lightness
    "raggedness",  # squared outline over area, 1 for a disc
    "solidity",  # area over that of the convex hull
    "whole",  # share of what is not black in the largest piece
)  # fmt: skip
"""The numbers, in the order of the columns of :func:`ood_features`."""
STAIN = slice(FEATURES.index("lightness"), FEATURES.index("b_star") + 1)
"""The columns of the mean colour."""
_SIDE = 128
"""Larger images are shrunk to this. At 64 a photograph in the outline and colours of a cell passed
for a cell nineteen times in twenty: it differs by its small structures."""
_BLACK = 12
"""The brightest black, of 255: JPEG and shrinking blur a cell's edge."""
_FEWEST = 10
"""The fewest pixels that are not black in an image of anything."""
_CORE = np.ones((3, 3), np.uint8)
_SMALL = 0.1


def ood_features(pixels: Pixels) -> Floats:
    """Compute the features of prepared images, uint8, (N, S, S, 3), RGB.

    Shape (N, ``len(FEATURES)``); an image that is all black has zeros after the first two.
    """
    return np.array([_features(image) for image in pixels], np.float64).reshape(-1, len(FEATURES))


def exchanged_stain(pixels: Pixels) -> Floats:
    """Compute the mean colours, (N, 3), that images would have with red and blue exchanged."""
    return np.array([_exchanged(image) for image in pixels], np.float64).reshape(-1, 3)


def _exchanged(image: Pixels) -> tuple[float, ...]:
    image, here = _seen(image)
    if here.sum() < _FEWEST:
        return (0.0, 0.0, 0.0)
    means = cv2.mean(_lab(image, cv2.COLOR_BGR2Lab), _inside(here))
    return tuple(map(float, means[:3]))


def _seen(image: Pixels) -> tuple[Pixels, NDArray[np.bool_]]:
    """Return an image, shrunk if it is large, and its pixels that are not black."""
    if len(image) > _SIDE:
        image = resize(image, _SIDE)
    red, green, blue = cv2.split(image)  # NumPy is slow along an axis of three
    return image, np.asarray(cv2.max(cv2.max(red, green), blue)) > _BLACK


def _inside(here: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return what is inside the edge, whose colours are mixed with black; all of what is small."""
    whole = here.astype(np.uint8)
    core = cv2.erode(whole, _CORE, borderValue=0)
    return np.asarray(core if cv2.countNonZero(core) >= _FEWEST else whole)


def _lab(image: Pixels, code: int = cv2.COLOR_RGB2Lab) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, code))


def _features(image: Pixels) -> tuple[float, ...]:
    image, here = _seen(image)
    rim = np.concatenate([here[0], here[-1], here[1:-1, 0], here[1:-1, -1]])
    position = (float(here.mean()), float(rim.mean()))
    if here.sum() < _FEWEST:
        return position + (0.0,) * (len(FEATURES) - len(position))
    return (*position, *_stain_and_texture(image, here), *_outline(here))


def _stain_and_texture(image: Pixels, here: NDArray[np.bool_]) -> tuple[float, ...]:
    """Measure inside the edge."""
    inside = _inside(here)
    colours = cv2.split(_lab(image))
    light = colours[0]
    slopes = (cv2.Sobel(light, cv2.CV_32F, *way, ksize=3) / 8 for way in ((1, 0), (0, 1)))
    measured = (*colours, *slopes, cv2.Laplacian(light, cv2.CV_32F))
    chosen = np.flatnonzero(inside)
    *lab, across, down, bent = (of.ravel()[chosen] for of in measured)
    stain = np.array(lab, np.float64)
    # Not OpenCV's magnitude and sums: their last digits depend on where in memory the image lies.
    texture = (np.sqrt(across * across + down * down), np.abs(bent))
    return (
        *map(float, stain.mean(axis=1)),
        *map(float, np.log(stain.std(axis=1) + _SMALL)),
        *(float(np.log(of.mean(dtype=np.float64) + _SMALL)) for of in texture),
    )


def _outline(here: NDArray[np.bool_]) -> tuple[float, float, float]:
    shape = here.astype(np.uint8)
    found, _ = cv2.findContours(shape, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(found, key=cv2.contourArea)
    area = max(cv2.contourArea(largest), 1.0)
    hull = max(cv2.contourArea(cv2.convexHull(largest)), 1.0)
    ragged = cv2.arcLength(largest, True) ** 2 / (4 * np.pi * area)
    return float(ragged), float(area / hull), float(area / here.sum())
