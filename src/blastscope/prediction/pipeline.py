"""From images to rows of a prediction table, a batch at a time and in their order.

Pictures read one by one: decoded, found and prepared on threads, in memory that stays flat.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import polars as pl

from blastscope.data.crop import BEYOND, Pixels, is_beyond_field, locate, prepared
from blastscope.data.images import UnusableImageError
from blastscope.data.inspection import inspect_image
from blastscope.data.layouts import Problem
from blastscope.data.store import StoreSettings
from blastscope.parallel import cores, in_order
from blastscope.prediction.input_images import InputImage, InputImages
from blastscope.prediction.predictor import Predictor
from blastscope.prediction.table import PredictionRow, rows_frame, stacked


@dataclass(frozen=True)
class PreparedCell:
    """A cell as networks see it.

    Attributes:
        pixels: by settings, uint8, size × size × 3, RGB: the very ones of a store.
        pixel_hash: of the whole image, as ``data.inspection`` makes it.
        flags: what is odd about it, as in a cell table.
        ood: how unlike all cells it looks (``predictor.Predictor.ood``); NaN if unknown.
    """

    pixels: Mapping[StoreSettings, Pixels]
    pixel_hash: str
    flags: tuple[str, ...]
    ood: float = math.nan


OodScore = Callable[[Mapping[StoreSettings, Pixels]], float]


def read_cells(
    inputs: InputImages,
    settings: Sequence[StoreSettings],
    workers: int | None = None,
    *,
    ood: OodScore | None = None,
    ahead: int | None = None,
) -> Iterator[tuple[InputImage, PreparedCell | Problem]]:
    """Read the pictures in their order, a few ahead of what is asked for.

    Args:
        inputs: the pictures.
        settings: the ways in which each is prepared; those that are the same count once.
        workers: how many threads read; as many as there are cores by default.
        ood: what says how unlike all cells a prepared one looks; it runs in these threads.
        ahead: how many pictures are read before they are asked for; a few a thread by default.

    Yields:
        Each picture with its cell, or with why it cannot be used.
    """
    wanted = tuple(dict.fromkeys(settings))

    def work(picture: InputImage) -> tuple[InputImage, PreparedCell | Problem]:
        return picture, read_cell(picture, wanted, ood)

    try:
        if len(inputs) == 1:  # a pool would only have to be started
            yield work(inputs.pictures[0])
        else:
            yield from in_order(work, inputs.pictures, workers, ahead)
    finally:
        inputs.close()


def read_cell(
    picture: InputImage, settings: Sequence[StoreSettings], ood: OodScore | None = None
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
    return PreparedCell(pixels, seen.pixel_hash, flags, ood(pixels) if ood else math.nan)


BATCH = 16
"""Images that come together: enough for the networks, and little to lose to a kill."""


def predict_rows(inputs: InputImages, predictor: Predictor, model: str) -> Iterator[pl.DataFrame]:
    """Read, prepare and predict images; one that cannot be used is a row that says why.

    Memory does not grow with the number of images. All cores work on each batch while the next is
    read; where there are many images and the engine can, each core has a batch of its own, from
    the files to the rows, and waits for no other.

    Args:
        inputs: the images.
        predictor: the networks.
        model: what the table calls them.

    Yields:
        Up to ``BATCH`` rows (``table.SCHEMA``), in the order of the images.
    """
    many = len(inputs) >= 2 * cores() * BATCH
    narrow = predictor.narrow if many else None
    if narrow is None:
        yield from _all_cores_a_batch(inputs, predictor, model)
    else:
        yield from _a_core_a_batch(inputs, narrow, model)


def _all_cores_a_batch(
    inputs: InputImages, predictor: Predictor, model: str
) -> Iterator[pl.DataFrame]:
    read = read_cells(inputs, predictor.settings, ood=predictor.ood, ahead=2 * BATCH)
    while batch := list(islice(read, BATCH)):
        yield _rows(batch, predictor, model)


def _a_core_a_batch(
    inputs: InputImages, predictor: Predictor, model: str
) -> Iterator[pl.DataFrame]:
    def work(first: int) -> pl.DataFrame:
        batch = (
            (picture, read_cell(picture, predictor.settings, predictor.ood))
            for picture in inputs.pictures[first : first + BATCH]
        )
        return _rows(batch, predictor, model)

    with closing(inputs):
        yield from in_order(work, range(0, len(inputs), BATCH))


def _rows(
    batch: Iterable[tuple[InputImage, PreparedCell | Problem]], predictor: Predictor, model: str
) -> pl.DataFrame:
    rows, prepared = [], []
    for picture, cell in batch:
        known = (picture.file, picture.cell, picture.subject, picture.label)
        if isinstance(cell, Problem):
            rows.append(PredictionRow(*known, problem=cell.message))
        else:
            rows.append(PredictionRow(*known, flags=cell.flags, ood=cell.ood))
            prepared.append(cell.pixels)
    answer = predictor.answer(stacked(prepared)) if prepared else None
    return rows_frame(rows, answer, model, spread=predictor.spreads)
