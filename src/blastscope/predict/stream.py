"""From images to rows of a prediction table, a batch at a time and in their order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice

import polars as pl

from blastscope.allocator import keep_freed_memory
from blastscope.cells.layouts import Problem
from blastscope.predict.pictures import Inputs, Picture
from blastscope.predict.predictor import Predictor
from blastscope.predict.reading import PreparedCell, read_cell, read_cells
from blastscope.predict.table import Row, rows_frame, stacked
from blastscope.progress import cores, in_order

BATCH = 16
"""Images that come together: enough for the networks, and little to lose to a kill."""


def predict_rows(inputs: Inputs, predictor: Predictor, model: str) -> Iterator[pl.DataFrame]:
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
    keep_freed_memory()  # decoded images are too large for glibc to keep by itself
    many = len(inputs) >= 2 * cores() * BATCH
    narrow = predictor.narrow if many else None
    if narrow is None:
        yield from _all_cores_a_batch(inputs, predictor, model)
    else:
        yield from _a_core_a_batch(inputs, narrow, model)


def _all_cores_a_batch(inputs: Inputs, predictor: Predictor, model: str) -> Iterator[pl.DataFrame]:
    read = read_cells(inputs, predictor.settings, novelty=predictor.novelty, ahead=2 * BATCH)
    while batch := list(islice(read, BATCH)):
        yield _rows(batch, predictor, model)


def _a_core_a_batch(inputs: Inputs, predictor: Predictor, model: str) -> Iterator[pl.DataFrame]:
    def work(first: int) -> pl.DataFrame:
        batch = (
            (picture, read_cell(picture, predictor.settings, predictor.novelty))
            for picture in inputs.pictures[first : first + BATCH]
        )
        return _rows(batch, predictor, model)

    with closing(inputs):
        yield from in_order(work, range(0, len(inputs), BATCH))


def _rows(
    batch: Iterable[tuple[Picture, PreparedCell | Problem]], predictor: Predictor, model: str
) -> pl.DataFrame:
    rows, prepared = [], []
    for picture, cell in batch:
        known = (picture.file, picture.cell, picture.subject, picture.label)
        if isinstance(cell, Problem):
            rows.append(Row(*known, problem=cell.message))
        else:
            rows.append(Row(*known, flags=cell.flags, novelty=cell.novelty))
            prepared.append(cell.pixels)
    answer = predictor.answer(stacked(prepared)) if prepared else None
    return rows_frame(rows, answer, model, spread=predictor.spreads)
