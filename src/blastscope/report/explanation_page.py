"""Write the pages of an explanation: the page of a cell, the index, and ``cells.csv``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import xxhash
from scipy.special import expit

from blastscope.data.layouts import CellFile
from blastscope.explanation.cell_image import REGIONS
from blastscope.explanation.map_measures import area
from blastscope.explanation.result import CellExplained, ModelExplained, Note
from blastscope.explanation.tables import AUDIT, CELL_CURVES, METHODS, SCALES
from blastscope.io.files import replacing, write_text
from blastscope.report.cell_pages import remove_figures
from blastscope.report.explanation_plots import (
    attribution_panel,
    class_panel,
    map_grid,
    png,
    thumbnail,
)
from blastscope.report.explanation_text import notes_text
from blastscope.report.html import picture_uri, render, small_uri
from blastscope.report.text import LABELS, counted, number

if TYPE_CHECKING:
    from blastscope.explanation.models import ExplainedModel
    from blastscope.report.audit_page import AuditView

THUMBNAIL = 208
"""Side of the thumbnail of a cell on other pages, in pixels."""
_LONGEST = 80
_SHARES = tuple(f"{of}_{region}" for of in ("grad_cam", "area", "occlusion") for region in REGIONS)
_AREAS = tuple(
    f"{kind}_{name}" for name in CELL_CURVES.values() for kind in ("deletion", "insertion")
)
COLUMNS: dict[str, pl.DataType] = {
    **{name: AUDIT.columns[name] for name in ("cell", "subject", "label", "model", "p_all")},
    "called": pl.String(),
    "right": pl.Boolean(),
    **dict.fromkeys((*_SHARES, "agreement", *_AREAS), pl.Float64()),
}
"""The columns of ``cells.csv``."""


@dataclass(frozen=True)
class CellPage:
    """A page that was written, and its thumbnail (a data URI)."""

    path: Path
    thumbnail: str


@dataclass(frozen=True)
class CellView:
    """The one object that ``explained_cell.html`` reads."""

    name: str
    label: str | None
    subject: str | None
    crop: str
    side: int
    heatmaps: str
    classes: str
    maps: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    callers: tuple[Caller, ...]
    regions: tuple[str, ...]
    curves: tuple[CurveRow, ...]
    rivals: tuple[str, ...]
    agreement: tuple[tuple[str, tuple[str, ...]], ...]
    scaled: tuple[tuple[str, tuple[float, ...]], ...]
    scales: tuple[float, ...]
    read_at: tuple[tuple[str, str, str], ...]
    notes: tuple[str, ...]
    methods: tuple[str, ...]
    names: Mapping[str, str]


@dataclass(frozen=True)
class Caller:
    """The call of a model; shares of the attribution and of the area by region."""

    name: str
    p_all: float
    called: str
    right: bool | None
    trained: bool
    shares: tuple[tuple[float | None, float], ...]


@dataclass(frozen=True)
class CurveRow:
    """A model's areas under the curves by method, that of a random map last."""

    name: str
    deletion: tuple[float, ...]
    insertion: tuple[float, ...]


