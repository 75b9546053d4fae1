"""Pictures read one by one: decoded, found and prepared on threads, in memory that stays flat."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from blastscope.cells.images import UnusableImageError
from blastscope.cells.inspection import inspect_image
from blastscope.cells.layouts import Problem
from blastscope.cells.locate import locate
from blastscope.predict.pictures import Inputs, Picture
from blastscope.prepare.pixels import BEYOND, Pixels, is_beyond_field, prepared
from blastscope.prepare.store import StoreSettings
from blastscope.progress import in_order


@dataclass(frozen=True)
class PreparedCell:
    """A cell as networks see it.

    Attributes:
        pixels: by settings, uint8, size × size × 3, RGB: the very ones of a store.
        pixel_hash: of the whole image, as ``cells.inspection`` makes it.
        flags: what is odd about it, as in a cell table.
        novelty: how unlike all cells it looks (``predictor.Predictor.novelty``); NaN if unknown.
    """

    pixels: Mapping[StoreSettings, Pixels]
    pixel_hash: str
    flags: tuple[str, ...]
    novelty: float = math.nan


Novelty = Callable[[Mapping[StoreSettings, Pixels]], float]


def read_cells(
    inputs: Inputs,
    settings: Sequence[StoreSettings],
    workers: int | None = None,
    *,
    novelty: Novelty | None = None,
    ahead: int | None = None,
) -> Iterator[tuple[Picture, PreparedCell | Problem]]:
    """Read the pictures in their order, a few ahead of what is asked for.

    Args:
        inputs: the pictures.
        settings: the ways in which each is prepared; those that are the same count once.
        workers: how many threads read; as many as there are cores by default.
        novelty: what says how unlike all cells a prepared one looks; it runs in these threads.
        ahead: how many pictures are read before they are asked for; a few a thread by default.

    Yields:
        Each picture with its cell, or with why it cannot be used.
    """
    wanted = tuple(dict.fromkeys(settings))

    def work(picture: Picture) -> tuple[Picture, PreparedCell | Problem]:
        return picture, read_cell(picture, wanted, novelty)

    try:
        if len(inputs) == 1:  # a pool would only have to be started
            yield work(inputs.pictures[0])
        else:
            yield from in_order(work, inputs.pictures, workers, ahead)
    finally:
        inputs.close()


def read_cell(
    picture: Picture, settings: Sequence[StoreSettings], novelty: Novelty | None = None
) -> PreparedCell | Problem:
    """Read one picture and prepare it in each of several ways."""
    try:
        seen = inspect_image(picture.decode(), flags=picture.flags)
    except UnusableImageError as error:
        return Problem(picture.file, error.kind, str(error))
    boxes = {"union": seen.located.box}
    pixels, beyond = {}, False
    for wanted in settings:
        if wanted.contour not in boxes:
            boxes[wanted.contour] = locate(seen.pixels, wanted.contour).box
        box = boxes[wanted.contour]
        pixels[wanted] = prepared(seen.pixels, box, wanted.size, wanted.scale, wanted.clahe)
        beyond |= is_beyond_field(box, wanted.scale)
    flags = (*seen.flags, *[BEYOND] * beyond)
    return PreparedCell(pixels, seen.pixel_hash, flags, novelty(pixels) if novelty else math.nan)
