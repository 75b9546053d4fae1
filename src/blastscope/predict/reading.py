"""Pictures read one by one: decoded, found and prepared on threads, in memory that stays flat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
    """

    pixels: Mapping[StoreSettings, Pixels]
    pixel_hash: str
    flags: tuple[str, ...]


def read_cells(
    inputs: Inputs, settings: Sequence[StoreSettings], workers: int | None = None
) -> Iterator[tuple[Picture, PreparedCell | Problem]]:
    """Read the pictures in their order, a few ahead of what is asked for.

    Args:
        inputs: the pictures.
        settings: the ways in which each is prepared; those that are the same count once.
        workers: how many threads read; as many as there are cores by default.

    Yields:
        Each picture with its cell, or with why it cannot be used.
    """
    wanted = tuple(dict.fromkeys(settings))

    def work(picture: Picture) -> tuple[Picture, PreparedCell | Problem]:
        return picture, read_cell(picture, wanted)

    try:
        yield from in_order(work, inputs.pictures, workers)
    finally:
        inputs.close()


def read_cell(picture: Picture, settings: Sequence[StoreSettings]) -> PreparedCell | Problem:
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
    return PreparedCell(pixels, seen.pixel_hash, (*seen.flags, *[BEYOND] * beyond))
