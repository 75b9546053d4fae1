"""Run a cross-validation: one network for each fold, tested on the cells it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from blastscope.data.folds import FoldPlan, make_folds
from blastscope.data.store import Store, open_store
from blastscope.experiments.crossval_folder import CrossvalRequest
from blastscope.experiments.runner import Failure, run_jobs
from blastscope.io.files import only_one
from blastscope.io.predictions import SYNTHETIC_MARK, read_predictions, write_predictions
from blastscope.recipes.library import load_recipe
from blastscope.recipes.schema import Recipe
from blastscope.training.trainer import TrainingWatch


@dataclass(frozen=True)
class Fold:
    """One fold of one repeat.

    Attributes:
        repeat: from 1.
        number: from 1.
        split: the file of its split.
        folder: the folder of its runs, each under its recipe's name.
    """

    repeat: int
    number: int
    split: Path
    folder: Path
    needs = None

    @property
    def key(self) -> tuple[int, int]:
        """What tells it from every other fold."""
        return self.repeat, self.number

    @property
    def name(self) -> str:
        """What a reader calls it."""
        return f"repeat {self.repeat}, fold {self.number}"

    def run(self, recipe: Recipe) -> Path:
        """The folder of the run of a recipe."""
        return self.folder / Path(recipe.name).name


@dataclass(frozen=True)
class CrossvalRun:
    """A cross-validation whose folds are cut."""

    order: CrossvalRequest
    plans: tuple[FoldPlan, ...]
    folds: tuple[Fold, ...]
    store: Store

    @property
    def left(self) -> list[Fold]:
        """The folds that are not trained yet."""
        last = self.order.recipes[-1]
        return [f for f in self.folds if not (f.run(last) / "predictions.parquet").is_file()]


def with_starts(name: str, overrides: Sequence[str] = ()) -> tuple[Recipe, ...]:
    """Load a recipe, after the recipes that it starts from.

    Raises:
        BlastscopeError: if one of them or a setting is not known.
    """
    recipes = [load_recipe(name, overrides)]
    while (start := recipes[0].starts_from) is not None:
        recipes.insert(0, load_recipe(start, overrides))
    return tuple(recipes)


def lay_out(order: CrossvalRequest) -> CrossvalRun:
    """Cut the folds and write their splits; those that are there stay.

    Raises:
        BlastscopeError: if the folder is another's, or the cells cannot be cut into such folds.
    """
    store = open_store(order.store)
    seeds = [order.seed + repeat for repeat in range(order.repeats)]
    plans = tuple(make_folds(store.cells, order.by, order.folds, seed) for seed in seeds)
    order.folder(store.fingerprint).open_or_resume()
    folds = []
    for repeat, plan in enumerate(plans, 1):
        for number, split in enumerate(plan.splits, 1):
            name = f"repeat{repeat}-fold{number}"
            path = order.out / "splits" / f"{name}.parquet"
            split.write(path)
            folds.append(Fold(repeat, number, path, order.out / "runs" / name))
    return CrossvalRun(order, plans, tuple(folds), store)


def train_fold(fold: Fold, watch: TrainingWatch | None = None, *, order: CrossvalRequest) -> str:
    """Train those of a fold's networks that are not trained yet; return ``trained``.

    Raises:
        BlastscopeError: if one cannot be trained.
    """
    from blastscope.training.train import train

    start = None
    for recipe in order.recipes:
        training = recipe.training.model_copy(update={"seed": order.seed + fold.repeat - 1})
        start = train(
            recipe.model_copy(update={"training": training}),
            order.store,
            fold.split,
            fold.run(recipe),
            device=order.device,
            weights_dir=order.weights_dir,
            start=start,
            watch=watch,
        ).path
    return "trained"


def train_folds(
    started: CrossvalRun,
    jobs: int = 1,
    watch: Callable[[Fold], TrainingWatch] | None = None,
    on_done: Callable[[Fold, str | Failure, float], None] | None = None,
) -> None:
    """Train every fold that is not trained yet.

    Args:
        started: the cross-validation.
        jobs: how many folds are trained at the same time.
        watch: as :func:`blastscope.experiments.runner.run_jobs` takes it.
        on_done: likewise.

    Raises:
        BlastscopeError: at the end, if folds failed; those that are trained stay.
    """
    work = partial(train_fold, order=started.order)
    with only_one(started.order.out.absolute()):
        outcomes = run_jobs(started.left, work, jobs, watch=watch, on_done=on_done)
    outcomes.raise_failures("folds")


def gather(started: CrossvalRun) -> pl.DataFrame:
    """Write the out-of-fold table: every cell once per repeat, as its test fold predicted it.

    The model is named after the recipe; with several repeats, ``<recipe> #2`` and so on.

    Returns:
        The table, with the further columns ``repeat`` and ``fold``.
    """
    order, frames = started.order, []
    name = order.name + (SYNTHETIC_MARK if started.store.synthetic else "")
    for fold in started.folds:
        rows, _ = read_predictions(fold.run(order.recipes[-1]) / "predictions.parquet")
        model = f"{order.name} #{fold.repeat}" if order.repeats > 1 else order.name
        model += SYNTHETIC_MARK if started.store.synthetic else ""
        tested = rows.filter(pl.col("part") == "test")
        number = pl.lit(fold.number).alias("fold")
        frames.append(
            tested.with_columns(
                pl.lit(model).alias("model"), pl.lit(fold.repeat).alias("repeat"), number
            )
        )
    table = pl.concat(frames).sort("repeat", "cell")
    metadata = {
        "recipe": name,
        "protocol": "image" if order.by in ("image", "matched") else "subject",
        "synthetic": started.store.synthetic,
        "out_of_fold": order.by,
        "store": started.store.fingerprint,
    }
    write_predictions(table, order.predictions, metadata)
    return table
