"""Run a cross-validation: one network for each fold, tested on the cells it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from blastscope.cluster import LOCAL
from blastscope.data.folds import FoldPlan, make_folds
from blastscope.data.split_table import read_split
from blastscope.data.store import Store, open_store
from blastscope.errors import BlastscopeError, listing
from blastscope.experiments.crossval_folder import CrossvalRequest
from blastscope.experiments.runner import Failure, run_jobs
from blastscope.io.files import only_one, read_json
from blastscope.io.predictions import SYNTHETIC_MARK, read_predictions, write_predictions
from blastscope.recipes.schema import AVERAGED, Recipe
from blastscope.training.average_runs import refuse_without_effect
from blastscope.training.distillation import learns_from_teachers
from blastscope.training.trainer import TrainingWatch

_MARKER = "crossval.json"


@dataclass(frozen=True)
class Fold:
    """One fold of one repeat, both counted from 1: the file of its split, its folder of runs."""

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

    request: CrossvalRequest
    plans: tuple[FoldPlan, ...]
    folds: tuple[Fold, ...]
    store: Store

    @property
    def left(self) -> list[Fold]:
        """The folds that are not trained yet."""
        last = self.request.recipes[-1]
        return [f for f in self.folds if not (f.run(last) / "predictions.parquet").is_file()]


def lay_out(request: CrossvalRequest) -> CrossvalRun:
    """Cut the folds and write their splits; those that are there stay."""
    _refuse_misfits(request)
    store = open_store(request.store)
    seeds = [request.seed + repeat for repeat in range(request.repeats)]
    cells = _taking_part(store.cells, request.without)
    plans = tuple(make_folds(cells, request.by, request.folds, seed) for seed in seeds)
    request.folder(store.fingerprint).open_or_resume()
    folds = []
    for repeat, plan in enumerate(plans, 1):
        for number, split in enumerate(plan.splits, 1):
            name = f"repeat{repeat}-fold{number}"
            path = request.out / "splits" / f"{name}.parquet"
            split.write(path)
            folds.append(Fold(repeat, number, path, request.out / "runs" / name))
    return CrossvalRun(request, plans, tuple(folds), store)


def _refuse_misfits(request: CrossvalRequest) -> None:
    """Refuse other cross-validations that no recipe of the chain needs, or the lack of those."""
    averages = any(recipe.model.weights == AVERAGED for recipe in request.recipes)
    if len(request.average) == 1 or averages != bool(request.average):
        raise BlastscopeError(
            f"{request.name} and --average do not fit each other: a recipe with model.weights: "
            f"{AVERAGED} needs two or more cross-validations, and no other recipe takes any."
        )
    learns = any(map(learns_from_teachers, request.recipes))
    if not learns:
        refuse_without_effect(request.recipes[-1], request.teachers)
    if learns != bool(request.teachers):
        raise BlastscopeError(
            f"{request.name} and --teacher do not fit each other: a recipe with "
            "training.distillation needs a cross-validation to learn from, and no other takes any."
        )


def _taking_part(cells: pl.DataFrame, without: Sequence[str]) -> pl.DataFrame:
    """Return the cells but for those of some of the data set's own folds."""
    known = set(cells["fold"].drop_nulls())
    for name in without:
        if name not in known:
            raise BlastscopeError(
                f"No cell is of the fold '{name}': the store has {listing(sorted(known))}."
            )
    return cells.filter(~pl.col("fold").is_in(list(without)).fill_null(False))


def refuse_misfits(started: CrossvalRun) -> None:
    """Refuse what folds that are left would be refused for when their turn comes.

    Raises:
        BlastscopeError: if folds began with other pretrained weights than those at hand, or other
            cross-validations lack folds or cannot be averaged.
    """
    from blastscope.experiments.weights_at_hand import refuse_weights_at_hand
    from blastscope.training.run_folder import RunFolder

    request, left = started.request, started.left
    begun = [(recipe, fold.run(recipe)) for recipe in request.recipes for fold in started.folds]
    if left:
        waiting = [recipe for recipe, run in begun if not RunFolder(run).begun]
        refuse_weights_at_hand(begun, waiting, request.weights_dir)
    for fold in left:
        for path in request.teachers:
            fold_run(path, fold)
        for recipe in request.recipes:
            if recipe.model.weights == AVERAGED:
                _refuse_average(recipe, fold, started)


