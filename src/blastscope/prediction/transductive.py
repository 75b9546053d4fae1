"""Correct the predictions of a batch of images by each cell's neighbours among them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from blastscope.data.layouts import Problem
from blastscope.data.store import StoreSettings
from blastscope.decision.decision_file import DecisionFile
from blastscope.decision.neighbourhood import corrected, refuse_small_batch
from blastscope.errors import BlastscopeError
from blastscope.io.predictions import INDUCTIVE, PROBLEM
from blastscope.ood.features import Floats, ood_features
from blastscope.parallel import in_order
from blastscope.prediction.decisions import call_cells
from blastscope.prediction.images import InputImage, InputImages
from blastscope.prediction.pipeline import read_cell


def corrected_batch(
    frame: pl.DataFrame, inputs: InputImages, settings: StoreSettings, by: DecisionFile | None
) -> pl.DataFrame:
    """Correct ``p_all`` of a decided table, and call the cells again; ``p_inductive`` keeps it.

    Images that cannot be used, or are out of distribution, neither vote nor are corrected. The
    images are read again, a few at a time.

    Args:
        frame: a row an image, as ``prediction.decisions.decide`` returns it.
        inputs: the images, in the order of the rows.
        settings: by which cells are prepared before their features are measured.
        by: the decision that called them.

    Raises:
        BlastscopeError: if there are too few cells, or one cannot be read again.
    """
    usable = frame["p_all"].is_not_null() & ~frame["out_of_distribution"].fill_null(False)
    rows = np.flatnonzero(usable.to_numpy())
    refuse_small_batch(len(rows), "The batch")
    features = _features(inputs, rows.tolist(), settings)
    p_all = frame["p_all"].to_list()
    found = corrected(np.array([p_all[row] for row in rows]), features)
    for row, p in zip(rows.tolist(), found.tolist(), strict=True):
        p_all[row] = p
    last = [name for name in ("spread", PROBLEM) if name in frame.columns]
    made = frame.with_columns(
        pl.Series("p_all", p_all, pl.Float64), frame["p_all"].alias(INDUCTIVE)
    )
    called = made if by is None else call_cells(made, by)
    return called.select(pl.exclude(last), *last)


def _features(inputs: InputImages, rows: list[int], settings: StoreSettings) -> Floats:
    """Read images again, and measure the features of their cells, shape (rows, features)."""

    def work(image: InputImage) -> Floats:
        cell = read_cell(image, [settings])
        if isinstance(cell, Problem):
            raise BlastscopeError(
                f"{image.file or image.cell} cannot be read again ({cell.message}): predict again "
                "when the files stay as they are."
            )
        return ood_features(cell.pixels[settings][None])

    chosen = replace(inputs, images=tuple(inputs.images[row] for row in rows))
    try:
        return np.concatenate(list(in_order(work, chosen.images)))
    finally:
        inputs.close()
