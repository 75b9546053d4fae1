"""A study of a whole part of a split, with a page for each cell that it names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from blastscope.api.explain import FILE, TABLE, Explanation, write_explanation
from blastscope.data.layouts import Listing
from blastscope.engines.torch_engine import choose_device
from blastscope.errors import BlastscopeError
from blastscope.explanation.audit.audit import CELLS_FILE, audit_cells, run_audit
from blastscope.explanation.audit.off_cell import looks
from blastscope.explanation.cells import prepare_material
from blastscope.explanation.layer_choice import choose_layers
from blastscope.explanation.measures import STUDY
from blastscope.explanation.models import ExplainedModels, open_models
from blastscope.explanation.target_layer import GRID
from blastscope.io.files import remove_folder
from blastscope.io.tables import read_table
from blastscope.io.workfolder import refuse_foreign
from blastscope.report.audit_page import report_audit
from blastscope.report.audit_sections import AuditView

METHODS = ("grad-cam", "grad-cam++")
"""What the pages of the named cells show; the study has what takes a hundred passes."""


@dataclass(frozen=True)
class AuditReport:
    """What was written: the page with its cells, and the section above them."""

    explanation: Explanation
    study: AuditView


def audit_to_folder(
    given: Sequence[str | Path],
    out: Path,
    part: str = "test",
    *,
    data: Sequence[Path],
    layers: Sequence[str] | None = None,
    grid: int = GRID,
    device: str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
) -> AuditReport:
    """Measure on a whole part whether models' maps are to be believed, and report it.

    Writes ``study.parquet`` and ``randomisation.parquet``, their summary ``study-summary.json``,
    ``figures/study-*``, and what ``api.explain`` writes, for the cells that the study names. A
    study that was killed goes on when it is asked for again; one that is done is only reported.

    Args:
        given: runs, each perhaps as ``NAME=PATH``, or one ensemble.
        out: the folder to write to.
        part: ``train``, ``validation`` or ``test``, of the runs' own split.
        data: folders of images, or stores, that have the part's cells.
        layers: names of layers for the feature maps of the named cells; None for the first ones.
        grid: the fewest fields a side of the maps that Grad-CAM reads.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        on_progress: called with how much is done and of how much: of the cells' preparation, then
            of the study, then of the pages.

    Raises:
        BlastscopeError: where a model, a cell or a layer is not to be had, or ``out`` holds
            another kind of report, or a study of other models or cells, or cannot be written.
    """
    refuse_foreign(out, FILE, ["report.html", TABLE])
    if (out / FILE).exists() and not (out / CELLS_FILE).exists():
        raise BlastscopeError(
            f"{out} holds an explanation of single cells, whose page would be overwritten: choose "
            "another folder with --out."
        )
    if not data:
        raise BlastscopeError("A study wants to see the cells: give their folder with --data.")
    explained = open_models(given, choose_device(device), grid)
    found = audit_cells(given, part, data)
    _refuse_another_study(out, explained, found)
    if layers:  # a wrong name is said before the hours that a study takes
        choose_layers(explained.models, layers)
    work = out / ".work"  # beside what is done, so that a killed study finds both
    wanted = [model.settings for model in explained.models]
    material = prepare_material(found, wanted, work, on_progress)
    study = run_audit(explained, material, out, on_progress)
    named = {
        look.cell
        for places in looks(study.cells).values()
        for place in places
        for look in place.worst
    }
    cells = [item for item in found.cells if item.cell in named]
    sections: list[AuditView] = []

    def section(pages: dict[str, str]) -> AuditView:
        synthetic = explained.synthetic or material.synthetic
        sections.append(
            report_audit(
                explained.name, explained.models, study, out, part=part, synthetic=synthetic,
                pages=pages,
            )
        )  # fmt: skip
        return sections[-1]

    listing = Listing(cells, synthetic=found.synthetic)
    made = write_explanation(
        explained, listing, out, METHODS, layers, study=section, on_progress=on_progress
    )
    remove_folder(work)
    return AuditReport(made, sections[-1])


def _refuse_another_study(out: Path, explained: ExplainedModels, found: Listing) -> None:
    """Refuse to replace what another study may have taken hours to find."""
    try:
        table, metadata = read_table(out / CELLS_FILE, STUDY)
    except BlastscopeError:  # none, or one that is damaged: it is made anew
        return
    recorded = (metadata.get("identity") or {}).get("models", ())
    models = [[model.name, model.run.checkpoint, model.grid] for model in explained.models]
    cells = {item.cell for item in found.cells}
    if [list(model[:3]) for model in recorded] != models or set(table["cell"]) != cells:
        raise BlastscopeError(
            f"{out} holds a study of other models or cells ({CELLS_FILE}), which would be lost: "
            "choose another folder with --out, or remove it."
        )
