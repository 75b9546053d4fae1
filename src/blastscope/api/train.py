"""Train a recipe, with one seed or several, and evaluate it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.api.evaluate import EvaluationResult, evaluate
from blastscope.api.recipes import AnyRecipe, Settings, load_recipe
from blastscope.api.result import AnyPath, FolderResult, as_path, notice, synthetic_of
from blastscope.api.track import refuse_tracking, track_folder
from blastscope.errors import BlastscopeError
from blastscope.experiments.progress import JobsProgress
from blastscope.experiments.seeds import SeedJob, SeedsRequest, begin_seeds, train_seeds
from blastscope.io.files import read_json
from blastscope.recipes.library import refuse_unread_weights
from blastscope.report.evaluation_text import headline
from blastscope.report.seeds_page import SeedsReport, report_seeds, seeds_headline, seeds_meaning
from blastscope.training.devices import (
    ALONE,
    Rank,
    check_devices,
    is_a_rank,
    joined_by_torchrun,
    run_ranks,
)
from blastscope.training.display import TrainingDisplay
from blastscope.training.run_folder import RunFolder
from blastscope.training.train import Trained
from blastscope.training.train import train as train_recipe
from blastscope.training.trainer import TrainingWatch


@dataclass(frozen=True, eq=False, repr=False)
class TrainingResult(FolderResult):
    """A run: a trained network, its predictions and its evaluation.

    Attributes:
        evaluation: of the best epoch.
        already: whether the run was finished before.
    """

    recipe: str
    evaluation: EvaluationResult
    already: bool
    synthetic = synthetic_of("evaluation")

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each split part and metric."""
        return self.evaluation.to_frame()

    def as_json(self) -> dict[str, Any]:
        """Return the recipe, the run and its metrics."""
        return {
            "recipe": self.recipe,
            "run": str(self.path),
            "already": self.already,
            "metrics": self.evaluation.as_json(),
        }

    def answers(self) -> list[str]:
        """Say how the best epoch does."""
        return [f"{self.recipe}: {headline(self.evaluation.part, self.evaluation.metrics)}"]

    def notes(self) -> list[str]:
        """Say whether the run was finished before, and which run it started from."""
        if self.already:
            return [f"{self.path} was finished before; nothing was trained."]
        start = read_json(RunFolder(self.place).environment).get("starts_from")
        return [f"It began with the weights of {start['run']}."] if start else []


