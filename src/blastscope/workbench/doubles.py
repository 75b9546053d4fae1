"""Find cells that two overlapping fields of a smear may both hold, by their pixels.

Fields carry no coordinates of the stage, so nothing but the pixels tells. Two cells of different
fields of a subject are a possible double if their boxes have nearly one size and the middle of one
lies in the other, pixel on pixel, with a correlation of at least ``ALIKE``. Whether it is one cell
a person says: by the label X on one of them it is counted once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from blastscope.data.crop import Pixels
from blastscope.data.images import read_image
from blastscope.workbench.image_store import ImageStore
from blastscope.workbench.store.database import Database
from blastscope.workbench.store.tables import DOUBLE_OF, Cell

ALIKE = 0.94
"""The least correlation of the middle of a cell with its place in another. Of 600 synthetic cells
that were shifted, by parts of a pixel too, made 4 % brighter, noisy and a JPEG, all had .96 or more
with themselves; 503 pairs of different cells of one size had .90 or less."""
_SIDES = 4
"""Pixels by which the sides of two boxes may differ, as outlines of one cell do."""
_MIDDLE = 0.7
"""The part of a box's side that is compared: the rest may be background."""
_BLUR = 1.5
_SMALL, _COARSE = 8, 0.9
"""Small pictures of this side that correlate less are not compared pixel on pixel."""


@dataclass(frozen=True)
class Seen:
    """A cell: its number, field and subject, what is compared first, and how to get its pixels."""

    n: int
    field: int
    subject: str
    sides: tuple[int, int]
    small: NDArray[np.float32]
    read: Callable[[], Pixels]  # the pixels in its box, RGB


def see(n: int, field: int, subject: str, read: Callable[[], Pixels]) -> Seen:
    """Look at a cell; its pixels are read again if they are to be compared."""
    pixels = read()
    return Seen(n, field, subject, (pixels.shape[0], pixels.shape[1]), _small(pixels), read)


def possible_doubles(cells: Sequence[Seen]) -> dict[int, int]:
    """Return for each cell that may be one of an earlier field the number of that one."""
    found: dict[int, int] = {}
    for first, later in _pairs(cells):
        if later.n not in found and correlation(first.read(), later.read()) >= ALIKE:
            found[later.n] = found.get(first.n, first.n)
    return found


def _pairs(cells: Sequence[Seen]) -> Iterator[tuple[Seen, Seen]]:
    """Yield pairs of one subject and two fields that are worth a look, by their numbers."""
    ordered = sorted(cells, key=lambda cell: cell.n)
    if not ordered:
        return
    sides = np.array([cell.sides for cell in ordered])
    fields = np.array([cell.field for cell in ordered])
    subjects = np.array([cell.subject for cell in ordered], dtype=object)
    small = np.stack([cell.small for cell in ordered])
    for k in range(1, len(ordered)):
        near = (np.abs(sides[:k] - sides[k]) <= _SIDES).all(axis=1)
        near &= (fields[:k] != fields[k]) & (subjects[:k] == subjects[k])
        near &= small[:k] @ small[k] >= _COARSE
        for j in np.flatnonzero(near).tolist():
            yield ordered[j], ordered[k]


def _small(pixels: Pixels) -> NDArray[np.float32]:
    shrunk = cv2.resize(pixels, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA).astype(np.float32)
    flat = (shrunk - shrunk.mean(axis=(0, 1))).ravel()
    found: NDArray[np.float32] = flat / np.float32(max(float(np.linalg.norm(flat)), 1e-6))
    return found


def correlation(first: Pixels, later: Pixels) -> float:
    """Return how well the middle of a cell fits into another, -1 to 1, at the best shift.

    Args:
        first: RGB, (height, width, 3).
        later: RGB, of nearly the same size.
    """
    height, width = (round(side * _MIDDLE) for side in first.shape[:2])
    top, left = (first.shape[0] - height) // 2, (first.shape[1] - width) // 2
    middle = first[top : top + height, left : left + width]
    if height > later.shape[0] or width > later.shape[1] or min(height, width) < 2:
        return -1.0
    fits = cv2.matchTemplate(_without_noise(later), _without_noise(middle), cv2.TM_CCOEFF_NORMED)
    return float(fits.max())


def _without_noise(pixels: Pixels) -> Pixels:
    """Return pixels without a camera's noise and an edge's place within a pixel."""
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), _BLUR), np.uint8)


def note_doubles(database: Database, images: ImageStore, case_id: int) -> None:
    """Note the possible doubles among the usable cells of a case's fields."""
    with database.read() as session:
        rows = session.execute(
            select(Cell.n, Cell.field, Cell.subject, Cell.sha, Cell.about).where(
                Cell.case_id == case_id, Cell.field.is_not(None), Cell.problem.is_(None)
            )
        ).all()
    seen = [
        see(n, field, subject, partial(_in_the_box, images, sha, about["box"]))
        for n, field, subject, sha, about in rows
    ]
    found = possible_doubles(seen)
    with database.write() as session:
        for cell in session.scalars(select(Cell).where(Cell.case_id == case_id)):
            of = found.get(cell.n)
            if cell.about.get(DOUBLE_OF) != of:
                cell.about = cell.about | {DOUBLE_OF: of}


def _in_the_box(images: ImageStore, sha: str, box: Sequence[int]) -> Pixels:
    x, y, w, h = box
    pixels: Pixels = read_image(images.path(sha)).pixels[y : y + h, x : x + w]
    return pixels
