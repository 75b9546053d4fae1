"""The data of a training: store, split and recipe, checked against each other before a step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.data.names import ALL
from blastscope.data.split_table import USES, Split, read_split
from blastscope.data.store import Store, open_store
from blastscope.errors import BlastscopeError
from blastscope.io.predictions import PARTS
from blastscope.recipes.schema import Recipe
from blastscope.recipes.training import HeterogeneityTerm
from blastscope.training.batches import SubjectBatches
from blastscope.training.class_balance import Bools, Rows, TrainingSet, balanced, from_uses


@dataclass(frozen=True)
class TrainingData:
    """A store and a split that fit a recipe."""

    store: Store
    split: Split
    rows: dict[str, Rows]  # the store's rows of each part
    # For each row of the store, whether the cell is ALL.
    is_all: Bools
    training: TrainingSet
    # For each row of the store, what a training cell is to be taken for: 1 is ALL. None: its label.
    targets: NDArray[np.float32] | None = None


def read_inputs(recipe: Recipe, store_path: Path, split_path: Path) -> TrainingData:
    """Open store and split and find each part's rows.

    Raises:
        BlastscopeError: if the store is not prepared by the recipe's settings, the split names
            cells that the store lacks, or a part or a class is empty.
    """
    store, split = open_store(store_path), read_split(split_path)
    _refuse_other_preparation(recipe, store)
    placed = store.cells.with_row_index("row").join(split.table, on="cell", how="inner")
    absent = split.table.height - placed.height
    if absent:
        raise BlastscopeError(
            f"{split_path} names {absent} cells that {store_path} lacks: split this store."
        )
    if placed["label"].null_count():
        raise BlastscopeError(f"{split_path} names cells without a label: split the store again.")
    of_part = {part: placed.filter(pl.col("part") == part).sort("row") for part in PARTS}
    rows = {part: of_part[part]["row"].to_numpy().astype(np.int64) for part in PARTS}
    for part in ("train", "validation"):
        if not len(rows[part]):
            raise BlastscopeError(
                f"{split_path} has no {part} part, which training needs: split the store again."
            )
    is_all = (store.cells["label"].fill_null("") == ALL).to_numpy()
    training = _training_set(recipe, of_part["train"], rows["train"], is_all)
    return TrainingData(store, split, rows, is_all, training)


def _refuse_other_preparation(recipe: Recipe, store: Store) -> None:
    """Refuse a store that is not prepared by the recipe's settings."""
    wanted = recipe.input
    flags = f"--size {wanted.size} --scale {wanted.scale}{' --clahe' * wanted.clahe}"
    if wanted.stain_method != "none":
        flags += f" --colour-normalization {wanted.stain_method}"
    made = store.settings
    pairs = (
        ("size", wanted.size, made.size),
        ("scale", wanted.scale, made.scale),
        ("clahe", wanted.clahe, made.clahe),
        ("colour_normalization", wanted.stain_method, made.colour_normalization),
    )
    differ = [
        (name, str(of_recipe).lower(), str(of_store).lower())
        for name, of_recipe, of_store in pairs
        if of_recipe != of_store
    ]
    if not differ:
        return
    name, value, found = differ[0]
    changes = " ".join(f"--set input.{name}={found}" for name, _, found in differ)
    raise BlastscopeError(
        f"{recipe.name} needs cells of {name} {value}, and {store.path} has {found}: prepare a "
        f"store with {flags}, or give {changes}."
    )


def _training_set(recipe: Recipe, table: pl.DataFrame, rows: Rows, is_all: Bools) -> TrainingSet:
    how, seed = recipe.training.balance, recipe.training.seed
    if how == "paper" and USES in table.columns:
        return from_uses(rows, table[USES].to_numpy(), seed)
    return balanced(rows, is_all[rows], how, seed)


def subject_batches(inputs: TrainingData, settings: HeterogeneityTerm) -> SubjectBatches:
    """Return what draws batches of several subjects of each class.

    Raises:
        BlastscopeError: if a class has fewer subjects for training than a batch is to have, or a
            cell names none.
    """
    rows = inputs.training.rows
    names = inputs.store.cells["subject"][rows.tolist()]
    if names.null_count():
        raise BlastscopeError(
            f"{names.null_count()} training cells name no subject, by which batches are drawn "
            "(training.heterogeneity): choose a split without them."
        )
    _, codes = np.unique(names.to_numpy().astype(str), return_inverse=True)
    is_all = inputs.is_all[rows]
    for label, of_class in (("ALL", is_all), ("normal", ~is_all)):
        count = len(np.unique(codes[of_class]))
        if count < settings.subjects:
            fewer = f"set training.heterogeneity.subjects={count} or lower"
            remedy = fewer if count > 1 else "choose a split with two or more for training"
            raise BlastscopeError(
                f"Batches need {settings.subjects} {label} subjects, and {count} are for training: "
                f"{remedy}."
            )
    return SubjectBatches(codes.astype(np.int64), is_all, settings.subjects)
