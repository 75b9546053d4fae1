"""One cell's page: its figures, what the models say of it, and what the maps are worth."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from scipy.special import expit

from blastscope.explanation.attribution import METHODS
from blastscope.explanation.audit.words import figure
from blastscope.explanation.cell_image import REGIONS
from blastscope.explanation.deletion_insertion import area
from blastscope.explanation.measures import CELL_CURVES
from blastscope.explanation.result import CellExplained, ModelExplained
from blastscope.explanation.size import SCALES
from blastscope.io.files import replacing, write_text
from blastscope.report.cell_pages import remove_figures
from blastscope.report.explanation_overlay import thumbnail
from blastscope.report.explanation_plots import class_panel, heat_panel, map_grid, png
from blastscope.report.html import picture_uri, render, small_uri
from blastscope.report.text import LABELS

THUMBNAIL = 208
"""Side of the picture that stands for a cell on other pages, in pixels."""
_LONGEST = 80


@dataclass(frozen=True)
class CellPage:
    """A page that was written, and the picture that stands for it elsewhere (a data URI)."""

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
    heat: str
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
    """Who calls the cell what; shares of the heat and of the area by region."""

    name: str
    p_all: float
    called: str
    right: bool | None
    trained: bool
    heat: tuple[tuple[float | None, float], ...]


@dataclass(frozen=True)
class CurveRow:
    """A model's areas under the curves by method, the random rival's last."""

    name: str
    deletion: tuple[float, ...]
    insertion: tuple[float, ...]


def page_names(cells: Sequence[str]) -> dict[str, str]:
    """Give each cell a name that is safe in paths and addresses, each another.

    What is not a letter, a digit, ``_`` or ``-`` becomes ``_``; a name that an earlier cell has by
    then, whatever its case, ends in a hash of the cell's own.
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
    """Draw a cell's figures and write its self-contained page ``<name>.html``.

    Args:
        cell: what was found.
        folder: where the page goes.
        back: the address, seen from the page, of the page that leads to it.
        name: of :func:`page_names`.
        synthetic: whether cells or models are synthetic.
        figures: a folder for the figures' own files; None for the page alone.

    Raises:
        BlastscopeError: where a folder cannot be written.
    """
    drawn = {"heat": png(heat_panel(cell)), "classes": png(class_panel(cell))}
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
    """Write figures by their names, and remove those of ours that are not among them."""
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
        heat=small_uri(drawn["heat"]),
        classes=small_uri(drawn["classes"]),
        maps=maps,
        callers=tuple(_caller(cell, model, regions) for model in cell.models) + _ensemble(cell),
        regions=tuple(regions),
        curves=tuple(row for model in cell.models for row in _curve_row(model, rivals)),
        rivals=tuple(METHODS.get(method, method) for method in rivals),
        agreement=tuple(
            (name, tuple("–" if r is None else figure(r) for r in row["agreement"]))
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
            (model.name, model.place, f"{model.grid[0]} × {model.grid[1]}") for model in cell.models
        ),
        notes=tuple(note for model in cell.models for note in model.notes),
        methods=tuple(METHODS[method] for method in cell.methods),
        names=LABELS,
    )


def _caller(cell: CellExplained, model: ModelExplained, regions: Sequence[str]) -> Caller:
    heat = tuple(
        (model.measured[f"heat_{region}"], model.measured[f"area_{region}"]) for region in regions
    )
    right = cell.right(model.called)
    return Caller(model.name, model.p_all, model.called, right, model.part == "train", heat)


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
