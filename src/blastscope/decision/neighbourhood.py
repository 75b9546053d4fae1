"""Correct probabilities by the neighbours of each cell in its batch: transductive prediction.

The cells of one subject look alike and, in the data sets of this field, are of one class. So the
nearest neighbours of a cell, among the cells that are predicted with it, vote on its class without
any label. The idea is that of Pan et al., Neighborhood-Correction Algorithm for Classification of
Normal and Malignant Cells, ISBI C-NMC Challenge 2019. Their features are Fisher vectors of a
network; these are those of the out-of-distribution detector, which need no network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit, logit

from blastscope.data.contradictions import refuse_contradictions
from blastscope.data.store import open_store
from blastscope.decision.calibration import Floats
from blastscope.errors import BlastscopeError
from blastscope.io.predictions import INDUCTIVE, has_folds
from blastscope.ood.features import ood_features

NEIGHBOURS = 10
"""How many others vote with each cell. It was set before anything was measured, and not tuned."""
FEWEST_CELLS = 50
"""Smaller batches are refused: the nearest of a few cells are not near."""
STATEMENT = (
    "Corrected by neighbours of this batch (transductive): it profits from subjects of one class "
    "and depends on which cells are predicted together."
)
_LEAST = 1e-6
"""Probabilities are kept as far from 0 and 1, so that a single cell does not decide."""
_ROWS = 256  # of distances at a time, so that memory does not grow with the square of the cells


def corrected(p_all: Floats, features: Floats, neighbours: int = NEIGHBOURS) -> Floats:
    """Replace each probability by the mean of log-odds of the cell and its nearest neighbours.

    Features are put on one scale, by the mean and deviation of the batch; distances are Euclidean.
    Others that are as near as the last neighbour vote too, so the order of the cells changes
    nothing.

    Args:
        p_all: shape (n,).
        features: shape (n, features).
        neighbours: how many others vote, less than n; with 0 the probabilities stay.

    Returns:
        Shape (n,).
    """
    if not neighbours:
        return p_all
    from scipy.spatial.distance import cdist

    odds = logit(np.clip(p_all, _LEAST, 1 - _LEAST))
    scaled = _scaled(features)
    means = [np.empty(0)]
    for first in range(0, len(scaled), _ROWS):
        far = cdist(scaled[first : first + _ROWS], scaled)
        last = np.partition(far, neighbours, axis=1)[:, neighbours]  # the cell itself is at 0
        votes = far <= last[:, None]
        means.append(votes @ odds / votes.sum(axis=1))
    found: Floats = expit(np.concatenate(means))
    return found


def _scaled(features: Floats) -> Floats:
    """Subtract the mean and divide by the deviation; what never varies becomes 0."""
    ordered = np.sort(features, axis=0)  # sums of the same order, whatever that of the cells
    deviation = ordered.std(axis=0)
    scaled: Floats = (features - ordered.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    return scaled


def refuse_small_batch(cells: int, where: str) -> None:
    """Refuse a batch of too few cells.

    Raises:
        BlastscopeError: naming ``where``, if it has fewer than ``FEWEST_CELLS``.
    """
    if cells < FEWEST_CELLS:
        raise BlastscopeError(
            f"{where} has {cells} cells, and a correction by neighbours needs {FEWEST_CELLS} in a "
            "batch: give more cells, or leave --transductive out."
        )


def corrected_part(
    table: pl.DataFrame, part: str, where: str, store: Path, metadata: dict[str, Any]
) -> pl.DataFrame:
    """Correct the cells of ``part`` of one model's table; ``p_inductive`` keeps what was there.

    In a cross-validation the cells of each fold are a batch of their own, since other networks
    predicted the other folds.

    Args:
        table: every part of it; other parts stay as they are.
        where: what messages call it.
        store: with the pixels of these cells.
        metadata: of the table.

    Raises:
        BlastscopeError: if ``store`` is not one, lacks cells or is of others, a batch is too small,
            or the table was corrected before.
    """
    if INDUCTIVE in table.columns:
        raise BlastscopeError(
            f"{where} was corrected by neighbours before: leave --transductive out."
        )
    here = (table["part"] == part).to_numpy()
    cells = table.filter(pl.Series(here))
    folds = cells["fold"].to_numpy() if has_folds(cells, metadata) else np.zeros(len(cells))
    batches = [folds == fold for fold in np.unique(folds)]
    for batch in batches:
        refuse_small_batch(int(batch.sum()), where if len(batches) == 1 else f"a fold of {where}")
    features = store_features(store, cells)
    old = table["p_all"].to_numpy()
    new = old.copy()
    for batch in batches:
        rows = np.flatnonzero(here)[batch]
        new[rows] = corrected(old[rows], features[batch])
    return table.with_columns(pl.Series("p_all", new), pl.Series(INDUCTIVE, old))


def store_features(store: Path, cells: pl.DataFrame) -> Floats:
    """Measure the features of cells in a store, shape (n, features).

    Args:
        store: made by ``blastscope prepare``.
        cells: ``cell``, ``label`` and ``subject``.

    Raises:
        BlastscopeError: if it is not a store, lacks cells, or says something else of them.
    """
    opened = open_store(store)
    remedy = "give the store that they were made on"
    refuse_contradictions(cells, "The predictions", opened.cells, str(store), remedy)
    rows = cells.select("cell").join(
        opened.cells.select("cell").with_row_index("row"),
        on="cell", how="left", maintain_order="left",
    )  # fmt: skip
    lost = rows.filter(pl.col("row").is_null())
    if not lost.is_empty():
        raise BlastscopeError(
            f"{store} lacks {len(lost)} of {len(rows)} cells of the predictions (first: "
            f"{lost['cell'][0]}): {remedy}."
        )
    places: NDArray[np.int64] = rows["row"].to_numpy().astype(np.int64)
    return np.concatenate([ood_features(opened.pixels[row : row + 1]) for row in places])
