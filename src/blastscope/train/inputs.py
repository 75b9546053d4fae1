"""What a training reads: store, split and recipe, held against each other before a step is run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from blastscope.cells.names import ALL
from blastscope.errors import BlastscopeError
from blastscope.prepare.store import Store, open_store
from blastscope.recipes.schema import Recipe
from blastscope.splits.parts import PARTS, USES, Split, read_split
from blastscope.train.balance import Rows, TrainingSet, balanced, from_uses


@dataclass(frozen=True)
class Inputs:
    """A store and a split that fit a recipe."""

    store: Store
    split: Split
    rows: dict[str, Rows]
    """The store's rows of each part."""
    is_all: np.ndarray[Any, np.dtype[np.bool_]]
    """For each row of the store, whether the cell is ALL."""
    training: TrainingSet


def read_inputs(recipe: Recipe, store_path: Path, split_path: Path) -> Inputs:
    """Open store and split and find each part's rows.

    Raises:
        BlastscopeError: where the store is of another size than the recipe wants, the split names
            cells that the store lacks, or a part or a class is empty.
    """
    store, split = open_store(store_path), read_split(split_path)
    if store.settings.size != recipe.input.size:
        size = store.settings.size
        raise BlastscopeError(
            f"{recipe.name} wants cells of {recipe.input.size} pixels and {store_path} has {size}: "
            f"prepare a store with --size {recipe.input.size}, or give --set input.size={size}."
        )
    placed = store.cells.with_row_index("row").join(split.table, on="cell", how="inner")
    absent = split.table.height - placed.height
    if absent:
        raise BlastscopeError(
            f"{split_path} names {absent} cells that {store_path} does not hold: split this store."
        )
    if placed["label"].null_count():
        raise BlastscopeError(f"{split_path} names cells without a label: split the store again.")
    of_part = {part: placed.filter(pl.col("part") == part).sort("row") for part in PARTS}
    rows = {part: of_part[part]["row"].to_numpy().astype(np.int64) for part in PARTS}
    for part in ("train", "validation"):
        if not len(rows[part]):
            raise BlastscopeError(f"{split_path} has no {part} part: a training needs one.")
    is_all = (store.cells["label"].fill_null("") == ALL).to_numpy()
    training = _training_set(recipe, of_part["train"], rows["train"], is_all)
    return Inputs(store, split, rows, is_all, training)


def _training_set(
    recipe: Recipe, table: pl.DataFrame, rows: Rows, is_all: np.ndarray[Any, np.dtype[np.bool_]]
) -> TrainingSet:
    how, seed = recipe.training.balance, recipe.training.seed
    if how == "paper" and USES in table.columns:
        return from_uses(rows, table[USES].to_numpy(), seed)
    return balanced(rows, is_all[rows], how, seed)
