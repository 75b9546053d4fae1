"""Who votes on a cell: one run, several, or the members of an ensemble, and how votes are added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blastscope.bundle.contents import is_bundle
from blastscope.ensemble.combination import Combination
from blastscope.ensemble.ensemble_folder import EnsembleFolder, read_ensemble
from blastscope.errors import BlastscopeError, listing
from blastscope.evaluation.sources import ENSEMBLE
from blastscope.io.files import sha256_of
from blastscope.io.predictions import SYNTHETIC_MARK
from blastscope.training.finished_run import FinishedRun, open_run

if TYPE_CHECKING:
    from blastscope.decision.decision_file import DecisionFile


@dataclass(frozen=True)
class Members:
    """Runs, and what makes one probability of theirs."""

    name: str
    runs: tuple[FinishedRun, ...]
    combination: Combination
    ensemble: str | None = None
    """``sha256:`` of the ``ensemble.json`` that says how to combine, where there is one."""
    members: tuple[str, ...] = ()
    """What an ensemble calls its runs."""
    bundle: str | None = None
    """``sha256:`` of a bundle's manifest, where they are of one."""
    decision: DecisionFile | None = None
    """What a bundle decides by."""

    @property
    def synthetic(self) -> bool:
        """Whether any of the runs was trained on synthetic cells."""
        return any(run.synthetic for run in self.runs)

    def metadata(self, stores: Sequence[str] = ()) -> dict[str, Any]:
        """Return what a table of their predictions says of itself.

        Args:
            stores: the fingerprint of the cells as each run saw them, where they are in stores.
        """
        members = [{"recipe": run.recipe.name, "checkpoint": run.checkpoint} for run in self.runs]
        if stores:
            members = [
                {**member, "store": store} for member, store in zip(members, stores, strict=True)
            ]
        about: dict[str, Any] = {"members": members, "synthetic": self.synthetic}
        if self.ensemble is not None:
            about["weights_of"] = self.ensemble
        if self.bundle is not None:
            about["bundle"] = self.bundle
        return about | members[0] if len(members) == 1 else about


def open_members(given: Sequence[Path]) -> Members:
    """Open a run, several runs for the mean of their probabilities, an ensemble or a bundle.

    Raises:
        BlastscopeError: where a run is unfinished or stale, a bundle damaged, or an ensemble's
            member is no run or not the one that it was made of.
    """
    bundles = [path for path in given if is_bundle(path)]
    if bundles and len(given) > 1:
        raise BlastscopeError(f"{bundles[0]} is a bundle, which stands alone: give no other model.")
    if bundles:
        return _of_bundle(bundles[0])
    ensembles = [path for path in given if (path / ENSEMBLE).is_file()]
    if ensembles and len(given) > 1:
        raise BlastscopeError(
            f"{ensembles[0]} is an ensemble, which stands alone: build one of all the runs "
            "(blastscope ensemble) to add others to it."
        )
    if ensembles:
        return _of_ensemble(ensembles[0])
    runs = tuple(open_run(path) for path in given)
    names = list(dict.fromkeys(run.recipe.name for run in runs))
    name = names[0] if len(runs) == 1 else f"mean of {len(runs)} runs of {listing(names, most=5)}"
    mean = Combination("mean", "weights", (1 / len(runs),) * len(runs))
    return _named(name, runs, mean)


def _of_ensemble(path: Path) -> Members:
    ensemble = read_ensemble(path)
    if not (path / "predictions.parquet").is_file():
        raise BlastscopeError(
            f"{path} is an unfinished ensemble: give the command that makes it again."
        )
    runs = tuple(_member(path, ensemble, k) for k in range(len(ensemble.members)))
    found = _named(ensemble.name, runs, ensemble.combination, sha256_of(path / ENSEMBLE))
    return replace(found, members=tuple(member.model for member in ensemble.members))


def open_network(path: Path) -> FinishedRun:
    """Open what is a single network: a run, or a bundle of one.

    Raises:
        BlastscopeError: where it is several, or as ``open_members`` does.
    """
    voters = open_members([path])
    if len(voters.runs) > 1:
        raise BlastscopeError(
            f"{path} is of {len(voters.runs)} networks, and one is wanted: give its members, one "
            "after the other."
        )
    return voters.runs[0]


def _of_bundle(path: Path) -> Members:
    from blastscope.bundle.read import open_bundle

    found = open_bundle(path)
    ensemble = found.manifest.ensemble
    return Members(
        name=found.manifest.name + SYNTHETIC_MARK * _unmarked(found.manifest.name, found.networks),
        runs=found.networks,
        combination=found.combination,
        ensemble=None if ensemble is None else ensemble.checkpoint,
        members=() if ensemble is None else tuple(member.name for member in ensemble.members),
        bundle=found.digest,
        decision=found.decision,
    )


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
            f"{folder} wants its member '{member.model}' at {path.resolve()}, where nothing is: "
            "if one of them was moved, build the ensemble again."
        )
    if (path / ENSEMBLE).is_file():
        raise BlastscopeError(
            f"{folder} has a member that is itself an ensemble ({path}), which predict does not "
            "take apart: build one ensemble of all the runs."
        )
    if member.checkpoint is None:
        raise BlastscopeError(
            f"{folder} has the member '{member.model}', which is known by its predictions only "
            f"({path}), so it cannot be applied to images: build the ensemble of run folders."
        )
    run = open_run(path)
    if run.checkpoint != member.checkpoint:
        raise BlastscopeError(
            f"{path} is no longer the run that the ensemble {folder} was made of (other weights): "
            "build the ensemble again."
        )
    return run


def _named(
    name: str, runs: tuple[FinishedRun, ...], how: Combination, ensemble: str | None = None
) -> Members:
    """Mark what synthetic cells have taught."""
    return Members(name + SYNTHETIC_MARK * _unmarked(name, runs), runs, how, ensemble)


def _unmarked(name: str, runs: Sequence[FinishedRun]) -> bool:
    return any(run.synthetic for run in runs) and not name.endswith(SYNTHETIC_MARK)
