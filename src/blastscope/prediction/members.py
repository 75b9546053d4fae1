"""The networks of a model: one run, several, or the members of an ensemble; their combination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blastscope.bundle.contents import is_bundle
from blastscope.ensemble.combination import Combination
from blastscope.ensemble.ensemble_folder import EnsembleFolder, read_ensemble
from blastscope.errors import BlastscopeError, listing
from blastscope.evaluation.sources import ENSEMBLE, FOLDS
from blastscope.io.files import sha256_of
from blastscope.io.predictions import marked
from blastscope.training.finished_run import FinishedRun, open_run

if TYPE_CHECKING:
    from blastscope.bundle.manifest import Manifest
    from blastscope.decision.decision_file import DecisionFile


@dataclass(frozen=True)
class Members:
    """Networks, and how their probabilities become one."""

    name: str  # what tables call them together
    runs: tuple[FinishedRun, ...]  # the networks
    combination: Combination  # from a probability of each to one
    # ``sha256:`` of the ``ensemble.json`` with the combination; None if there is none.
    ensemble: str | None = None
    names: tuple[str, ...] = ()  # what an ensemble calls its members; empty if it is not one
    # ``sha256:`` of the manifest of the bundle that they are from; None if not from one.
    bundle: str | None = None
    # What a bundle decides by; None if it does not, or it is not a bundle.
    decision: DecisionFile | None = None
    manifest: Manifest | None = None  # of the bundle; None if not from one

    @property
    def synthetic(self) -> bool:
        """Whether any of the runs was trained on synthetic cells."""
        return any(run.synthetic for run in self.runs)

    def metadata(self) -> dict[str, Any]:
        """Return what a table of their predictions records of them."""
        members = [{"recipe": run.recipe.name, "checkpoint": run.checkpoint} for run in self.runs]
        about: dict[str, Any] = {"members": members, "synthetic": self.synthetic}
        if self.ensemble is not None:
            about["weights_of"] = self.ensemble
        if self.bundle is not None:
            about["bundle"] = self.bundle
        return about | members[0] if len(members) == 1 else about


def open_members(paths: Sequence[Path]) -> Members:
    """Open a run, several runs (the mean of their probabilities), an ensemble or a bundle.

    Raises:
        BlastscopeError: if a run is unfinished or stale, a bundle is damaged, or a member of an
            ensemble is not a run or has changed since.
    """
    bundles = [path for path in paths if is_bundle(path)]
    if bundles and len(paths) > 1:
        raise BlastscopeError(
            f"{bundles[0]} is a bundle, which cannot be averaged: give no other model."
        )
    if bundles:
        return _of_bundle(bundles[0])
    ensembles = [path for path in paths if (path / ENSEMBLE).is_file()]
    if ensembles and len(paths) > 1:
        raise BlastscopeError(
            f"{ensembles[0]} is an ensemble, which cannot be averaged: build one of all the runs "
            "with `blastscope ensemble`."
        )
    if ensembles:
        return _of_ensemble(ensembles[0])
    return mean_of([open_run(path) for path in paths])


def open_network(path: Path) -> FinishedRun:
    """Open a single network: a run, or a bundle of one.

    Raises:
        BlastscopeError: if there are several, or as ``open_members`` does.
    """
    runs = open_members([path]).runs
    if len(runs) > 1:
        raise BlastscopeError(
            f"{path} holds {len(runs)} networks instead of one: give its members, one after the "
            "other."
        )
    return runs[0]


def mean_of(runs: Sequence[FinishedRun]) -> Members:
    """Return runs with the mean of their probabilities as the combination."""
    names = list(dict.fromkeys(run.recipe.name for run in runs))
    name = names[0] if len(runs) == 1 else f"mean of {len(runs)} runs of {listing(names, most=5)}"
    mean = Combination("mean", "weights", (1 / len(runs),) * len(runs))
    return _marked(Members(name, tuple(runs), mean))


def _of_ensemble(path: Path) -> Members:
    ensemble = read_ensemble(path)
    if FOLDS not in ensemble.fitted and not (path / "predictions.parquet").is_file():
        raise BlastscopeError(
            f"{path} is an unfinished ensemble: give the command that makes it again."
        )
    runs = tuple(_member(path, ensemble, k) for k in range(len(ensemble.members)))
    names = tuple(member.model for member in ensemble.members)
    digest = sha256_of(path / ENSEMBLE)
    return _marked(Members(ensemble.name, runs, ensemble.combination, digest, names))


def _of_bundle(path: Path) -> Members:
    from blastscope.bundle.read import open_bundle

    found = open_bundle(path)
    ensemble = found.manifest.ensemble
    return _marked(
        Members(
            name=found.manifest.name,
            runs=found.networks,
            combination=found.combination,
            ensemble=None if ensemble is None else ensemble.checkpoint,
            names=() if ensemble is None else tuple(member.name for member in ensemble.members),
            bundle=found.digest,
            decision=found.decision,
            manifest=found.manifest,
        )
    )


def _marked(members: Members) -> Members:
    """Mark the name of networks that were trained on synthetic cells."""
    return replace(members, name=marked(members.name, members.synthetic))


def _member(folder: Path, ensemble: EnsembleFolder, k: int) -> FinishedRun:
    member = ensemble.members[k]
    if not member.path:
        raise BlastscopeError(
            f"{folder} has the member '{member.model}', whose predictions were a table in memory: "
            "build the ensemble of runs to predict new cells with it."
        )
    path = folder / member.path
    if not path.exists():
        raise BlastscopeError(
            f"{folder} needs its member '{member.model}' at {path.resolve()}, which does not "
            "exist: put it back, or build the ensemble again."
        )
    if (path / ENSEMBLE).is_file():
        raise BlastscopeError(
            f"{folder} has a member that is itself an ensemble ({path}): build one ensemble of all "
            "the runs to predict with it."
        )
    if member.checkpoint is None:
        raise BlastscopeError(
            f"{folder} knows the member '{member.model}' only by its predictions ({path}): build "
            "the ensemble of run folders to predict with it."
        )
    run = open_run(path)
    if run.checkpoint != member.checkpoint:
        raise BlastscopeError(
            f"{path} has other weights than when the ensemble {folder} was built: build it again."
        )
    return run
