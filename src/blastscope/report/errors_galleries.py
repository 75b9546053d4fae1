"""Cells worth a look: those every model misses, those one saves, those that were sure and wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from blastscope.data.crop import resize
from blastscope.data.store import Store
from blastscope.error_analysis.analysis import ErrorAnalysis, Pick
from blastscope.report.html import picture_uri
from blastscope.report.text import LABELS

MOST = 24
"""Cells that a gallery shows; ``cells.csv`` has all."""
SIDE = 96
"""Side of a picture, in pixels."""
SAVED = "Saved by one model alone"


@dataclass(frozen=True)
class GalleryCell:
    """One cell of a gallery; ``anchor`` is empty where an earlier gallery has the cell's."""

    anchor: str
    row: int
    cell: str
    label: str
    truth: str
    detail: str


@dataclass(frozen=True)
class Gallery:
    """Cells of one kind, the first ``MOST`` of ``total``."""

    title: str
    note: str
    total: int
    cells: tuple[GalleryCell, ...]


def make_galleries(analysis: ErrorAnalysis) -> tuple[Gallery, ...]:
    """Make the galleries that have any cells.

    The first place of a cell on the page carries the HTML id ``cell-<row>``, with its row among
    the analysis's cells.
    """
    models, missed = analysis.scores.models, analysis.missed_by_all
    several = len(models) > 1
    order = f"p(ALL) of {', '.join(models)}, in this order." if several else "With p(ALL)."
    kinds: list[tuple[str, str, Sequence[Pick], int]] = []
    if several:  # of one model, what all miss is what it is most sure of
        note = f"The most confident error first. {order}"
        kinds.append((f"Missed by all {len(models)} models", note, missed, len(missed)))
        note = f"Every other model misses these. {order}"
        kinds.append((SAVED, note, analysis.rescued, len(analysis.rescued)))
    for model, sure in analysis.most_sure.items():
        errors = sum(row.errors for row in analysis.counts.of(model))
        title = f"Most confidently wrong: {model}"
        kinds.append((title, f"The surest of its errors. {order}", sure, errors))
    seen: set[int] = set()
    galleries = []
    for title, note, picks, total in kinds:
        cells = []
        for pick in picks[:MOST]:
            anchor = "" if pick.row in seen else f"cell-{pick.row}"
            saved_by = pick.model if title == SAVED else None
            cells.append(_shown(analysis, pick.row, anchor, saved_by))
            seen.add(pick.row)
        if cells:
            galleries.append(Gallery(title, note, total, tuple(cells)))
    return tuple(galleries)


def cell_pictures(
    analysis: ErrorAnalysis, galleries: Sequence[Gallery], store: Store
) -> dict[int, str]:
    """Make a data URI of each cell that any gallery shows, by the cell's row.

    Models err on the same cells: pictures by cell, and not by place, keep the page small.
    """
    places = {cell: place for place, cell in enumerate(store.cells["cell"])}
    names = analysis.scores.cells["cell"]
    rows = {shown.row for gallery in galleries for shown in gallery.cells}
    return {
        row: picture_uri(resize(store.pixels[places[names[row]]], SIDE)) for row in sorted(rows)
    }


def _shown(analysis: ErrorAnalysis, row: int, anchor: str, saved_by: str | None) -> GalleryCell:
    cell, label = analysis.scores.cells.select("cell", "label").row(row)
    chances = " · ".join(f"{p:.2f}" for p in analysis.scores.p_all[row])
    detail = f"p {chances}" + (f", right: {saved_by}" if saved_by else "")
    return GalleryCell(anchor, row, cell, label, LABELS[label], detail)
