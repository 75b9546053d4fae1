"""Baselines on the very cells that a model is reported on, fitted on what it was trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.data.names import ALL
from blastscope.data.store import open_store
from blastscope.data.traits import measure
from blastscope.errors import BlastscopeError
from blastscope.evaluation.baseline_rules import BaselineRule, Logistic, SizeRule
from blastscope.evaluation.cell_measurements import COLOURS, SIZE
from blastscope.evaluation.metrics import Metrics, compute_metrics
from blastscope.io.predictions import has_folds

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class ModelBaseline:
    """A rule without a network, judged as the model beside it.

    Attributes:
        name: what it is called in tables.
        metrics: on the cells that are reported.
    """

    name: str
    metrics: Metrics


def model_baselines(
    store: Path | None, table: pl.DataFrame, part: str, metadata: Mapping[str, Any]
) -> tuple[ModelBaseline, ...]:
    """Judge always-ALL, size, and size and colour on the labelled cells of ``part``.

    Rules are fitted on the table's training cells or, out of fold, on the other folds. Without a
    store, or cells to fit on, always-ALL stands alone.

    Args:
        store: the store that holds the table's cells.
        table: one model's prediction table, every part of it.
        part: the part that is reported.
        metadata: of the table; ``out_of_fold`` says that it is of a cross-validation.

    Raises:
        BlastscopeError: where ``store`` is none, or lacks cells of the table.
    """
    cells = table.filter((pl.col("part") == part) & pl.col("label").is_not_null())
    is_all = (cells["label"] == ALL).to_numpy()
    found = [ModelBaseline("always ALL", _judged(cells, is_all, np.ones(len(is_all))))]
    if store is None:
        return tuple(found)
    measured = _measured(store.resolve(), (store / "store.json").stat().st_mtime_ns)
    pieces = _pieces(table, cells, part, metadata)
    rules: list[tuple[str, Callable[[], BaselineRule], Sequence[str]]] = [("size", SizeRule, SIZE)]
    if set(COLOURS) <= set(measured.columns):
        rules.append(("size and colour", Logistic, COLOURS))
    for name, rule, columns in rules if pieces else ():
        score = _score(rule, columns, measured, cells, pieces, store)
        if score is not None:
            found.append(ModelBaseline(name, _judged(cells, is_all, score)))
    return tuple(found)


@lru_cache(maxsize=4)
def _measured(store: Path, changed: int) -> pl.DataFrame:
    """Measure a store once for all the models that are judged on it.

    Returns:
        ``cell``, ``size`` and, but for a store with CLAHE, which changes the stain, the colours;
        null where a prepared picture shows no stain.
    """
    del changed  # what is asked for anew when the store is
    opened = open_store(store)
    size = pl.max_horizontal("box_w", "box_h").cast(pl.Float64)
    sizes = opened.cells.select("cell", size=size)
    if opened.settings.clahe:
        return sizes
    stains = measure(opened, opened.cells).select("cell", *COLOURS[len(SIZE) :])
    return sizes.join(stains, on="cell", how="left", maintain_order="left")


_Pieces = list[tuple[Bools, pl.DataFrame]]
"""Which of the reported cells are scored by a rule that is fitted on which cells."""


def _pieces(
    table: pl.DataFrame, cells: pl.DataFrame, part: str, metadata: Mapping[str, Any]
) -> _Pieces:
    if has_folds(cells, metadata):
        folds = cells["fold"].to_numpy()
        pieces = [
            (folds == number, cells.filter(pl.Series(folds != number)))
            for number in np.unique(folds)
        ]
    else:
        training = table.filter((pl.col("part") == "train") & pl.col("label").is_not_null())
        if part == "train":
            return []
        pieces = [(np.ones(cells.height, np.bool_), training)]
    whole = all(fitted["label"].n_unique() == 2 for _, fitted in pieces)
    return pieces if whole else []


def _score(
    rule: Callable[[], BaselineRule],
    columns: Sequence[str],
    measured: pl.DataFrame,
    cells: pl.DataFrame,
    pieces: _Pieces,
    store: Path,
) -> NDArray[np.float64] | None:
    """Score the reported cells; None where a colour of one of them could not be measured."""
    features = _features(cells, columns, measured, store)
    if features is None:
        return None
    score = np.empty(cells.height)
    for here, fitted in pieces:
        known = _features(fitted, columns, measured, store)
        if known is None:
            return None
        labels = (fitted["label"] == ALL).to_numpy()
        score[here] = rule().fit(known, labels).score(features[here])
    return score


def _features(
    cells: pl.DataFrame, columns: Sequence[str], measured: pl.DataFrame, store: Path
) -> NDArray[np.float64] | None:
    joined = cells.select("cell").join(
        measured.select("cell", *columns), on="cell", how="left", maintain_order="left"
    )
    lost = joined.filter(pl.col("size").is_null())
    if lost.height:
        raise BlastscopeError(
            f"{store} lacks {lost.height} of {cells.height} cells of the predictions (first: "
            f"{lost['cell'][0]}): give the store that they were made on."
        )
    if any(joined[name].null_count() for name in columns):
        return None
    return joined.select(columns).to_numpy().astype(np.float64)


def _judged(cells: pl.DataFrame, is_all: Bools, score: NDArray[np.float64]) -> Metrics:
    return compute_metrics(is_all, score, cells["subject"].to_list())
