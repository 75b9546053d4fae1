"""Adapt a bundle to a laboratory's own labelled cells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.adaptation.bundle import adapted_draft
from blastscope.adaptation.cells import AdaptationCells, feature_engine, read_labelled
from blastscope.adaptation.fitting import AdaptationFit, fit_adaptation
from blastscope.api.inspect_bundle import adaptation_tables
from blastscope.api.result import (
    AnyPath,
    FolderResult,
    Progress,
    TextTable,
    as_path,
    showing,
    synthetic_of,
)
from blastscope.box import in_the_box
from blastscope.bundle.contents import is_bundle
from blastscope.bundle.manifest import Adaptation
from blastscope.bundle.read import open_bundle
from blastscope.bundle.write import refuse_taken, write_bundle
from blastscope.decision.calibration import Calibration
from blastscope.errors import BlastscopeError
from blastscope.io.remote import refuse_remote
from blastscope.prediction.members import open_members
from blastscope.prediction.models import Predictor
from blastscope.report.adaptation_text import adaptation_lines, adapted_from, changed_by
from blastscope.report.bundle_card import bundle_card
from blastscope.report.generalization_text import SYNTHETIC
from blastscope.report.text import megabytes

_MOST_PROBLEMS = 10


@dataclass(frozen=True, eq=False, repr=False)
class AdaptResult(FolderResult):
    """An adapted bundle.

    Attributes:
        name: of the bundle.
        bytes: its size.
        adaptation: what it was adapted from, to which cells, and what that brought.
        fit: what was fitted.
        cells: the cells, and which were left out.
    """

    name: str
    bytes: int
    adaptation: Adaptation
    fit: AdaptationFit
    cells: AdaptationCells
    synthetic = synthetic_of("cells")

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each metric, before and after, on cells left out."""
        before, after = self.adaptation.before, self.adaptation.after
        rows = [(name, before[name], after[name]) for name in before]
        return pl.DataFrame(rows, schema=["metric", "before", "after"], orient="row")

    def as_json(self) -> dict[str, Any]:
        """Return the bundle, what its manifest says of the adaptation, and what was left out."""
        entry = self.adaptation.model_dump(mode="json")
        return {
            "path": self.written_to,
            "bytes": self.bytes,
            "unlabelled": self.cells.unlabelled,
            "unusable": len(self.cells.problems),
            **entry,
            "adapted_from": entry["name"],
            "name": self.name,
        }

    def tables(self) -> list[TextTable]:
        """Return the metrics before and after."""
        return adaptation_tables(self.adaptation)

    def answers(self) -> list[str]:
        """Say what was written, and what the adaptation brought."""
        brought = changed_by(self.adaptation.before, self.adaptation.after)
        return [f"{self.path}: {self.name}, {megabytes(self.bytes)}; {brought}"]

    def notes(self) -> list[str]:
        """Say what was fitted, on which cells, and which were left out."""
        cells = self.cells
        said = [SYNTHETIC] if cells.synthetic else []
        said += [adapted_from(self.adaptation), *adaptation_lines(self.adaptation)]
        said += [f"{sentence}." for sentence in cells.notes]
        if cells.out_of_distribution:
            said.append(
                f"{cells.out_of_distribution} of {len(cells)} cells are out-of-distribution. The "
                "adaptation does not change that: `predict` will not call such cells."
            )
        if cells.unlabelled:
            said.append(f"Left out: {cells.unlabelled} cells without a label.")
        for file, problem in cells.problems[:_MOST_PROBLEMS]:
            said.append(f"Left out: {file} {problem}")
        if (more := len(cells.problems) - _MOST_PROBLEMS) > 0:
            said.append(f"And {more:,} more that cannot be used.")
        return said


def adapt(
    model: AnyPath | None = None,
    *,
    labelled: AnyPath,
    out: AnyPath,
    subject_from: str | None = None,
    force: bool = False,
    progress: Progress = False,
) -> AdaptResult:
    """Adapt a bundle to a laboratory's own labelled cells, 20 of them or more.

    Calibration and threshold are fitted, and the last layer if there are cells and subjects enough.
    Each cell is judged by what was fitted without its subject, and calibration and last layer are
    kept only if that is better than without them.

    Args:
        model: the bundle; without it the model that comes with blastscope.
        labelled: a folder or zip of labelled cells, or a store that is prepared for the model.
        out: the folder to write, or a zip if it ends in ``.zip``.
        subject_from: a regular expression that finds the subject in a file's path.
        force: replace a bundle that is there.
        progress: show a progress bar; or a function to call with how much is done and of how much.

    Returns:
        The adapted bundle, with metrics before and after.

    Raises:
        BlastscopeError: if the model is not a bundle, there are too few labelled cells of a class,
            or ``out`` is taken; nothing is written then.
    """
    path, place, target = as_path(model) or in_the_box(), Path(labelled), Path(out)
    for given in (path, place):
        refuse_remote(given)
    if not is_bundle(path):
        raise BlastscopeError(
            f"{path} is not a bundle: make one of a run or an ensemble with `blastscope bundle`."
        )
    if not place.exists():
        raise BlastscopeError(f"{place} does not exist: give a folder or zip of labelled cells.")
    refuse_taken(target, force)
    source = open_bundle(path)
    predictor = Predictor(open_members([path]), engine="onnxruntime")
    engine = feature_engine(predictor)
    with showing("Predicting", progress) as advance:
        cells = read_labelled(place, predictor, engine, subject_from, advance)
    shipped = source.decision
    fit = fit_adaptation(cells, Calibration() if shipped is None else shipped.decision.calibration)
    draft = adapted_draft(source, cells, fit)
    files = draft.sealed(bundle_card(draft.manifest, draft.decision))
    write_bundle(files, target)
    assert draft.manifest.adaptation is not None
    size = sum(map(len, files.values()))
    return AdaptResult(
        draft.manifest.name, size, draft.manifest.adaptation, fit, cells, path=target
    )
