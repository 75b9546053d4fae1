"""One trial of a search: train a recipe, score it, and stop it early if others are ahead."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.errors import BlastscopeError
from blastscope.io.files import remove_folder
from blastscope.io.predictions import read_predictions
from blastscope.recipes.schema import Recipe
from blastscope.training.train import train
from blastscope.training.trainer import TrainingWatch
from blastscope.tuning.search_folder import Search

Report = Callable[[int, float], bool]
"""Takes a step, from 1, and the score after it; says whether to stop the trial."""


@dataclass(frozen=True)
class TrialScore:
    """How a trial ended.

    Attributes:
        score: of the finished network or networks; None if the trial was pruned.
        steps: epochs, or folds, that were scored.
    """

    score: float | None
    steps: int
    seconds: float

    @property
    def pruned(self) -> bool:
        """Whether it was stopped because others were ahead."""
        return self.score is None


class _Pruned(Exception):  # noqa: N818 - not an error
    """Ends a training from within."""


def run_trial(
    search: Search,
    recipe: Recipe,
    folder: Path,
    report: Report | None = None,
    watch: TrainingWatch | None = None,
) -> TrialScore:
    """Train and score a recipe in ``folder``, which is removed in the end.

    A trial that was interrupted goes on after its last whole epoch.

    Args:
        report: told of the score after each epoch, or after each fold if there are several.
        watch: shown the training.

    Raises:
        BlastscopeError: if the recipe cannot be trained or its score is not a number.
    """
    began = time.perf_counter()
    told = _Told(report)
    try:
        score = _folds(search, recipe, folder, told, watch or TrainingWatch())
    except _Pruned:
        score = None
    if score is not None and math.isnan(score):
        raise BlastscopeError("its score is not a number")
    remove_folder(folder)
    return TrialScore(score, told.steps, time.perf_counter() - began)


@dataclass
class _Told:
    """Passes scores on, and ends the training if it is to stop."""

    report: Report | None
    steps: int = 0

    def __call__(self, step: int, score: float) -> None:
        self.steps = step
        if math.isnan(score) or self.report is None:  # a training that diverges ends by itself
            return
        if self.report(step, score):
            raise _Pruned


def _folds(
    search: Search, recipe: Recipe, folder: Path, told: _Told, watch: TrainingWatch
) -> float:
    """Train the network of each split, and return the score of all their cells together."""
    several = len(search.splits) > 1
    if not several:

        def on_validation(epoch: int, p_all: NDArray[np.float64]) -> None:
            told(epoch, search.scored.score(p_all))

        watch = replace(watch, on_validation=on_validation)
    found: list[pl.DataFrame] = []
    for number, split in enumerate(search.splits):
        run = train(
            recipe,
            search.request.store,
            split,
            folder / split.stem,
            device=search.request.device,
            weights_dir=search.request.weights_dir,
            watch=watch,
        ).path
        rows, _ = read_predictions(run / "predictions.parquet")
        found.append(rows.filter(pl.col("part") == search.tested))
        if several:
            so_far = search.scored.up_to_fold(number)
            told(number + 1, so_far.score(_aligned(so_far.cells, found)))
    return search.scored.score(_aligned(search.scored.cells, found))


def _aligned(cells: pl.DataFrame, found: list[pl.DataFrame]) -> NDArray[np.float64]:
    """Return the probability of ALL of each cell, in the order of ``cells``."""
    known = pl.concat([rows.select("cell", "p_all") for rows in found])
    joined = cells.select("cell").join(known, on="cell", how="left", maintain_order="left")
    p_all: NDArray[np.float64] = joined["p_all"].to_numpy()
    return p_all
