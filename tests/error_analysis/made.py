"""Prediction tables and stores, written by hand for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from blastscope.data.cell_table import CELLS
from blastscope.data.crop import FIELD, locate, prepared
from blastscope.data.store import Store, StoreSettings, open_store, store_info
from blastscope.data.traits import FLAGS, TRAITS
from blastscope.evaluation.aligned_predictions import AlignedPredictions, ModelSource
from blastscope.io.files import write_json
from blastscope.io.predictions import write_predictions
from blastscope.io.tables import write_table


def scores_of(
    labels: Sequence[str],
    p_all: np.ndarray,
    subjects: Sequence[str | None] | None = None,
    models: Sequence[str] | None = None,
    **metadata,
) -> AlignedPredictions:
    names = models or [f"m{k}" for k in range(p_all.shape[1])]
    cells = pl.DataFrame(
        {
            "cell": [f"c{row}" for row in range(len(labels))],
            "subject": subjects or [None] * len(labels),
            "label": labels,
            "part": ["test"] * len(labels),
        },
        schema=dict.fromkeys(("cell", "subject", "label", "part"), pl.String),
    )
    members = tuple(ModelSource(name, Path(f"{name}.parquet"), metadata) for name in names)
    return AlignedPredictions(cells, members, np.asarray(p_all, float))


def scores_with(labels: Sequence[str], missed: np.ndarray, **more) -> AlignedPredictions:
    """Scores in which exactly the given calls are wrong, shape (cells, models)."""
    is_all = np.array(labels)[:, None] == "all"
    return scores_of(labels, np.where(is_all ^ missed, 0.9, 0.1), **more)


def drawn(n: int, seed: int = 0, **columns: np.ndarray) -> pl.DataFrame:
    """Traits drawn at random, but for the columns given."""
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame({trait.column: rng.normal(size=n) for trait in TRAITS})
    frame = frame.with_columns(pl.Series(flag, rng.random(n) < 0.1) for flag in FLAGS)
    return frame.with_columns(pl.Series(name, values) for name, values in columns.items())


def write_scores(scores: AlignedPredictions, folder: Path, **metadata) -> list[Path]:
    paths = []
    folder.mkdir(parents=True, exist_ok=True)
    for column, model in enumerate(scores.models):
        frame = scores.cells.with_columns(
            model=pl.lit(model), p_all=pl.Series(scores.p_all[:, column].copy())
        )
        paths.append(folder / f"table{column}.parquet")
        write_predictions(frame, paths[-1], metadata)
    return paths


def store_of(
    path: Path,
    images: Mapping[str, np.ndarray],
    labels: Mapping[str, str],
    synthetic: bool = False,
    **settings,
) -> Store:
    """Prepare source images as ``blastscope prepare`` does and write them as a store."""
    chosen = StoreSettings(**{"size": 96, **settings})
    rows, pixels = [], []
    for cell, image in images.items():
        found = locate(image)
        box = found.box
        flags = ["frame"] * found.touches_frame + ["components"] * (found.components > 1)
        flags += ["beyond-field"] * (max(box.w, box.h) > FIELD)
        where = {"box_x": box.x, "box_y": box.y, "box_w": box.w, "box_h": box.h}
        rows.append(
            {"cell": cell, "file": cell, "label": labels[cell], "subject": None, "fold": None}
            | where
            | {"pixel_hash": cell, "flags": flags}
        )
        pixels.append(prepared(image, box, chosen.size, chosen.scale, chosen.clahe))
    frame = pl.DataFrame(rows, schema=dict(CELLS.columns))
    path.mkdir(parents=True)
    write_table(frame, path / "cells.parquet", CELLS)
    np.save(path / "pixels.npy", np.stack(pixels))
    write_json(path / "store.json", store_info(frame, chosen, [], "", synthetic))
    return open_store(path)
