"""Audit explanations: whether the heatmaps of a model can be believed, on a whole split part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.api.explain import TABLE, ExplanationResult, write_explanation
from blastscope.api.result import AnyPath, Progress, TextTable, as_paths, out_or_temporary, showing
from blastscope.api.tables import as_run_paths
from blastscope.data.layouts import Listing
from blastscope.engines.torch_engine import choose_device
from blastscope.errors import BlastscopeError
from blastscope.explanation.audit.audit import CELLS_FILE, audit_cells, run_audit
from blastscope.explanation.audit.regions import find_off_cell
from blastscope.explanation.cells import prepare_cells
from blastscope.explanation.layer_choice import choose_layers
from blastscope.explanation.models import ExplainedModels, open_models
from blastscope.explanation.tables import AUDIT
from blastscope.explanation.target_layer import GRID
from blastscope.io.files import read_json, remove_folder
from blastscope.io.tables import read_table
from blastscope.io.workfolder import refuse_foreign
from blastscope.report.audit_page import SUMMARY, AuditView, report_audit

METHODS = ("grad-cam", "grad-cam++")
"""The methods on the pages of the named cells; the audit has those that take a hundred passes."""


@dataclass(frozen=True, eq=False, repr=False)
class AuditResult(ExplanationResult):
    """Whether the heatmaps of models can be believed.

    Attributes:
        view: what the report shows.
        audited: a row for each cell and model.
    """

    view: AuditView
    audited: pl.DataFrame

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each cell and model (docs/formats.md)."""
        return self.audited

    def as_json(self) -> dict[str, Any]:
        """The content of the audit's summary."""
        return read_json(self.place / SUMMARY)

    def tables(self) -> list[TextTable]:
        """Return each measure's outcome, a table a model."""
        return [
            TextTable.of(
                ("test", "result", "in numbers"),
                [(test, found.value, found.small) for test, found in row.results.items()],
                f"{row.model}, {self.view.cells:,} {self.view.part} cells",
            )
            for row in self.view.rows
        ]

    def answers(self) -> list[str]:
        """Say whether the heatmaps can be believed."""
        return self.view.answers

    def notes(self) -> list[str]:
        """Say what the intervals are of, and what does not apply."""
        return [f"Intervals: {self.view.intervals}", *super().notes()]


def audit_explanations(
    models: AnyPath | Iterable[AnyPath] | Mapping[str, AnyPath],
    part: str = "test",
    *,
    data: AnyPath | Iterable[AnyPath],
    out: AnyPath | None = None,
    layers: Sequence[str] | None = None,
    grid: int = GRID,
    device: str = "auto",
    progress: Progress = False,
) -> AuditResult:
    """Audit the explanations of models on a whole split part: can their heatmaps be believed?

    With ``out`` it writes a table a cell and model, its summary, plots, and what ``explain`` writes
    for the cells that the audit names. If an audit is killed, the same call goes on where it
    stopped. Without ``out`` the files lie in a temporary folder until ``save`` is called.

    Args:
        models: runs, or one ensemble: paths, ``NAME=PATH``, or a mapping of names.
        part: ``train``, ``validation`` or ``test``, of the runs' own split.
        data: folders of images, or stores, that have the part's cells.
        out: the folder to write to.
        layers, grid, device, progress: as :func:`blastscope.explain` takes them.

    Returns:
        The measures of each model, and the cells.

    Raises:
        BlastscopeError: if a model, a cell or a layer does not exist, or ``out`` holds another kind
            of report, or an audit of other models or cells, or cannot be written.
    """
    requested, paths, folders = out, as_run_paths(models), as_paths(data)
    out, keeper = out_or_temporary(requested)
    refuse_foreign(out, CELLS_FILE, ["report.html", TABLE])
    if not folders:
        raise BlastscopeError(
            "An audit needs images of the cells: give their folder with `--data`."
        )
    explained = open_models(paths, choose_device(device), grid)
    found = audit_cells(paths, part, folders)
    _refuse_another_audit(out, explained, found)
    if layers:  # a wrong name is refused before the hours that an audit takes
        choose_layers(explained.models, layers)
    work = out / ".audit.work"  # in the same folder, so that an audit that goes on finds it
    wanted = [model.settings for model in explained.models]
    with showing("Explaining", progress) as advance:
        dataset = prepare_cells(found, wanted, work, advance)
        audit = run_audit(explained, dataset, out, advance)
    named = {
        image.cell
        for places in find_off_cell(audit.cells).values()
        for place in places
        for image in place.worst
    }
    cells = [item for item in found.cells if item.cell in named]
    sections: list[AuditView] = []

    def section(pages: dict[str, str]) -> AuditView:
        synthetic = explained.synthetic or dataset.synthetic
        sections.append(
            report_audit(
                explained.name, explained.models, audit, out, part=part, synthetic=synthetic,
                pages=pages,
            )
        )  # fmt: skip
        return sections[-1]

    listing = Listing(cells, synthetic=found.synthetic)
    with showing("Explaining", progress) as advance:
        made = write_explanation(
            explained, listing, out, METHODS, layers, audit=section, on_progress=advance
        )
    remove_folder(work)
    return AuditResult(made, sections[-1], audit.cells, path=None if keeper else out, keeper=keeper)


def _refuse_another_audit(out: Path, explained: ExplainedModels, found: Listing) -> None:
    """Refuse to replace another audit, which may have taken hours."""
    try:
        table, metadata = read_table(out / CELLS_FILE, AUDIT)
    except BlastscopeError:  # none, or one that is damaged: it is made anew
        return
    recorded = (metadata.get("identity") or {}).get("models", ())
    models = [[model.name, model.run.checkpoint, model.grid] for model in explained.models]
    cells = {item.cell for item in found.cells}
    if [list(model[:3]) for model in recorded] != models or set(table["cell"]) != cells:
        raise BlastscopeError(
            f"{out} holds an audit of other models or cells ({CELLS_FILE}), which would be lost: "
            "choose another folder, or remove it."
        )
