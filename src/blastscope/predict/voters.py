"""Who votes on a cell: one run, several, or the members of an ensemble, and how votes are added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blastscope.ensemble.combination import Combination
from blastscope.ensemble.folder import EnsembleFolder, read_ensemble
from blastscope.errors import BlastscopeError, listing
from blastscope.evaluate.source import ENSEMBLE
from blastscope.files import sha256_of
from blastscope.predict.runs import FinishedRun, open_run
from blastscope.predictions import SYNTHETIC_MARK


@dataclass(frozen=True)
class Voters:
    """Runs, and what makes one probability of theirs."""

    name: str
    runs: tuple[FinishedRun, ...]
    combination: Combination
    ensemble: str | None = None
    """``sha256:`` of the ``ensemble.json`` that says how to combine, where there is one."""

    @property
    def synthetic(self) -> bool:
        """Whether any of the runs was trained on synthetic cells."""
        return any(run.synthetic for run in self.runs)

    def metadata(self, stores: Sequence[str]) -> dict[str, Any]:
        """Return what a table of their predictions says of itself.

        Args:
            stores: the fingerprint of the cells as each run saw them.
        """
        members = [
            {"recipe": run.recipe.name, "checkpoint": run.checkpoint, "store": store}
            for run, store in zip(self.runs, stores, strict=True)
        ]
        about: dict[str, Any] = {"members": members, "synthetic": self.synthetic}
        if self.ensemble is not None:
            about["weights_of"] = self.ensemble
        return about | members[0] if len(members) == 1 else about


def open_voters(given: Sequence[Path]) -> Voters:
    """Open a run, several runs for the mean of their probabilities, or an ensemble.

    Raises:
        BlastscopeError: where a run is unfinished or stale, or an ensemble's member is no run or
            not the one that it was made of.
    """
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


def _of_ensemble(path: Path) -> Voters:
    ensemble = read_ensemble(path)
    if not (path / "predictions.parquet").is_file():
        raise BlastscopeError(
            f"{path} is an unfinished ensemble: give the command that makes it again."
        )
    runs = tuple(_member(path, ensemble, k) for k in range(len(ensemble.members)))
    return _named(ensemble.name, runs, ensemble.combination, sha256_of(path / ENSEMBLE))


def _member(folder: Path, ensemble: EnsembleFolder, k: int) -> FinishedRun:
    member = ensemble.members[k]
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
) -> Voters:
    """Mark what synthetic cells have taught."""
    marked = name.endswith(SYNTHETIC_MARK) or not any(run.synthetic for run in runs)
    return Voters(name if marked else name + SYNTHETIC_MARK, runs, how, ensemble)
