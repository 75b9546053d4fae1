"""The pages of an explanation: that of a cell, the index, and what is kept of both in a folder."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import xxhash
from scipy.special import expit

from blastscope.data.layouts import CellFile
from blastscope.errors import BlastscopeError, writing
from blastscope.explanation.cell_image import REGIONS
from blastscope.explanation.map_measures import area
from blastscope.explanation.result import CellExplained, ModelExplained, Note, NoteCode
from blastscope.explanation.tables import AUDIT, CELL_CURVES, METHODS, SCALES
from blastscope.io.files import read_json, replacing, write_json, write_text
from blastscope.report.explanation_plots import (
    attribution_panel,
    callers,
    class_panel,
    everything,
    map_grid,
    png,
    thumbnail,
)
from blastscope.report.html import picture_uri, render, small_uri
from blastscope.report.text import LABELS, counted

if TYPE_CHECKING:
    from blastscope.explanation.models import ExplainedModel
    from blastscope.report.audit_page import AuditView

THUMBNAIL = 208
"""Side of the thumbnail of a cell on other pages, in pixels."""
LIST = ".pages.json"
"""It names the pages before the first is written, so that the next report removes what a stopped
one left."""
_LONGEST = 80
_SHARES = tuple(f"{of}_{region}" for of in ("grad_cam", "area", "occlusion") for region in REGIONS)
_AREAS = tuple(
    f"{kind}_{name}" for name in CELL_CURVES.values() for kind in ("deletion", "insertion")
)
COLUMNS: dict[str, pl.DataType] = {
    **{name: AUDIT.columns[name] for name in ("cell", "subject", "label", "model", "p_all")},
    "called": pl.String(),
    "right": pl.Boolean(),
    "refer": pl.Boolean(),
    **dict.fromkeys((*_SHARES, "agreement", *_AREAS), pl.Float64()),
}
"""The columns of ``cells.csv``."""
_NOTES = {
    NoteCode.COARSE_GRID: (
        "{model} has no map of {0} positions a side: Grad-CAM reads its last map, {1} × {2}."
    ),
    NoteCode.SINGLE_FIELD: (
        "The last map of {model} is a single position wide, so {0} cannot locate its attribution: "
        "use occlusion."
    ),
    NoteCode.NO_ATTRIBUTION: "{0} finds no attribution for {1}, the class that {model} calls.",
    NoteCode.NO_CONVOLUTION: "{model} has no first convolution with a map, so none is shown.",
    NoteCode.NO_POOLING: "{model} has no pooling inside, so no pooled maps are shown.",
    NoteCode.POOLS_TO_ONE_FIELD: (
        "{model} pools only to a single position, so no pooled maps are shown."
    ),
    NoteCode.LAYER_WITHOUT_MAP: (
        "{model}: the output of {0} is not a map (its shape is {1}), so it is not shown."
    ),
    NoteCode.LAYER_ABSENT: "{model}: {0}",
}


def note_text(note: Note) -> str:
    """Write one note as a sentence."""
    names = [METHODS.get(detail, LABELS.get(detail, detail)) for detail in note.details]
    return _NOTES[note.code].format(*names, model=note.model)


def notes_text(notes: Iterable[Note]) -> tuple[str, ...]:
    """Write notes as sentences, each once."""
    return tuple(dict.fromkeys(note_text(note) for note in notes))


@dataclass(frozen=True)
class CellPage:
    """A page that was written, and its thumbnail (a data URI)."""

    path: Path
    thumbnail: str


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

    ``back`` is the address, seen from the page, of the page that links to it, ``name`` one of
    :func:`page_names`, ``figures`` a folder for the plots (None for the page alone).

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
        maps.append((model.name, of_model))
    if figures is not None:
        _write_plots(drawn, figures)
    with_debris = any(model.measured["area_debris"] > 0 for model in cell.models)
    areas = {model.name: curve_areas(model.measured) for model in cell.models}
    logits = {model.name: model.measured["logits_scaled"] for model in cell.models}
    page = render(
        "explained_cell.html",
        title=cell.file.cell,
        synthetic=synthetic,
        back=back,
        cell=cell,
        callers=callers(cell),
        crop=picture_uri(cell.picture.crop),
        heatmaps=small_uri(drawn["heatmaps"]),
        classes=small_uri(drawn["classes"]),
        maps=maps,
        regions=[region for region in REGIONS if region != "debris" or with_debris],
        methods=METHODS,
        rivals={method: CELL_CURVES[method] for method in (*cell.methods, "random")},
        curves={name: found for name, found in areas.items() if found},
        # Probabilities that are not calibrated would contradict the table's.
        scaled={}
        if cell.table
        else {name: expit(found).tolist() for name, found in logits.items() if found is not None},
        scales=SCALES,
        notes=notes_text(note for model in cell.models for note in model.notes),
    )
    path = folder / f"{name}.html"
    write_text(path, page)
    return CellPage(path, small_uri(thumbnail(cell, THUMBNAIL)))


def _write_plots(drawn: Mapping[str, bytes], folder: Path) -> None:
    """Write plots by their names, and remove those of an earlier page that are not among them."""
    for file, content in drawn.items():
        with replacing(folder / f"{file}.png") as beside:
            beside.write_bytes(content)
    remove_plots(folder, drawn)


def curve_areas(measured: Mapping[str, Any]) -> dict[str, float]:
    """Return the area under each curve that was measured, by its column: ``deletion_random``."""
    known = {column: measured[column] for column in _AREAS if measured[column] is not None}
    return {column: float(area(np.array(curve))) for column, curve in known.items()}


def table_rows(cell: CellExplained) -> Iterator[dict[str, Any]]:
    """Yield the rows of a cell in ``cells.csv``: areas of curves, the mean agreement."""
    item = cell.file
    blank = dict.fromkeys(COLUMNS)
    shown = callers(cell)
    for caller in everything(cell):
        whole = any(caller is one for one in shown)
        row = blank | {
            "cell": item.cell,
            "subject": item.subject,
            "label": item.label,
            "model": caller.name,
            "p_all": caller.p_all if whole else None,
            "called": caller.called,
            "right": cell.right(caller.called),
            "refer": cell.table.refer if cell.table and whole else None,
        }
        if isinstance(caller, ModelExplained):
            alike = [value for value in caller.measured["agreement"] if value is not None]
            row |= {name: caller.measured[name] for name in _SHARES} | curve_areas(caller.measured)
            row["agreement"] = sum(alike) / len(alike) if alike else None
        yield row


@dataclass(frozen=True)
class CellSummary:
    """A cell of the index, and the call of each model, that of the ensemble last.

    Attributes:
        file: of the cell.
        page: the address of its page from the index.
        thumbnail: its heatmaps, a data URI.
        calls: the model's name, the probability of ALL, the call, and whether it is right.
        notes: what is missing or coarse.
        beside_table: whether the call is a prediction table's.
        refer: whether that table refers the cell to an expert; None if it does not say.
    """

    file: CellFile
    page: str
    thumbnail: str
    calls: tuple[tuple[str, float, str, bool | None], ...]
    notes: tuple[Note, ...]
    beside_table: bool = False
    refer: bool | None = None


def summarize_cell(cell: CellExplained, page: CellPage) -> CellSummary:
    """Summarize a cell for the index, whose pages lie in ``cells/``."""
    calls = tuple((c.name, c.p_all, c.called, cell.right(c.called)) for c in callers(cell))
    notes = tuple(note for model in cell.models for note in model.notes)
    address, said = f"cells/{page.path.name}", cell.table
    refer = None if said is None else said.refer
    return CellSummary(cell.file, address, page.thumbnail, calls, notes, said is not None, refer)


def index_html(
    name: str,
    cells: Sequence[CellSummary],
    models: Sequence[ExplainedModel],
    methods: Sequence[str],
    *,
    notes: Sequence[Note],
    audit: AuditView | None,
    synthetic: bool,
    combined: bool = False,
) -> str:
    """Render the index of an explanation: the audit if there is one, then the cells with a page."""
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
        combined=combined,
        verdict=_verdict(cells) if audit is None else "",
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


def note_pages(folder: Path, names: Collection[str]) -> None:
    """Note that pages are about to be written, beside those that were noted before.

    Raises:
        BlastscopeError: if the folder cannot be written.
    """
    if names:
        write_json(folder / LIST, {"pages": sorted(_noted(folder).union(names))})


def remove_other_pages(folder: Path, names: Collection[str], figures: Path | None = None) -> None:
    """Remove the pages that were noted and are not among ``names``, and nothing else.

    ``figures`` is the folder that has a folder of plots for each page, if there is one.

    Raises:
        BlastscopeError: if a file cannot be removed.
    """
    noted = _noted(folder)
    with writing(folder):
        for name in sorted(noted.difference(names)):
            (folder / f"{name}.html").unlink(missing_ok=True)
            if figures is not None:
                remove_plots(figures / name)
        if names:
            write_json(folder / LIST, {"pages": sorted(names)})
        elif noted:
            (folder / LIST).unlink()
            _remove_empty(folder)


def remove_plots(folder: Path, drawn: Collection[str] = ()) -> None:
    """Remove a page's figures but for those in ``drawn``, and the folder if nothing is left.

    Raises:
        BlastscopeError: if a file cannot be removed.
    """
    with writing(folder):
        for pattern in ("heatmaps.png", "classes.png", "maps-*.png"):
            for path in folder.glob(pattern):
                if path.stem not in drawn:
                    path.unlink(missing_ok=True)
        _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _noted(folder: Path) -> set[str]:
    if not (folder / LIST).is_file():
        return set()
    try:
        pages = read_json(folder / LIST).get("pages")
    except BlastscopeError:  # not ours, or damaged: then nothing is known to be ours
        return set()
    names = [str(name) for name in pages] if isinstance(pages, list) else []
    return {name for name in names if re.fullmatch(r"[A-Za-z0-9_-]+", name)}
