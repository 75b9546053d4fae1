"""Bundles: a model in one folder or zip that holds all that a prediction needs, and no code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blastscope.api.result import AnyPath, FolderResult, as_paths
from blastscope.errors import BlastscopeError, require_training

if TYPE_CHECKING:
    import polars as pl

    from blastscope.bundle.write import BundleDraft, Files
    from blastscope.decision.decision_file import DecisionFile
    from blastscope.prediction.members import Members
    from blastscope.training.finished_run import FinishedRun


@dataclass(frozen=True, eq=False, repr=False)
class BundleResult(FolderResult):
    """A bundle on disk.

    Attributes:
        name: of the model.
        bytes: of all its files.
        networks: how many it holds.
        decided: whether it holds a decision, so that it calibrates and calls cells.
        synthetic: whether synthetic cells have taught it.
    """

    name: str
    bytes: int
    networks: int
    decided: bool
    synthetic: bool

    def to_frame(self) -> pl.DataFrame:
        """Return one row with the attributes."""
        import polars as pl

        return pl.DataFrame([self.as_json()])

    def as_json(self) -> dict[str, Any]:
        """Return the attributes."""
        return {
            "path": str(self.path),
            "name": self.name,
            "bytes": self.bytes,
            "networks": self.networks,
            "decided": self.decided,
            "synthetic": self.synthetic,
        }

    def answers(self) -> list[str]:
        """Return what was written."""
        count = "1 network" if self.networks == 1 else f"{self.networks} networks"
        return [f"{self.path}: {self.name}, {count}, {self.bytes / 1e6:.1f} MB"]

    def notes(self) -> list[str]:
        """Return what the model must not be used for, or lacks."""
        from blastscope.report.bundle_card import SYNTHETIC

        undecided = (
            "It has no decision, so it calls no cell ALL or normal: run `blastscope evaluate`, "
            "or give --decision."
        )
        return [SYNTHETIC] * self.synthetic + [undecided] * (not self.decided)


def make_bundle(
    model: AnyPath,
    out: AnyPath,
    *,
    decision: AnyPath | None = None,
    evaluations: AnyPath | Iterable[AnyPath] = (),
    half: bool = False,
    note: str = "",
    force: bool = False,
) -> BundleResult:
    """Bundle a run or an ensemble.

    The model's own evaluation and decision travel with it. Names of subjects do not.

    Args:
        model: the folder of a finished run, or of an ensemble.
        out: the folder to write, or a zip if it ends in ``.zip``.
        decision: a ``decision.json``, or a folder with one (for instance of a cross-validation of
            the same recipe), instead of the model's own.
        evaluations: folders of further evaluations of the model or its recipe, for the card.
        half: keep weights in half precision, in half the space; they are computed with in single
            precision all the same.
        note: your own words for the card: which cells, whom to cite.
        force: replace a bundle that is there.

    Returns:
        The bundle's path and what it holds.

    Raises:
        BlastscopeError: if the model is unfinished, stale or damaged, the decision or an evaluation
            is of another model, or ``out`` is taken.
    """
    require_training("`blastscope bundle`")
    from blastscope.bundle.contents import is_bundle
    from blastscope.bundle.write import refuse_taken, write_bundle
    from blastscope.prediction.decisions import find_decision
    from blastscope.prediction.members import open_members

    source, target = Path(model), Path(out)
    if is_bundle(source):
        raise BlastscopeError(f"{source} is a bundle already: give the run or ensemble behind it.")
    refuse_taken(target, force)
    members = open_members([source])
    by = find_decision([source], members, None if decision is None else Path(decision))
    more: dict[str, Any] = {"decision": by, "evaluations": as_paths(evaluations), "note": note}
    if members.ensemble is None:
        draft = _network(members.runs[0], half, **more)
    else:
        draft = _ensemble(source, members, members.ensemble, half, **more)
    files = _sealed(draft)
    write_bundle(files, target)
    return BundleResult(
        draft.manifest.name,
        sum(map(len, files.values())),
        len(members.runs),
        by is not None,
        draft.manifest.synthetic,
        path=target,
    )


def _network(
    run: FinishedRun,
    half: bool,
    *,
    decision: DecisionFile | None = None,
    evaluations: Iterable[Path] = (),
    note: str = "",
) -> BundleDraft:
    from blastscope.bundle.write import network_draft
    from blastscope.export.network_files import network_files

    made = network_files(run, half=half)
    more: dict[str, Any] = {"decision": decision, "evaluations": evaluations, "note": note}
    return network_draft(run, made, half=half, **more)


def _ensemble(
    source: Path, members: Members, checkpoint: str, half: bool, **more: Any
) -> BundleDraft:
    from blastscope.bundle.write import ensemble_draft
    from blastscope.ensemble.ensemble_folder import read_ensemble

    names = [member.model for member in read_ensemble(source).members]
    inner = [_sealed(_network(run, half)) for run in members.runs]
    return ensemble_draft(
        source,
        members.name,
        checkpoint,
        members.combination,
        list(zip(names, inner, strict=True)),
        synthetic=members.synthetic,
        **more,
    )


def _sealed(draft: BundleDraft) -> Files:
    from blastscope.report.bundle_card import bundle_card

    return draft.sealed(bundle_card(draft.manifest, draft.decision))
