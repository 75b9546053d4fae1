"""Draw images that are not cells, as prepared pixels, to test the out-of-distribution flag.

From easy to hard: noise, words and photographs fill the whole image, as a cell never does; a piece
of a photograph, or a single colour, cut to a disc on black has the outline of a cell; and if its
lights and shades are coloured as haematoxylin, it has the stain as well.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from blastscope.data.crop import Pixels

EACH = 100
"""How many of each kind."""
_PHOTOGRAPHS = ("china.jpg", "flower.jpg")
_HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
"""Optical densities in red, green and blue (Ruifrok and Johnston, Analytical and Quantitative
Cytology and Histology 23:291-299, 2001)."""
_SMALLEST, _LARGEST = 0.22, 0.42
"""Radii of discs, of the side: those of cells."""


def non_cell_images(side: int, each: int = EACH, seed: int = 24) -> dict[str, Pixels]:
    """Draw ``each`` images of each kind that are not cells; of ``black`` there is one.

    By kind, uint8 of shape (each, side, side, 3), RGB.
    """
    rng = np.random.default_rng(seed)
    photographs = _photographs()

    def noise() -> Pixels:
        return rng.integers(0, 256, (side, side, 3), np.uint8)

    def photograph() -> Pixels:
        picture = photographs[rng.integers(len(photographs))]
        edge = int(rng.integers(96, 400))
        top, left = (int(rng.integers(0, length - edge)) for length in picture.shape[:2])
        piece = picture[top : top + edge, left : left + edge]
        how = cv2.INTER_AREA if edge > side else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(piece, (side, side), interpolation=how), np.uint8)

    def on_black(draw: Callable[[], Pixels]) -> Pixels:
        radius = side * rng.uniform(_SMALLEST, _LARGEST)
        rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
        disc: Pixels = draw() * (rows**2 + columns**2 <= radius**2)[..., None].astype(np.uint8)
        return disc

    def colour() -> Pixels:
        return np.broadcast_to(rng.integers(1, 256, 3, np.uint8), (side, side, 3))

    kinds: dict[str, Callable[[], Pixels]] = {
        "noise": noise,
        "words": lambda: _words(rng, side),
        "photograph": photograph,
        "photograph on black": lambda: on_black(photograph),
        "photograph on black, stained": lambda: on_black(lambda: _stained(photograph())),
        "one colour on black": lambda: on_black(colour),
    }
    drawn = {kind: np.stack([draw() for _ in range(each)]) for kind, draw in kinds.items()}
    return {**drawn, "black": np.zeros((1, side, side, 3), np.uint8)}


def _stained(picture: Pixels) -> Pixels:
    """Colour an image's lights and shades as haematoxylin, denser where it is darker."""
    shade = 1 - cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None] / 255
    stained: Pixels = np.round(255 * 10 ** -(shade * _HAEMATOXYLIN)).astype(np.uint8)
    return stained


def _photographs() -> list[Pixels]:
    from sklearn.datasets import load_sample_image

    return [np.asarray(load_sample_image(name), np.uint8) for name in _PHOTOGRAPHS]


def _words(rng: np.random.Generator, side: int) -> Pixels:
    """Draw lines of random letters in random colours on grey."""
    picture = np.full((side, side, 3), rng.integers(0, 256), np.uint8)
    height = side / 6
    for line in range(6):
        letters = "".join(chr(code) for code in rng.integers(ord("A"), ord("z"), 12))
        corner = (int(rng.integers(-side // 10, side // 10)), round((line + 0.8) * height))
        ink = tuple(int(value) for value in rng.integers(0, 256, 3))
        cv2.putText(
            picture, letters, corner, cv2.FONT_HERSHEY_SIMPLEX, height / 30, ink,
            max(1, round(height / 15)), cv2.LINE_AA,
        )  # fmt: skip
    return picture
