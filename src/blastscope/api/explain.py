"""Explain cells: write a page per cell, a table and an index to a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.api.result import (
    AnyPath,
    FolderResult,
    Progress,
    TextTable,
    as_paths,
    out_or_temporary,
    showing,
    synthetic_of,
)
from blastscope.api.tables import as_run_paths
from blastscope.bundle.contents import is_bundle
from blastscope.data.layouts import Listing
from blastscope.engines.torch_engine import choose_device
from blastscope.errors import BlastscopeError
from blastscope.evaluation.aligned_predictions import name_and_path
from blastscope.explanation.cells import find_cells, prepare_cells, refuse_other_labels
from blastscope.explanation.explain import explain_cells, first_maps
from blastscope.explanation.layer_choice import choose_layers
from blastscope.explanation.models import ExplainedModels, open_models
from blastscope.explanation.result import CellExplained, Note, NoteCode, TableCall
from blastscope.explanation.tables import METHODS
from blastscope.explanation.target_layer import GRID
from blastscope.io.files import read_json, write_json, write_text
from blastscope.io.remote import refuse_remote
from blastscope.io.tables import write_csv
from blastscope.io.workfolder import refuse_foreign
from blastscope.report.audit_page import AuditView
from blastscope.report.explanation_page import (
    COLUMNS,
    CellPage,
    CellSummary,
    index_html,
    note_pages,
    notes_text,
    page_names,
    remove_other_pages,
    summarize_cell,
    table_rows,
    write_cell_page,
)
from blastscope.report.text import LABELS

FORMAT = "blastscope-explanation/2"
FILE, TABLE = "explanation.json", "cells.csv"


@dataclass(frozen=True)
class Explanation:
    """What was written: the index, a summary a cell, the rows of the table, notes on models."""

    path: Path
    name: str
    synthetic: bool
    cells: tuple[CellSummary, ...]
    rows: tuple[dict[str, Any], ...]
    of_models: tuple[Note, ...] = ()

    @property
    def notes(self) -> tuple[Note, ...]:
        """Every note on models and cells, once."""
        of_cells = (note for cell in self.cells for note in cell.notes)
        return tuple(dict.fromkeys((*self.of_models, *of_cells)))


@dataclass(frozen=True, eq=False, repr=False)
class ExplanationResult(FolderResult):
    """The attributions of some cells: pages with heatmaps, and how far they can be believed."""

    found: Explanation
    synthetic = synthetic_of("found")

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each cell, model and method (docs/formats.md)."""
        return pl.DataFrame(self.found.rows, schema=COLUMNS)

    def as_json(self) -> dict[str, Any]:
        """The content of ``explanation.json``."""
        return read_json(self.place / FILE)

    def tables(self) -> list[TextTable]:
        """Return what each model makes of each cell."""
        judged = {None: "–", True: "right", False: "wrong"}
        rows = [
            (cell.file.cell, model, p_all, LABELS[called], judged[right])
            for cell in self.found.cells
            for model, p_all, called, right in cell.calls
        ]
        return [TextTable.of(("cell", "model", "p(ALL)", "called", ""), rows)]

    def notes(self) -> list[str]:
        """Say what does not apply to these models and cells."""
        return list(notes_text(self.found.notes))

    def _title(self) -> str:
        return f"{self.found.name}, {len(self.found.cells)} cells explained"


def explain(
    models: AnyPath | Iterable[AnyPath] | Mapping[str, AnyPath],
    cells: AnyPath | Iterable[AnyPath],
    *,
    out: AnyPath | None = None,
    data: AnyPath | Iterable[AnyPath] | None = None,
    methods: Sequence[str] = tuple(METHODS),
    layers: Sequence[str] | None = None,
    grid: int = GRID,
    device: str = "auto",
    progress: Progress = False,
) -> ExplanationResult:
    """Explain what models make of some cells: heatmaps for ALL and for normal, and feature maps.

    With ``out`` it writes ``explanation.json``, ``cells.csv`` (a row a cell and model), ``cells/``
    (a page a cell), ``figures/`` (a folder a cell) and ``report.html``, which leads to the pages.
    Files of an earlier explanation there are replaced; nothing else is touched. Without ``out``
    they lie in a temporary folder until ``save`` is called.

    Args:
        models: runs, or one ensemble or bundle: paths, ``NAME=PATH``, or a mapping of names.
        cells: the names of cells in ``data``, or image files; one or several.
        out: the folder to write to.
        data: folders of images, or stores.
        methods: of attribution, the first on the panels; without ``occlusion`` it is quick, and no
            deletion and insertion curves are measured.
        layers: names of layers for the feature maps; None for the first ones.
        grid: the fewest positions a side of the feature map that Grad-CAM reads.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        progress: show a progress bar; or a function to call with how much is done and of how much.

    Returns:
        The calls, attributions and pages.

    Raises:
        BlastscopeError: if a model, a cell, a method or a layer does not exist, or ``out`` holds
            another kind of report, or cannot be written.
    """
    place, keeper = out_or_temporary(out)
    refuse_foreign(place, FILE, ["report.html", TABLE])
    names = [cells] if isinstance(cells, str | PathLike) else list(cells)
    paths = as_run_paths(models)
    _refuse_cells_among_runs(paths)
    chosen = _methods(methods)
    explained = open_models(paths, choose_device(device), grid)
    found = find_cells([str(Path(name)) for name in names], as_paths(data))
    refuse_other_labels(explained.models, found.cells)
    if layers:  # a wrong name is refused before anything is made
        choose_layers(explained.models, layers)
    with showing("Explaining", progress) as advance:
        made = write_explanation(explained, found, place, chosen, layers, on_progress=advance)
    return ExplanationResult(made, path=None if out is None else place, keeper=keeper)


