"""The one way of images through a model: decode, find the cell, prepare, predict, a row each.

Cells of files and of memory come through :func:`predict_rows`, those of a store, which are prepared
already, through :func:`predict_store`. Both work in batches, so that memory stays flat.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import polars as pl

from blastscope.data.crop import BEYOND, Pixels, is_beyond_field, locate, prepared
from blastscope.data.images import UnusableImageError, large_in_turn
from blastscope.data.inspection import inspect_image
from blastscope.data.layouts import Problem
from blastscope.data.store import StoreSettings
from blastscope.parallel import cores, in_order
from blastscope.prediction.images import InputImage, InputImages
from blastscope.prediction.models import Floats, Predictor, Prepared
from blastscope.prediction.table import PredictionRow, rows_frame, stacked

OodScores = Callable[[Prepared], Floats]
BATCH = 16
"""Images in a batch: enough for the networks, and little to lose if the process is killed."""
STORE_BATCH = 64
"""Likewise of a store, where nothing has to be read."""


@dataclass(frozen=True)
class PreparedCell:
    """A cell as networks see it."""

    # By settings, uint8, size × size × 3, RGB: the same as those of a store.
    pixels: Mapping[StoreSettings, Pixels]
    pixel_hash: str  # of the whole image, as ``data.inspection`` makes it
    flags: tuple[str, ...]  # what is odd about it, as in a cell table
    # How far it looks from the training cells (``Predictor.ood_scores``); NaN if unknown.
    ood_score: float = math.nan


def read_cells(
    inputs: InputImages,
    settings: Sequence[StoreSettings],
    workers: int | None = None,
    *,
    ood: OodScores | None = None,
    ahead: int | None = None,
) -> Iterator[tuple[InputImage, PreparedCell | Problem]]:
    """Yield each image with its cell, or with why it cannot be used; a few are read ahead.

    Args:
        settings: by which each is prepared; duplicates count once.
        workers: the number of threads that read; by default the number of cores.
        ood: computes the OOD scores of prepared cells, in these threads.
        ahead: the number of images read ahead; by default a few a thread.
    """
    distinct = tuple(dict.fromkeys(settings))

    def work(image: InputImage) -> tuple[InputImage, PreparedCell | Problem]:
        return image, read_cell(image, distinct, ood)

    try:
        if len(inputs) == 1:  # a pool would only have to be started
            yield work(inputs.images[0])
        else:
            yield from in_order(work, inputs.images, workers, ahead)
    finally:
        inputs.close()


@large_in_turn()
def read_cell(
    image: InputImage, settings: Sequence[StoreSettings], ood: OodScores | None = None
) -> PreparedCell | Problem:
    """Read one image and prepare its cell by each of several settings."""
    try:
        return _prepared_cell(image, settings, ood)
    except UnusableImageError as error:
        return Problem(image.file, error.kind, str(error))


def _prepared_cell(
    image: InputImage, settings: Sequence[StoreSettings], ood: OodScores | None
) -> PreparedCell:
    seen = inspect_image(image.decode(), flags=image.flags)
    boxes = {"union": seen.located.box}
    pixels, beyond = {}, False
    for one in settings:
        if one.contour not in boxes:
            boxes[one.contour] = locate(seen.pixels, one.contour).box
        box = boxes[one.contour]
        pixels[one] = prepared(seen.pixels, box, one.size, one.scale, one.clahe, one.stain)
        beyond |= is_beyond_field(box, one.scale)
    flags = (*seen.flags, *[BEYOND] * beyond)
    score = ood({one: cell[None] for one, cell in pixels.items()})[0] if ood else math.nan
    return PreparedCell(pixels, seen.pixel_hash, flags, float(score))


def predict_rows(inputs: InputImages, predictor: Predictor, model: str) -> Iterator[pl.DataFrame]:
    """Read, prepare and predict images; one that cannot be used is a row that says why.

    All cores work on each batch while the next is read. If there are many images and the engine
    allows it, each core takes a batch of its own, from the files to the rows, and waits for no
    other. Up to ``BATCH`` rows (``table.SCHEMA``) come at a time, in the order of the images.
    """
    many = len(inputs) >= 2 * cores() * BATCH
    single_core = predictor.single_core if many else None
    if single_core is None:
        yield from _all_cores_a_batch(inputs, predictor, model)
    else:
        yield from _a_core_a_batch(inputs, single_core, model)


def _all_cores_a_batch(
    inputs: InputImages, predictor: Predictor, model: str
) -> Iterator[pl.DataFrame]:
    read = read_cells(inputs, predictor.settings, ood=predictor.ood_scores, ahead=2 * BATCH)
    while batch := list(islice(read, BATCH)):
        yield _rows(batch, predictor, model)


def _a_core_a_batch(
    inputs: InputImages, predictor: Predictor, model: str
) -> Iterator[pl.DataFrame]:
    def work(first: int) -> pl.DataFrame:
        batch = (
            (image, read_cell(image, predictor.settings, predictor.ood_scores))
            for image in inputs.images[first : first + BATCH]
        )
        return _rows(batch, predictor, model)

    with closing(inputs):
        yield from in_order(work, range(0, len(inputs), BATCH))


def _rows(
    batch: Iterable[tuple[InputImage, PreparedCell | Problem]], predictor: Predictor, model: str
) -> pl.DataFrame:
    rows, cells = [], []
    for image, cell in batch:
        names = (image.file, image.cell, image.subject, image.label)
        if isinstance(cell, Problem):
            rows.append(PredictionRow(*names, problem=cell.message))
        else:
            rows.append(PredictionRow(*names, flags=cell.flags, ood_score=cell.ood_score))
            cells.append(cell.pixels)
    found = predictor.probabilities(stacked(cells)) if cells else None
    return rows_frame(rows, found, model, spread=predictor.spread)


def predict_store(
    pixels: Pixels,
    rows: np.ndarray[Any, np.dtype[np.int64]],
    predictor: Predictor,
    perturb: Callable[[Pixels], Pixels] | None = None,
) -> tuple[Floats, Floats]:
    """Predict cells (N, S, S, 3) that are prepared for the predictor, perhaps perturbed first.

    The predictor must have a single setting. Returns the probability of ALL, not calibrated, and
    the OOD score, NaN if unknown; (rows,) each.
    """
    (settings,) = predictor.settings
    p_all, ood = [np.empty(0)], [np.empty(0)]
    for first in range(0, len(rows), STORE_BATCH):
        cells = pixels[rows[first : first + STORE_BATCH]]
        batch = {settings: perturb(cells) if perturb else cells}
        p_all.append(predictor.probabilities(batch).p_all)
        ood.append(predictor.ood_scores(batch))
    return np.concatenate(p_all), np.concatenate(ood)
