"""Running a cross-validation: a network a fold, each tested on the cells that it never saw."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from blastscope.data.folds import FoldPlan, make_folds
from blastscope.data.store import Store, open_store
from blastscope.errors import BlastscopeError
from blastscope.experiments.crossval_folder import CrossvalRequest, begin
from blastscope.io.files import only_one
from blastscope.io.predictions import SYNTHETIC_MARK, read_predictions, write_predictions
from blastscope.parallel import Crew, Lost, cores
from blastscope.recipes.library import load_recipe
from blastscope.recipes.schema import Recipe
from blastscope.training.trainer import TrainingWatch


@dataclass(frozen=True)
class Fold:
    """One fold of one repeat.

    Attributes:
        repeat: from 1.
        number: from 1.
        split: the file with its parts.
        folder: where its runs stand, each under its recipe's name.
    """

    repeat: int
    number: int
    split: Path
    folder: Path

    def run(self, recipe: Recipe) -> Path:
        """The folder of the run of a recipe."""
        return self.folder / Path(recipe.name).name


@dataclass(frozen=True)
class CrossvalRun:
    """A cross-validation laid out: what is to be trained."""

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
    """Load a recipe behind those that it starts from.

    Raises:
        BlastscopeError: where one of them is not known, or a setting is none of a recipe's.
    """
    recipes = [load_recipe(name, overrides)]
    while (start := recipes[0].starts_from) is not None:
        recipes.insert(0, load_recipe(start, overrides))
    return tuple(recipes)


def lay_out(order: CrossvalRequest) -> CrossvalRun:
    """Cut the folds and write their splits; what is there already stays.

    Raises:
        BlastscopeError: where the folder is another's, or the cells cannot be cut so.
    """
    store = open_store(order.store)
    seeds = [order.seed + repeat for repeat in range(order.repeats)]
    plans = tuple(make_folds(store.cells, order.by, order.folds, seed) for seed in seeds)
    begin(order, store.fingerprint)
    folds = []
    for repeat, plan in enumerate(plans, 1):
        for number, split in enumerate(plan.splits, 1):
            name = f"repeat{repeat}-fold{number}"
            path = order.out / "splits" / f"{name}.parquet"
            split.write(path)
            folds.append(Fold(repeat, number, path, order.out / "runs" / name))
    return CrossvalRun(order, plans, tuple(folds), store)


def train_fold(
    fold: Fold,
    order: CrossvalRequest,
    watch: TrainingWatch | None = None,
    threads: int | None = None,
) -> str:
    """Train a fold's networks, those that are not yet; return why it failed, or nothing.

    Args:
        fold: the fold.
        order: what it belongs to.
        watch: whom to tell of batches and epochs.
        threads: its share of the cores, where other folds are trained beside it.
    """
    from blastscope.training.train import train

    try:
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        start = None
        for recipe in order.recipes:
            seed = order.seed + fold.repeat - 1
            training = recipe.training.model_copy(update={"seed": seed})
            made = train(
                recipe.model_copy(update={"training": training}),
                order.store,
                fold.split,
                fold.run(recipe),
                device=order.device,
                weights_dir=order.weights_dir,
                start=start,
                watch=watch,
            )
            start = made.path
    except BlastscopeError as error:
        return str(error)
    except Exception as error:  # a full GPU, a full disk, a defect: the other folds go on
        reason = next(iter(str(error).splitlines()), "")
        return f"{type(error).__name__}: {reason}".rstrip(": ")
    return ""


def train_folds(
    started: CrossvalRun,
    jobs: int = 1,
    watch: Callable[[Fold], TrainingWatch] | None = None,
    on_done: Callable[[Fold, str], None] = lambda fold, failure: None,
) -> None:
    """Train every fold that is not trained yet.

    Args:
        started: the cross-validation.
        jobs: how many folds at a time, each in a process with its share of the cores.
        watch: makes what shows a fold's progress; with one at a time only.
        on_done: told of each fold, with why it failed or nothing.

    Raises:
        BlastscopeError: at the end, where folds failed; those that are trained stay.
    """
    failed = []
    with only_one(started.order.out.absolute()):
        results = _one_by_one(started, watch) if jobs == 1 else _at_once(started, jobs)
        with closing(results):
            for fold, failure in results:
                on_done(fold, failure)
                if failure:
                    failed.append(failure)
    if failed:
        raise BlastscopeError(
            f"{len(failed)} of {len(started.folds)} folds failed (the first: {failed[0]}); the "
            "others stay, and the same command goes on with what is left."
        )


def _one_by_one(
    started: CrossvalRun, watch: Callable[[Fold], TrainingWatch] | None
) -> Generator[tuple[Fold, str]]:
    for fold in started.left:
        yield fold, train_fold(fold, started.order, watch(fold) if watch else None)


def _at_once(started: CrossvalRun, jobs: int) -> Generator[tuple[Fold, str]]:
    waiting = deque(started.left)
    left = len(waiting)
    work = partial(train_fold, order=started.order, threads=max(1, cores() // jobs))
    with Crew[Fold, str](work, jobs) as crew:
        while left:
            while waiting and crew.free:
                crew.start(waiting.popleft())
            for fold, result in crew.finished():
                left -= 1
                yield fold, str(result) if isinstance(result, Lost) else result


def gather(started: CrossvalRun) -> pl.DataFrame:
    """Write the out-of-fold table: every cell once a repeat, predicted where it was tested.

    The model is the recipe; with several repeats each has a name of its own, ``<recipe> #2``.

    Returns:
        The table, with the columns ``repeat`` and ``fold`` beside the contract's.
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
