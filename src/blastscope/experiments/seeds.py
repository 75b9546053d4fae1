"""Train one recipe with several seeds: how far training alone moves the metrics.

Split, cells and the weights that a recipe starts from stay the same. The seed draws new weights,
the order of cells, copies, augmentation and dropout.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import polars as pl

from blastscope.errors import BlastscopeError
from blastscope.experiments.initial_weights import refuse_other_weights
from blastscope.experiments.runner import Failure, run_jobs
from blastscope.experiments.weights_at_hand import refuse_weights_at_hand
from blastscope.io.predictions import SYNTHETIC_MARK, read_predictions, write_predictions
from blastscope.io.workfolder import FolderKind, WorkFolder
from blastscope.recipes.schema import Recipe
from blastscope.training.dataset import read_inputs
from blastscope.training.initial_run import find_start, refuse_other_start
from blastscope.training.run_folder import RunFolder
from blastscope.training.train import Trained, run_identity, train
from blastscope.training.trainer import TrainingWatch

Result = TypeVar("Result")
FORMAT = "blastscope-seeds/2"
_KIND = FolderKind("seeds.json", FORMAT)


@dataclass(frozen=True)
class SeedsRequest:
    """A request for several seeds, from that of the recipe on.

    Attributes:
        start: the run whose weights the recipe starts from, the same one for every seed; by default
            it is looked for beside ``out``.
        keep_features: as :func:`blastscope.training.train.train` has it.
    """

    recipe: Recipe
    store: Path
    split: Path
    out: Path
    count: int
    device: str = "auto"
    weights_dir: Path | None = None
    start: Path | None = None
    keep_features: bool = True

    @property
    def predictions(self) -> Path:
        """The prediction table of all seeds."""
        return self.out / "predictions.parquet"

    def run(self, seed: int) -> Path:
        """The folder of a seed's run."""
        return self.out / f"seed{seed}"


@dataclass(frozen=True)
class Seeds:
    """A folder of seeds that is begun.

    Attributes:
        all: the requested seeds and those that an earlier call finished, in order.
        start: the run that every seed starts from.
    """

    request: SeedsRequest
    folder: WorkFolder
    all: tuple[int, ...]
    start: Path | None

    def train(self, seed: int, watch: TrainingWatch | None = None) -> Trained:
        """Train one seed; a finished run is left as it is."""
        request = self.request
        return train(
            request.recipe.with_seed(seed),
            request.store,
            request.split,
            request.run(seed),
            device=request.device,
            weights_dir=request.weights_dir,
            start=self.start,
            keep_features=request.keep_features,
            watch=watch,
        )


@dataclass(frozen=True)
class SeedJob:
    """The training of one seed, for the runner."""

    seed: int
    needs = None

    @property
    def key(self) -> int:
        """What tells it from the other seeds."""
        return self.seed

    @property
    def name(self) -> str:
        """What a reader calls it."""
        return f"seed {self.seed}"


def train_seeds(
    seeds: Seeds,
    evaluate: Callable[[Trained], Result],
    *,
    watch: Callable[[SeedJob], TrainingWatch] | None = None,
    on_done: Callable[[SeedJob, Result | Failure, float], None] | None = None,
) -> dict[int, Result]:
    """Train every seed that is not trained yet; return by seed what ``evaluate`` makes of its run.

    ``watch`` and ``on_done``: as :func:`blastscope.experiments.runner.run_jobs` takes them.

    Raises:
        BlastscopeError: at the end, if seeds failed; the others stay.
    """
    jobs = [SeedJob(seed) for seed in seeds.all]
    work = partial(_train_seed, seeds=seeds, evaluate=evaluate)
    outcomes = run_jobs(jobs, work, watch=watch, on_done=on_done)
    outcomes.raise_failures("seeds")
    return {seed: outcomes.results[seed] for seed in seeds.all}


def _train_seed(
    job: SeedJob,
    watch: TrainingWatch | None = None,
    *,
    seeds: Seeds,
    evaluate: Callable[[Trained], Result],
) -> Result:
    return evaluate(seeds.train(job.seed, watch))


@contextmanager
def begin_seeds(request: SeedsRequest) -> Iterator[Seeds]:
    """Begin the folder, or go on with the one that is there, and keep other processes out of it.

    Raises:
        BlastscopeError: if recipe, store and split do not fit each other, the folder is of another
            kind or of other seeds, its seeds began with other weights than those at hand, or
            another process writes it.
    """
    first = request.recipe.training.seed
    if request.count < 2 or first + request.count > 2**32:
        raise BlastscopeError(
            f"{request.count} seeds from {first} on are not possible: give two or more, below 2^32."
        )
    inputs = read_inputs(request.recipe, request.store, request.split)
    run = run_identity(request.recipe, inputs)
    identity = {**run, "experiment": request.recipe.experiment}
    folder = WorkFolder(request.out, _KIND, identity)
    with folder.locked():
        seeds = tuple(
            sorted({*range(first, first + request.count), *_finished(request.out, first)})
        )
        start = request.start
        if any(not RunFolder(request.run(seed)).finished for seed in seeds):
            start = find_start(request.recipe, request.out, start, run)
        _refuse_other_beginning(request, seeds, start)
        folder.open_or_resume()
        yield Seeds(request, folder, seeds, start)


def _refuse_other_beginning(
    request: SeedsRequest, seeds: Sequence[int], start: Path | None
) -> None:
    """Refuse to go on from another run, or other pretrained weights, than seeds began with."""
    begun = [seed for seed in seeds if RunFolder(request.run(seed)).begun]
    for seed in begun:
        refuse_other_start(RunFolder(request.run(seed)), start)
    if len(begun) < len(seeds):
        runs = [(request.recipe, request.run(seed)) for seed in begun]
        refuse_weights_at_hand(runs, [request.recipe], request.weights_dir)


def _finished(out: Path, first: int) -> list[int]:
    """List the seeds whose runs an earlier call finished."""
    found = (re.fullmatch(r"seed(0|[1-9]\d*)", path.name) for path in out.glob("seed*"))
    seeds = (int(match[1]) for match in found if match)
    return [k for k in seeds if k >= first and RunFolder(out / f"seed{k}").finished]


def gather_seeds(seeds: Seeds) -> pl.DataFrame:
    """Write one prediction table of all seeds, each a model named ``<recipe> #24`` and so on.

    It has all parts of the split, as the tables of the runs have.

    Raises:
        BlastscopeError: if seeds began with different pretrained weights.
    """
    request, frames = seeds.request, []
    refuse_other_weights(request.run(seed) for seed in seeds.all)
    mark = SYNTHETIC_MARK if seeds.folder.identity["synthetic"] else ""
    for seed in seeds.all:
        rows, _ = read_predictions(RunFolder(request.run(seed)).predictions)
        frames.append(rows.with_columns(model=pl.lit(f"{request.recipe.name} #{seed}{mark}")))
    told = ("recipe", "store", "split", "protocol", "synthetic")
    metadata = {**{key: seeds.folder.identity[key] for key in told}, "seeds": list(seeds.all)}
    metadata["settings"] = request.recipe.settings
    table = pl.concat(frames)
    write_predictions(table, request.predictions, metadata)
    return table