@dataclass(frozen=True, eq=False, repr=False)
class SeedsResult(FolderResult):
    """Several trainings on the same split that differ in the seed alone.

    Attributes:
        found: the metrics of each seed, and their spread.
    """

    found: SeedsReport

    @property
    def synthetic(self) -> bool:
        """Whether the cells are synthetic."""
        return next(iter(self.found.results.values())).synthetic

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each seed and metric."""
        rows = [
            (seed, name, value)
            for seed, result in self.found.results.items()
            for name, value in result.metrics.items()
        ]
        schema = {"seed": pl.Int64, "metric": pl.String, "value": pl.Float64}
        return pl.DataFrame(rows, schema=schema, orient="row", strict=False)

    def as_json(self) -> dict[str, Any]:
        """Return the metrics of each seed."""
        return {
            "recipe": self.found.recipe,
            "part": self.found.part,
            "seeds": {seed: dict(one.metrics) for seed, one in self.found.results.items()},
        }

    def answers(self) -> list[str]:
        """Say what the seeds reach on average."""
        return [f"{self.found.recipe}: {seeds_headline(self.found)}"]

    def notes(self) -> list[str]:
        """Say what the spread is of."""
        return [seeds_meaning(self.found)]


def train(
    recipe: AnyRecipe,
    store: AnyPath,
    split: AnyPath,
    *,
    out: AnyPath,
    settings: Settings = (),
    device: str = "auto",
    weights_dir: AnyPath | None = None,
    start: AnyPath | None = None,
    teachers: Sequence[AnyPath] = (),
    pseudo_labels: Sequence[AnyPath] = (),
    average: Sequence[AnyPath] = (),
    keep_features: bool = True,
    tensorboard: bool = False,
    seeds: int = 1,
    devices: int = 1,
    nodes: int = 1,
    track: str | None = None,
    progress: bool = False,
) -> TrainingResult | SeedsResult:
    """Train a recipe, then evaluate its best epoch.

    If it is interrupted, the same call goes on where it stopped.

    Args:
        recipe: a packaged recipe's name, the path of a ``.yaml``, or a recipe.
        store: the prepared cells.
        split: the split of that store.
        out: the run's folder; with several seeds a folder of runs.
        settings: settings of the recipe to change, ``{"training.epochs": 3}``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        weights_dir: a folder with ImageNet weights; without it they come from timm's hub.
        start: the run whose weights the recipe starts from; by default the one beside ``out``.
        teachers: for a recipe with ``training.distillation``: runs, ensembles or prediction tables
            whose probabilities it learns from.
        pseudo_labels: runs, ensembles or prediction tables of the same split. Test cells that they
            call with certainty join the training, with these calls as labels. This is
            transductive, and the evaluation says so.
        average: for a recipe with ``model.weights: averaged``: two or more finished runs on the
            same split that began with the same pretrained weights; the network is their mean.
        keep_features: keep what a frozen backbone computes on the disk.
        tensorboard: write TensorBoard events into the run as well.
        seeds: how many trainings on the same split, from the recipe's seed on.
        devices: how many GPUs of each machine share every batch; with ``device="cpu"`` how many
            processes. The batch is the recipe's, whatever their number (docs/scale.md).
        nodes: how many machines; the same call is made on each, by ``torchrun`` or with
            ``MASTER_ADDR``, ``MASTER_PORT`` and ``NODE_RANK`` set, and all see the same folders.
        track: record what was written in MLflow: ``mlflow``, for an SQLite file in ``out``, or
            ``mlflow:URI`` (docs/tracking.md).
        progress: show the epochs on standard error.

    Returns:
        The run, or the runs of several seeds; it can be given to every verb that takes a run.

    Raises:
        BlastscopeError: if recipe, store and split do not fit each other, weights are missing, or
            the folder is another's or cannot be written; or if there are not so many devices.
    """
    loaded, run, cells = load_recipe(recipe, settings), Path(out), Path(store)
    weights, begin = as_path(weights_dir), as_path(start)
    refuse_tracking(track)
    refuse_unread_weights([loaded], weights)
    if seeds > 1 and (teachers or pseudo_labels or average):
        raise BlastscopeError(
            "Several seeds cannot learn from teachers or pseudo-labels, or average runs: train "
            "them one by one."
        )
    if average and devices * nodes > 1:
        raise BlastscopeError("A mean of runs is computed on one device: leave --devices out.")
    if average and tensorboard:
        raise BlastscopeError("A mean of runs has no epoch to record: leave --tensorboard out.")
    check_devices(devices, nodes, device, loaded.training.batch)
    if seeds > 1:
        if devices * nodes > 1:
            raise BlastscopeError(
                "Several seeds are trained on one device each: leave --devices out, or train them "
                "one by one."
            )
        request = SeedsRequest(
            loaded, cells, Path(split), run, seeds, device, weights, begin, keep_features
        )
        several = _train_seeds(request, tensorboard, progress)
        track_folder(track, run, progress)
        return several
    work = partial(
        train_recipe, loaded, cells, Path(split), run, device=device, weights_dir=weights,
        start=begin, teachers=tuple(map(Path, teachers)),
        pseudo_labels=tuple(map(Path, pseudo_labels)), average=tuple(map(Path, average)),
        keep_features=keep_features,
    )  # fmt: skip
    do = partial(_train_shown, work=work, name=loaded.name, tensorboard=tensorboard, show=progress)
    if is_a_rank():
        with joined_by_torchrun(nodes, device) as rank:
            done = do(rank)
            rank.wait()
    elif devices * nodes > 1:
        rank, done = run_ranks(do, devices, nodes, device)
    else:
        rank, done = ALONE, do(ALONE)
    # Other ranks, perhaps on other machines, write nothing.
    found = evaluate_run(done, cells) if rank.first else evaluate(run, done.part, store=cells)
    if rank.first:
        track_folder(track, run, progress)
    return TrainingResult(loaded.name, found, done.already, path=run)


def _train_shown(
    rank: Rank, *, work: Callable[..., Trained], name: str, tensorboard: bool, show: bool
) -> Trained:
    """Train as one rank, or as the only one, and show it; only the first one shows anything."""
    if not (show and rank.first):
        return work(watch=TrainingWatch(tensorboard), rank=rank)
    with TrainingDisplay(name) as display:
        return work(watch=display.watch(tensorboard), rank=rank)


def evaluate_run(run: Trained, store: Path) -> EvaluationResult:
    """Evaluate a run into its own folder, with the baselines of its store."""
    return evaluate(run.path, run.part, out=run.path, store=store)


def _train_seeds(request: SeedsRequest, tensorboard: bool, progress: bool) -> SeedsResult:
    """Train and evaluate the seeds, then write their spread."""
    with begin_seeds(request) as seeds:
        with JobsProgress(
            [SeedJob(seed) for seed in seeds.all], notice, tensorboard=tensorboard, show=progress,
            headline=lambda found: headline(found.part, found.metrics),
        ) as shown:  # fmt: skip
            evaluate_seed = partial(evaluate_run, store=request.store)
            results = train_seeds(seeds, evaluate_seed, watch=shown.watch, on_done=shown.tell)
        found = report_seeds(seeds, results)
    return SeedsResult(found, path=request.out)
