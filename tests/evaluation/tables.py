"""Scores to compare, without files: the paper's counts, and cells drawn at random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from blastscope.evaluation.aligned_predictions import AlignedPredictions, ModelSource


def scores_of(
    is_all, p_all: dict[str, object], subjects=None, part="test", **metadata
) -> AlignedPredictions:
    is_all = np.asarray(is_all, dtype=bool)
    cells = pl.DataFrame(
        {
            "cell": [f"c{row}" for row in range(len(is_all))],
            "subject": pl.Series(
                subjects if subjects is not None else [None] * len(is_all), dtype=pl.String
            ),
            "label": np.where(is_all, "all", "hem"),
            "part": part,
        }
    )
    members = tuple(ModelSource(name, Path(name), metadata) for name in p_all)
    columns = [np.asarray(p, dtype=np.float64) for p in p_all.values()]
    return AlignedPredictions(cells, members, np.column_stack(columns))


def published() -> AlignedPredictions:
    """The counts of the paper's two ensembles (3.4.2, 3.4.3.2) on its 2,133 cells.

    696 normal cells come first: the mean calls 619 of them right, the weighted one 17 more. Of
    1,437 ALL cells the mean calls 1,409 right, the weighted one 7 fewer.
    """
    is_all = np.arange(2133) >= 696
    mean, weighted = is_all.copy(), is_all.copy()
    mean[619:696] = True
    weighted[636:696] = True
    mean[696 + 1409 :] = False
    weighted[696 + 1402 :] = False
    both = {"mean": np.where(mean, 0.9, 0.1), "weighted": np.where(weighted, 0.9, 0.1)}
    return scores_of(is_all, both)
