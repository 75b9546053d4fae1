"""A training's own predictions: the probability of ALL of rows of its store.

They come from cached features if the backbone is frozen, which is why they do not go through
``prediction.pipeline``: a finished run's network does, whoever asks it.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import torch

from blastscope.data.store import Store
from blastscope.models.classifier import Classifier
from blastscope.models.dihedral import count_views
from blastscope.training.batches import Inputs, PlainBatches
from blastscope.training.class_balance import Rows
from blastscope.training.network_input import NetworkInput

BATCH = 64


def probabilities(
    classifier: Classifier,
    feed: NetworkInput,
    rows: Rows,
    device: torch.device,
    views: str = "one",
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the probability of ALL for each of ``rows``, computed in single precision.

    Args:
        classifier: the network; it is put on ``device`` and into evaluation mode.
        feed: the pixels or cached features of the store.
        rows: of the store.
        device: what to compute on.
        views: the recipe's ``prediction.views``: ``one``, or ``dihedral`` for the mean of the
            logits over the eight views (TTA).
    """
    classifier.to(device).eval()
    feed.to(device)
    unknown = np.zeros(int(rows.max()) + 1 if len(rows) else 0, bool)
    operations = range(count_views(views))
    logits = np.zeros(len(rows))
    with torch.inference_mode():
        for operation in operations:
            first = 0
            for inputs, targets in PlainBatches(feed.views, unknown, rows, BATCH, operation):
                found = feed(_moved(inputs, device)).double().cpu().numpy()
                logits[first : first + len(targets)] += found / len(operations)
                first += len(targets)
    return torch.sigmoid(torch.from_numpy(logits)).numpy()


def _moved(inputs: Inputs, device: torch.device) -> Inputs:
    if isinstance(inputs, tuple):
        return tuple(tensor.to(device) for tensor in inputs)
    return inputs.to(device)


def prediction_frame(
    store: Store, rows: Rows, parts: list[str], model: str, p_all: np.ndarray
) -> pl.DataFrame:
    """Return a prediction table for rows of a store."""
    cells: pl.DataFrame = store.cells.select("cell", "subject", "label")[rows.tolist()]
    return cells.with_columns(
        part=pl.Series(parts, dtype=pl.String()),
        model=pl.lit(model),
        p_all=pl.Series(p_all, dtype=pl.Float64()),
    )