def _refuse_cells_among_runs(models: Sequence[str | Path]) -> None:
    """Refuse cells that were taken for runs: of ``--cells a b`` only a is the option's."""
    for model in models:
        path = name_and_path(model)[1]
        refuse_remote(path)
        if not path.is_dir() and not is_bundle(path):
            raise BlastscopeError(
                f"{model} is neither a run nor a bundle: if it is a cell, give it as a cell "
                "(--cells before each); if not, give a run."
            )


def write_explanation(
    explained: ExplainedModels,
    found: Listing,
    out: Path,
    methods: Sequence[str] = tuple(METHODS),
    layers: Sequence[str] | None = None,
    *,
    table: Mapping[Path, TableCall] | None = None,
    audit: Callable[[dict[str, str]], AuditView] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """Explain listed cells as :func:`explain` does.

    If ``table`` is given, the pages show what that prediction table says of each file. If ``audit``
    is given, it makes the section above the cells from the address of each cell's page.
    """
    names = page_names([item.cell for item in found.cells])
    summaries: list[CellSummary] = []
    rows: list[dict[str, Any]] = []
    synthetic = explained.synthetic or found.synthetic
    for cell, page in cell_pages(
        explained, found, out, names, methods, layers,
        figures=True, table=table, on_progress=on_progress,
    ):  # fmt: skip
        summaries.append(summarize_cell(cell, page))
        rows.extend(table_rows(cell))
    notes, path = tuple(_coarse_maps(explained)), out / "report.html"
    made = Explanation(path, explained.name, synthetic, tuple(summaries), tuple(rows), notes)
    section = audit({cell.file.cell: cell.page for cell in summaries}) if audit else None
    write_json(out / FILE, _as_json(made, explained, methods, rows))
    write_csv(pl.DataFrame(rows, schema=COLUMNS), out / TABLE)
    index = index_html(
        made.name, made.cells, explained.models, methods, notes=made.notes, audit=section,
        synthetic=synthetic, combined=explained.combination is not None,
    )  # fmt: skip
    write_text(made.path, index)
    remove_other_pages(out / "cells", names.values(), out / "figures")
    return made


def cell_pages(
    explained: ExplainedModels,
    found: Listing,
    out: Path,
    names: Mapping[str, str],
    methods: Sequence[str],
    layers: Sequence[str] | None = None,
    *,
    back: Callable[[str], str] = lambda cell: "../report.html",
    figures: bool = False,
    table: Mapping[Path, TableCall] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[CellExplained, CellPage]]:
    """Explain listed cells one after the other, and write the page of each, called by ``names``.

    The heatmaps of all cells share a scale, so their maps are computed before the first page.
    ``back`` is the address that a cell's page leads back to; ``figures`` writes its plots as well.
    """
    settings = [model.settings for model in explained.models]
    synthetic = explained.synthetic or found.synthetic
    with tempfile.TemporaryDirectory(prefix="blastscope-explain-") as work:
        dataset = prepare_cells(found, settings, Path(work))
        note_pages(out / "cells", names.values())
        first = first_maps(explained, dataset, methods[0]) if len(dataset) else None
        cells = explain_cells(explained, dataset, methods, layers, first=first, table=table)
        for done, cell in enumerate(cells, 1):
            name = names[cell.file.cell]
            plots = out / "figures" / name if figures else None
            address = back(cell.file.cell)
            yield (
                cell,
                write_cell_page(
                    cell, out / "cells", address, name=name, synthetic=synthetic, figures=plots
                ),
            )
            if on_progress is not None:
                on_progress(done, len(dataset))


def _methods(asked: Sequence[str]) -> tuple[str, ...]:
    methods = tuple(dict.fromkeys(asked))
    wrong = [method for method in methods if method not in METHODS]
    if wrong or not methods:
        what = f"{wrong[0]!r} is not a method" if wrong else "No method is given"
        raise BlastscopeError(f"{what}: choose of {', '.join(METHODS)}.")
    return methods


def _as_json(
    made: Explanation,
    explained: ExplainedModels,
    methods: Sequence[str],
    rows: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": made.name,
        "synthetic": made.synthetic,
        "methods": list(methods),
        "models": [
            {
                "name": model.name,
                "recipe": model.run.recipe.name,
                "checkpoint": model.run.checkpoint,
                "size": model.size,
                "views": len(model.views),
                "target_layer": model.opened.layer,
                "grid": list(model.opened.shape[1:]),
            }
            for model in explained.models
        ],
        "combination": None if explained.combination is None else asdict(explained.combination),
        "cells": [{"cell": cell.file.cell, "page": cell.page} for cell in made.cells],
        "rows": list(rows),
        "notes": [asdict(note) for note in made.notes],
    }


def _coarse_maps(explained: ExplainedModels) -> Iterator[Note]:
    """Yield a note on each network that has no map with as many positions as asked for."""
    for model in explained.models:
        _, height, width = model.opened.shape
        if min(height, width) < model.grid:
            details = (str(model.grid), str(height), str(width))
            yield Note(NoteCode.COARSE_GRID, model.name, details)
