"""Prediction tables with subjects who differ, large enough to decide on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from blastscope.io.predictions import write_predictions


def decided_table(
    n_subjects: int = 12, cells: int = 20, heat: float = 2.5, seed: int = 4
) -> pl.DataFrame:
    """``n_subjects`` of each class, half in validation, half in test, ``heat`` times too sure."""
    rng = np.random.default_rng(seed)
    rows = []
    for label, sign in (("all", 1.2), ("hem", -1.2)):
        for subject in range(n_subjects):
            effect = rng.normal(0, 0.6)
            part = ("validation", "test")[subject % 2]
            name = f"{'' if label == 'all' else 'H'}{subject + 1}"
            for k in range(cells):
                z = heat * (sign + effect + rng.normal(0, 1.2))
                rows.append((f"{name}_{k}", name, label, part, "net", 1 / (1 + np.exp(-z))))
    columns = ["cell", "subject", "label", "part", "model", "p_all"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def written(path: Path, table: pl.DataFrame | None = None, **metadata: object) -> Path:
    """Write a table, that of :func:`decided_table` by default."""
    write_predictions(decided_table() if table is None else table, path, metadata)
    return path
