"""A study of a whole part of a split, with a page for each cell that it names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from blastscope.cells.layouts import Listing
from blastscope.errors import BlastscopeError
from blastscope.explain.layers import choose_layers
from blastscope.explain.material import prepare_material
from blastscope.explain.measure import STUDY
from blastscope.explain.members import Explained, open_models
from blastscope.explain.places import GRID
from blastscope.explain.study.looks import looks
from blastscope.explain.study.run import CELLS_FILE, run_study, study_cells
from blastscope.files import remove_folder
from blastscope.report.explain import FILE, TABLE, Explanation, write_explanation
from blastscope.report.folder import refuse_others_folder
from blastscope.report.study import report_study
from blastscope.report.study_sections import StudyView
from blastscope.tables import read_table
from blastscope.train.devices import choose_device

METHODS = ("grad-cam", "grad-cam++")
"""What the pages of the named cells show; the study has what takes a hundred passes."""


@dataclass(frozen=True)
class StudyReport:
    """What was written: the page with its cells, and the section above them."""

    explanation: Explanation
    study: StudyView


def study_to_folder(
    given: Sequence[str | Path],
    out: Path,
    part: str = "test",
    *,
    data: Sequence[Path],
    layers: Sequence[str] | None = None,
    grid: int = GRID,
    device: str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
) -> StudyReport:
    """Measure on a whole part whether models' maps are to be believed, and report it.

    Writes ``study.parquet`` and ``randomisation.parquet``, their summary ``study-summary.json``,
    ``figures/study-*``, and what ``report.explain`` writes, for the cells that the study names. A
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
    refuse_others_folder(out, FILE, [TABLE])
    if (out / FILE).exists() and not (out / CELLS_FILE).exists():
        raise BlastscopeError(
            f"{out} holds an explanation of single cells, whose page would be overwritten: choose "
            "another folder with --out."
        )
    if not data:
        raise BlastscopeError("A study wants to see the cells: give their folder with --data.")
    explained = open_models(given, choose_device(device), grid)
    found = study_cells(given, part, data)
    _refuse_another_study(out, explained, found)
    if layers:  # a wrong name is said before the hours that a study takes
        choose_layers(explained.models, layers)
    work = out / ".work"  # beside what is done, so that a killed study finds both
    wanted = [model.settings for model in explained.models]
    material = prepare_material(found, wanted, work, on_progress)
    study = run_study(explained, material, out, on_progress)
    named = {
        look.cell
        for places in looks(study.cells).values()
        for place in places
        for look in place.worst
    }
    cells = [item for item in found.cells if item.cell in named]
    sections: list[StudyView] = []

    def section(pages: dict[str, str]) -> StudyView:
        synthetic = explained.synthetic or material.synthetic
        sections.append(
            report_study(
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
    return StudyReport(made, sections[-1])


def _refuse_another_study(out: Path, explained: Explained, found: Listing) -> None:
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