def page_names(cells: Sequence[str]) -> dict[str, str]:
    """Give each cell a unique name that is safe in paths and addresses.

    What is not a letter, a digit, ``_`` or ``-`` becomes ``_``; if an earlier cell already has the
    name, in any case, a hash of the cell's own name is appended.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for cell in cells:
        name = re.sub(r"[^A-Za-z0-9_-]", "_", cell)[:_LONGEST] or "_"
        while name.lower() in taken:
            name = f"{name}-{xxhash.xxh3_64_hexdigest(cell.encode())}"
        taken.add(name.lower())
        names[cell] = name
    return names


def write_cell_page(
    cell: CellExplained,
    folder: Path,
    back: str,
    *,
    name: str,
    synthetic: bool,
    figures: Path | None = None,
) -> CellPage:
    """Draw the plots of a cell and write its self-contained page ``<name>.html``.

    Args:
        cell: the explanation.
        folder: of the page.
        back: the address, seen from the page, of the page that links to it.
        name: of :func:`page_names`.
        synthetic: whether cells or models are synthetic.
        figures: a folder for the plots; None for the page alone.

    Raises:
        BlastscopeError: if a folder cannot be written.
    """
    drawn = {"heatmaps": png(attribution_panel(cell)), "classes": png(class_panel(cell))}
    maps = []
    files = page_names([model.name for model in cell.models])
    for model in cell.models:
        of_model = []
        layers = page_names([found.layer.name for found in model.layers])
        for found in model.layers:
            file = f"maps-{files[model.name]}-{layers[found.layer.name]}"
            drawn[file] = png(map_grid(found, model.name))
            of_model.append((found.layer.title, small_uri(drawn[file])))
        maps.append((model.name, tuple(of_model)))
    if figures is not None:
        _write_figures(drawn, figures)
    path = folder / f"{name}.html"
    view = _view(cell, drawn, tuple(maps))
    page = render(
        "explained_cell.html", title=cell.file.cell, synthetic=synthetic, back=back, cell=view
    )
    write_text(path, page)
    return CellPage(path, small_uri(thumbnail(cell, THUMBNAIL)))


def _write_figures(drawn: Mapping[str, bytes], folder: Path) -> None:
    """Write plots by their names, and remove those of an earlier page that are not among them."""
    for file, content in drawn.items():
        with replacing(folder / f"{file}.png") as beside:
            beside.write_bytes(content)
    remove_figures(folder, drawn)


def curve_areas(measured: Mapping[str, Any]) -> dict[str, float]:
    """Return the area under each curve that was measured, by its column: ``deletion_random``."""
    columns = (
        f"{kind}_{name}" for kind in ("deletion", "insertion") for name in CELL_CURVES.values()
    )
    return {
        column: float(area(np.array(measured[column])))
        for column in columns
        if measured[column] is not None
    }


def _view(
    cell: CellExplained,
    drawn: Mapping[str, bytes],
    maps: tuple[tuple[str, tuple[tuple[str, str], ...]], ...],
) -> CellView:
    several = len(cell.models) > 1
    rivals = (*cell.methods, "random")
    regions = [
        region
        for region in REGIONS
        if region != "debris" or any(model.measured["area_debris"] > 0 for model in cell.models)
    ]
    measured = [(model.name, model.measured) for model in cell.models]
    return CellView(
        name=cell.file.cell,
        label=cell.file.label,
        subject=cell.file.subject,
        crop=picture_uri(cell.picture.crop),
        side=cell.picture.side,
        heatmaps=small_uri(drawn["heatmaps"]),
        classes=small_uri(drawn["classes"]),
        maps=maps,
        callers=tuple(_caller(cell, model, regions) for model in cell.models) + _ensemble(cell),
        regions=tuple(regions),
        curves=tuple(row for model in cell.models for row in _curve_row(model, rivals)),
        rivals=tuple(METHODS.get(method, method) for method in rivals),
        agreement=tuple(
            (name, tuple(number(r, 2) for r in row["agreement"]))
            for name, row in measured
            if several
        ),
        scaled=tuple(
            (name, tuple(float(p) for p in expit(row["logits_scaled"])))
            for name, row in measured
            if row["logits_scaled"] is not None
        ),
        scales=SCALES,
        read_at=tuple(
            (model.name, model.target_layer, f"{model.grid[0]} × {model.grid[1]}")
            for model in cell.models
        ),
        notes=notes_text(note for model in cell.models for note in model.notes),
        methods=tuple(METHODS[method] for method in cell.methods),
        names=LABELS,
    )


def _caller(cell: CellExplained, model: ModelExplained, regions: Sequence[str]) -> Caller:
    shares = tuple(
        (model.measured[f"grad_cam_{region}"], model.measured[f"area_{region}"])
        for region in regions
    )
    right = cell.right(model.called)
    return Caller(model.name, model.p_all, model.called, right, model.part == "train", shares)


def _ensemble(cell: CellExplained) -> tuple[Caller, ...]:
    whole = cell.ensemble
    if whole is None:
        return ()
    return (Caller(whole.name, whole.p_all, whole.called, cell.right(whole.called), False, ()),)


def _curve_row(model: ModelExplained, rivals: Sequence[str]) -> tuple[CurveRow, ...]:
    areas = curve_areas(model.measured)
    if not areas:
        return ()
    deletion, insertion = (
        tuple(areas[f"{kind}_{CELL_CURVES[method]}"] for method in rivals)
        for kind in ("deletion", "insertion")
    )
    return (CurveRow(model.name, deletion, insertion),)


def table_rows(cell: CellExplained) -> Iterator[dict[str, Any]]:
    """Yield the rows of a cell in ``cells.csv``: areas of curves, the mean agreement."""
    item = cell.file
    shared = {"cell": item.cell, "subject": item.subject, "label": item.label}
    blank = dict.fromkeys(COLUMNS)
    for model in cell.models:
        alike = [value for value in model.measured["agreement"] if value is not None]
        yield (
            blank
            | shared
            | {
                "model": model.name,
                "p_all": model.p_all,
                "called": model.called,
                "right": cell.right(model.called),
                **{name: model.measured[name] for name in _SHARES},
                "agreement": sum(alike) / len(alike) if alike else None,
                **curve_areas(model.measured),
            }
        )
    if cell.ensemble is not None:
        whole = {"model": cell.ensemble.name, "p_all": cell.ensemble.p_all}
        called = cell.ensemble.called
        yield blank | shared | whole | {"called": called, "right": cell.right(called)}


@dataclass(frozen=True)
class CellSummary:
    """A cell of the index, and the call of each model, that of the ensemble last.

    Attributes:
        file: of the cell.
        page: the address of its page from the index.
        thumbnail: its heatmaps, a data URI.
        calls: the model's name, the probability of ALL, the call, and whether it is right.
        notes: what is missing or coarse.
    """

    file: CellFile
    page: str
    thumbnail: str
    calls: tuple[tuple[str, float, str, bool | None], ...]
    notes: tuple[Note, ...]


def summarize_cell(cell: CellExplained, page: CellPage) -> CellSummary:
    """Summarize a cell for the index, whose pages lie in ``cells/``."""
    called = [(model.name, model.p_all, model.called) for model in cell.models]
    if cell.ensemble is not None:
        called.append((cell.ensemble.name, cell.ensemble.p_all, cell.ensemble.called))
    calls = tuple((name, p_all, call, cell.right(call)) for name, p_all, call in called)
    notes = tuple(note for model in cell.models for note in model.notes)
    return CellSummary(cell.file, f"cells/{page.path.name}", page.thumbnail, calls, notes)


def index_html(
    name: str,
    cells: Sequence[CellSummary],
    models: Sequence[ExplainedModel],
    methods: Sequence[str],
    *,
    notes: Sequence[Note],
    audit: AuditView | None,
    synthetic: bool,
) -> str:
    """Render the index of an explanation.

    Args:
        name: of the model or ensemble.
        cells: those that have a page.
        models: the networks.
        methods: of ``METHODS``.
        notes: on models and cells.
        audit: the section above the cells; None without an audit.
        synthetic: whether cells or models are synthetic.
    """
    return render(
        "explanations.html",
        title=f"Explanation of {name}",
        audit=audit,
        synthetic=synthetic,
        cells=cells,
        notes=notes_text(notes),
        methods=[METHODS[method] for method in methods],
        models=[
            (model.name, model.opened.layer, *model.opened.shape[1:], model.size, len(model.views))
            for model in models
        ],
        verdict=_verdict(cells) if audit is None else "",
        names=LABELS,
    )


def _verdict(cells: Sequence[CellSummary]) -> str:
    """Count the right calls of each model; the answer of a page on single cells."""
    counts: dict[str, list[bool]] = {}
    for cell in cells:
        for name, _, _, right in cell.calls:
            if right is not None:
                counts.setdefault(name, []).append(right)
    if not counts:
        return f"The true class of {'this cell' if len(cells) == 1 else 'these cells'} is unknown."
    found = [f"{name} calls {sum(r)} of {counted(len(r))} right" for name, r in counts.items()]
    return f"{'; '.join(found)}."
