"""From images to rows of a prediction table, a batch at a time and in their order."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from blastscope.allocator import keep_freed_memory
from blastscope.cells.layouts import Problem
from blastscope.predict.pictures import Inputs
from blastscope.predict.predictor import Predictor, Prepared
from blastscope.predict.reading import read_cells
from blastscope.predict.table import Row, rows_frame, stacked

BATCH = 32
"""Images that come together: enough for the networks, and little to lose to a kill."""


def predict_rows(inputs: Inputs, predictor: Predictor, model: str) -> Iterator[pl.DataFrame]:
    """Read, prepare and predict images; one that cannot be used is a row that says why.

    Memory does not grow with the number of images: while a batch is computed, the next is read.

    Args:
        inputs: the images.
        predictor: the networks.
        model: what the table calls them.

    Yields:
        Up to ``BATCH`` rows (``table.SCHEMA``), in the order of the images.
    """
    rows: list[Row] = []
    prepared: list[Prepared] = []
    keep_freed_memory()  # decoded images are too large for glibc to keep by itself
    look = predictor.novelty
    for picture, cell in read_cells(inputs, predictor.settings, novelty=look, ahead=2 * BATCH):
        known = (picture.file, picture.cell, picture.subject, picture.label)
        if isinstance(cell, Problem):
            rows.append(Row(*known, problem=cell.message))
        else:
            rows.append(Row(*known, flags=cell.flags, novelty=cell.novelty))
            prepared.append(cell.pixels)
        if len(rows) == BATCH:
            yield _answered(rows, prepared, predictor, model)
            rows, prepared = [], []
    if rows:
        yield _answered(rows, prepared, predictor, model)


def _answered(
    rows: list[Row], prepared: list[Prepared], predictor: Predictor, model: str
) -> pl.DataFrame:
    answer = predictor.answer(stacked(prepared)) if prepared else None
    return rows_frame(rows, answer, model, spread=predictor.spreads)
