"""A classifier over rows of a store: the probability of ALL for each cell."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import torch

from blastscope.models.classifier import Classifier
from blastscope.prepare.store import Store
from blastscope.train.balance import Rows
from blastscope.train.batches import PlainBatches

BATCH = 64


def probabilities(
    classifier: Classifier,
    store: Store,
    rows: Rows,
    device: torch.device,
    on_progress: Callable[[int], None] | None = None,
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the probability of ALL for each of ``rows``, computed in single precision."""
    classifier = classifier.to(device).eval()
    unknown = np.zeros(len(store), bool)
    found = []
    with torch.inference_mode():
        for pixels, _ in PlainBatches(store.pixels, unknown, rows, BATCH):
            logits = classifier(pixels.to(device)).double()
            found.append(torch.sigmoid(logits).cpu().numpy())
            if on_progress:
                on_progress(len(pixels))
    return np.concatenate(found) if found else np.empty(0)


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
