"""The networks of a cross-validation's folds as one model for new cells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.api.result import AnyPath, FolderResult, as_path
from blastscope.ensemble.build import METHOD_NAMES
from blastscope.ensemble.combination import Combination
from blastscope.ensemble.ensemble_folder import (
    EnsembleFolder,
    ensemble_member,
    read_ensemble,
    write_ensemble,
)
from blastscope.ensemble.methods import fit_nothing
from blastscope.errors import BlastscopeError
from blastscope.evaluation.sources import CROSSVAL, ENSEMBLE, FOLDS
from blastscope.experiments.crossval_folder import fold_runs
from blastscope.io.files import only_one
from blastscope.training.finished_run import FinishedRun, open_run

BY_FOLDS = ("mean", "vote")


@dataclass(frozen=True, eq=False, repr=False)
class FoldEnsembleResult(FolderResult):
    """The networks of the folds of one cross-validation, combined for cells that it did not have.

    No cell of the cross-validation is unseen by all of them, so there is nothing to judge the
    combination by: the cross-validation's own metrics are of one network a cell.
    """

    name: str
    combination: Combination
    runs: tuple[FinishedRun, ...]

    @property
    def synthetic(self) -> bool:
        """Whether any network was trained on synthetic cells."""
        return any(run.synthetic for run in self.runs)

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each network."""
        rows = [(str(run.path), run.recipe.name, run.checkpoint) for run in self.runs]
        return pl.DataFrame(rows, schema=["run", "recipe", "checkpoint"], orient="row")

    def as_json(self) -> dict[str, Any]:
        """Return the members and the rule."""
        return {
            "name": self.name,
            "method": self.combination.method,
            "needed": self.combination.needed,
            "members": self.to_frame().to_dicts(),
        }

    def answers(self) -> list[str]:
        """Say what was combined."""
        return [f"{self.name}, for new cells"]

    def notes(self) -> list[str]:
        """Return a note on why the result has no metrics."""
        return [
            "Every cell of the cross-validation was seen in training by some of its networks: the "
            "metrics of single folds are there, and those of the ensemble need other cells."
        ]


def combine_folds(
    crossval: AnyPath,
    *,
    out: AnyPath | None = None,
    method: str = "mean",
    votes: int | None = None,
    force: bool = False,
) -> FoldEnsembleResult:
    """Combine the networks of a cross-validation's folds into one model for new cells.

    With ``out`` it writes ``ensemble.json``, with which ``predict`` predicts cells that were not in
    the cross-validation.

    Args:
        crossval: a finished cross-validation; of its repeats the first is taken.
        out: the folder to write to; nothing is written without it.
        method: ``mean`` or ``vote``; no cells are left to fit weights on.
        votes: with the method vote, how many networks must call a cell ALL; the majority by
            default.
        force: replace another ensemble that is in ``out``.

    Returns:
        The members and the rule.

    Raises:
        BlastscopeError: if the method must be fitted, the cross-validation is not finished, or
            ``out`` holds something else.
    """
    crossval, out = Path(crossval), as_path(out)
    if votes is not None and method != "vote":
        raise BlastscopeError(f"`votes` is a setting of vote and not of {method}: leave it out.")
    if method not in BY_FOLDS:
        raise BlastscopeError(
            f"{crossval} has no cells that all of its networks left out, which {method} would be "
            "fitted on: choose mean or vote."
        )
    runs = tuple(open_run(path) for path in fold_runs(crossval))
    combination = fit_nothing(method, len(runs), votes)
    name = f"{METHOD_NAMES[method]} of {len(runs)} folds of {runs[0].recipe.name}"
    if out is None:
        return FoldEnsembleResult(name, combination, runs)
    members = tuple(
        ensemble_member(f"fold {k}", run.path, run.checkpoint, out)
        for k, run in enumerate(runs, start=1)
    )
    synthetic = any(run.synthetic for run in runs)
    about = EnsembleFolder(name, combination, members, synthetic, {FOLDS: len(runs)})
    with only_one(out.absolute()):
        _refuse_other(out, about, force)
        write_ensemble(about, out)
    return FoldEnsembleResult(name, combination, runs, path=out)


def _refuse_other(out: Path, about: EnsembleFolder, force: bool) -> None:
    """Refuse a folder that holds something else."""
    if (out / CROSSVAL).exists() or (out / "predictions.parquet").exists():
        raise BlastscopeError(f"{out} holds predictions of something else: choose another folder.")
    if (out / ENSEMBLE).exists() and not force and read_ensemble(out) != about:
        raise BlastscopeError(
            f"{out} holds another ensemble: choose another folder, or replace it with `--force`."
        )
