"""Bundles: a model in one folder or zip that holds all that a prediction needs, and no code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blastscope.api.result import AnyPath, FolderResult, TextTable, as_path, as_paths
from blastscope.errors import BlastscopeError, require_training
from blastscope.report.text import megabytes

if TYPE_CHECKING:
    import polars as pl

    from blastscope.bundle.write import BundleDraft, Files
    from blastscope.prediction.members import Members
    from blastscope.training.finished_run import FinishedRun


@dataclass(frozen=True, eq=False, repr=False)
class BundleResult(FolderResult):
    """A bundle on disk.

    Attributes:
        decided: whether it holds a decision, so that it calibrates and calls cells.
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
        names = ("name", "bytes", "networks", "decided", "synthetic")
        return {"path": self.written_to, **{name: getattr(self, name) for name in names}}

    def tables(self) -> list[TextTable]:
        """Return the attributes."""
        return [TextTable.of_frame(self.to_frame())]

    def answers(self) -> list[str]:
        """Return what was written."""
        count = "1 network" if self.networks == 1 else f"{self.networks} networks"
        return [f"{self.path}: {self.name}, {count}, {megabytes(self.bytes)}"]

    def notes(self) -> list[str]:
        """Return what the model must not be used for, or lacks."""
        from blastscope.report.generalization_text import SYNTHETIC

        undecided = (
            "It has no decision, so it calls no cell ALL or normal: run `blastscope evaluate`, "
            "or give a `decision`."
        )
        return [SYNTHETIC] * self.synthetic + [undecided] * (not self.decided)


def make_bundle(
    model: AnyPath,
    out: AnyPath,
    *,
    decision: AnyPath | None = None,
    evaluations: AnyPath | Iterable[AnyPath] = (),
    stress: AnyPath | None = None,
    half: bool = False,
    note: str = "",
    licence: str | None = None,
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
        stress: the folder of a stress test of the run, or of a cross-validation or another run of
            its recipe: its curve of counterfactual size goes onto the card.
        half: keep weights in half precision, in half the space; they are computed with in single
            precision all the same.
        note: your own words for the card: which cells, whom to cite.
        licence: under which you give the bundle to others, as SPDX names it (``Apache-2.0``).
        force: replace a bundle that is there.

    Returns:
        The bundle's path and what it holds.

    Raises:
        BlastscopeError: if the model is unfinished, stale or damaged, the decision, an evaluation
            or the stress test is of another model, ``licence`` is not written as SPDX writes one,
            or ``out`` is taken.
    """
    require_training("`blastscope bundle`")
    from blastscope.bundle.contents import is_bundle
    from blastscope.bundle.manifest import refuse_licence
    from blastscope.bundle.write import refuse_taken, write_bundle
    from blastscope.prediction.decisions import find_decision
    from blastscope.prediction.members import open_members
    from blastscope.robustness.stress_file import bundled_size_curve

    refuse_licence(licence)
    source, target = Path(model), Path(out)
    if is_bundle(source):
        raise BlastscopeError(f"{source} is a bundle already: give the run or ensemble behind it.")
    refuse_taken(target, force)
    members = open_members([source])
    by = find_decision([source], members, as_path(decision))
    more: dict[str, Any] = {"decision": by, "evaluations": as_paths(evaluations), "note": note}
    more["licence"] = licence
    if members.ensemble is None:
        run = members.runs[0]
        curve = None if stress is None else bundled_size_curve(Path(stress), run)
        draft = _network(run, half, size_curve=curve, **more)
    elif stress is not None:
        raise BlastscopeError(
            f"{source} is an ensemble, and a stress test is of single networks: leave the stress "
            "test out."
        )
    else:
        draft = _ensemble(source, members, members.ensemble, half, **more)
    files = _sealed(draft)
    write_bundle(files, target)
    name, size = draft.manifest.name, sum(map(len, files.values()))
    synthetic, count = draft.manifest.synthetic, len(members.runs)
    return BundleResult(name, size, count, by is not None, synthetic, path=target)


def _network(run: FinishedRun, half: bool, **more: Any) -> BundleDraft:
    from blastscope.bundle.write import network_draft
    from blastscope.export.network_files import network_files

    return network_draft(run, network_files(run, half=half), half=half, **more)


def _ensemble(
    source: Path, members: Members, checkpoint: str, half: bool, **more: Any
) -> BundleDraft:
    from blastscope.bundle.write import ensemble_draft
    from blastscope.ensemble.ensemble_folder import read_ensemble

    names = [member.model for member in read_ensemble(source).members]
    inner = [_sealed(_network(run, half)) for run in members.runs]
    pairs = list(zip(names, inner, strict=True))
    about = (source, members.name, checkpoint, members.combination, pairs)
    return ensemble_draft(*about, synthetic=members.synthetic, **more)


def _sealed(draft: BundleDraft) -> Files:
    from blastscope.report.bundle_card import bundle_card

    return draft.sealed(bundle_card(draft.manifest, draft.decision))