def _refuse_average(recipe: Recipe, fold: Fold, started: CrossvalRun) -> None:
    from blastscope.training.average_runs import runs_to_average

    runs = [fold_run(path, fold) for path in started.request.average]
    identity = {"store": started.store.fingerprint, "split": read_split(fold.split).hash}
    runs_to_average(recipe, runs, identity)


def train_fold(fold: Fold, watch: TrainingWatch | None = None, *, request: CrossvalRequest) -> str:
    """Train those of a fold's networks that are not trained yet; return ``trained``."""
    from blastscope.training.train import train

    start = None
    for recipe in request.recipes:
        teachers = [fold_run(path, fold) for path in request.teachers]
        average = [fold_run(path, fold) for path in request.average]
        start = train(
            recipe.with_seed(recipe.training.seed + fold.repeat - 1),
            request.store,
            fold.split,
            fold.run(recipe),
            device=request.device,
            weights_dir=request.weights_dir,
            start=start,
            teachers=teachers if learns_from_teachers(recipe) else (),
            average=average if recipe.model.weights == AVERAGED else (),
            watch=watch,
        ).path
    return "trained"


def fold_run(crossval: Path, fold: Fold) -> Path:
    """Return the run of the same fold in another cross-validation.

    Raises:
        BlastscopeError: if the other one is not finished or has no such fold.
    """
    content = read_json(crossval / _MARKER)
    run = crossval / "runs" / fold.folder.name / Path(str(content.get("recipe"))).name
    if not (run / "predictions.parquet").is_file():
        raise BlastscopeError(
            f"{crossval} has no finished {fold.name}: give a cross-validation of the same folds."
        )
    return run


def train_folds(
    started: CrossvalRun,
    jobs: int = 1,
    watch: Callable[[Fold], TrainingWatch] | None = None,
    on_done: Callable[[Fold, str | Failure, float], None] | None = None,
    engine: str = LOCAL,
) -> None:
    """Train every fold that is not trained yet, ``jobs`` of them at the same time.

    ``watch``, ``on_done`` and ``engine``: as :func:`blastscope.experiments.runner.run_jobs` takes
    them.

    Raises:
        BlastscopeError: before anything is trained, as :func:`refuse_misfits`; at the end, if folds
            failed; those that are trained stay.
    """
    refuse_misfits(started)
    work = partial(train_fold, request=started.request)
    with only_one(started.request.out.absolute()):
        outcomes = run_jobs(
            started.left, work, jobs, watch=watch, on_done=on_done, engine=engine,
            device=started.request.device,
        )  # fmt: skip
    outcomes.raise_failures("folds")


def gather(started: CrossvalRun) -> pl.DataFrame:
    """Write the out-of-fold table: every cell once per repeat, as its test fold predicted it.

    The model is named after the recipe; with several repeats, ``<recipe> #2`` and so on.

    Returns:
        The table, with the further columns ``repeat`` and ``fold``.
    """
    request, frames = started.request, []
    mark = SYNTHETIC_MARK if started.store.synthetic else ""
    for fold in started.folds:
        rows, _ = read_predictions(fold.run(request.recipes[-1]) / "predictions.parquet")
        model = request.name + (f" #{fold.repeat}" if request.repeats > 1 else "") + mark
        about = {"model": model, "repeat": fold.repeat, "fold": fold.number}
        tested = rows.filter(pl.col("part") == "test")
        frames.append(tested.with_columns(**{name: pl.lit(value) for name, value in about.items()}))
    table = pl.concat(frames).sort("repeat", "cell")
    metadata = {
        "recipe": request.name + mark,
        "settings": request.recipes[-1].settings,
        "protocol": "image" if request.by in ("image", "matched") else "subject",
        "synthetic": started.store.synthetic,
        "out_of_fold": request.by,
        "store": started.store.fingerprint,
    }
    write_predictions(table, request.predictions, metadata)
    return table
