"""The cells of a case: all as columns, one in detail, their images and sheets."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from blastscope.data.images import UnusableImageError, read_image
from blastscope.workbench.access import Access, access
from blastscope.workbench.cell_table import CellTable, chosen, counts, ordered
from blastscope.workbench.contact_sheets import PER_ROW, PER_SHEET, TILE, png, spans
from blastscope.workbench.context import Workbench
from blastscope.workbench.people import Who
from blastscope.workbench.refusal import invalid, unknown
from blastscope.workbench.review_state import LABELS
from blastscope.workbench.reviews import ReadingView
from blastscope.workbench.routes import cell_answers
from blastscope.workbench.routes.answers import gives, sends
from blastscope.workbench.routes.cases import key_of
from blastscope.workbench.routes.dependencies import FOREVER, Bench, Viewer, etagged, image
from blastscope.workbench.sighting import saw
from blastscope.workbench.similar import similar_order
from blastscope.workbench.store.tables import Sheet
from blastscope.workbench.summaries import (
    as_counted,
    readings_of,
    reviewed,
    revision,
    second_label,
    visible,
)

router = APIRouter(prefix="/api/v1/cases/{case_id}")
_LETTERS = (None, *LABELS)


@router.get("/cells", **gives(cell_answers.CellsJson))
def get_cells(
    bench: Bench,
    who: Viewer,
    case_id: int,
    request: Request,
    reading: int | None = None,
    since: int | None = None,
    version: int | None = None,
) -> Response:
    """Return all cells as columns; with ``since``, those that changed after that event.

    Cells also come, and change, without an event: they are scored. With the ``version`` of an
    earlier answer, all cells are returned if any did.
    """
    with bench.database.read() as session:
        found = access(session, case_id, who, reading)
        if version is not None and version != found.case.version:
            since = None
        key = (*key_of(session, found, who), found.reading.id, since)
        if not found.blind:
            saw(bench.database, session, found.case, who)
        return etagged(request, key, lambda: cells_json(bench, session, found, who, since))


def cells_json(
    bench: Workbench, session: Session, found: Access, who: Who, since: int | None
) -> dict[str, Any]:
    """Return the cells of a reading as columns; nothing of the model's for a blind reader."""
    case, blind = found.case, found.blind
    table = bench.tables.of(session, case)
    scope = found.scope(table.random)
    together = reviewed(bench, session, case, table)
    other, changed = None, np.zeros(len(table), np.int64)
    if not blind:
        other, changed = _other_label(bench, session, found, table)
    with bench.reviews.view(session, found.reading.id, len(table)) as view:
        seen = visible(view, who, blind)
        here = scope.copy()
        if since is not None and not blind:  # what others touched stays hidden from a blind reader
            here &= np.maximum(view.changed[: len(table)], changed) > since
        rows = np.flatnonzero(here)
        columns = _columns(table, seen, who if blind else None, rows)
        if not blind:
            columns |= _model_columns(table, rows)
            columns["other"] = None if other is None else _letters(other, rows)
            columns["final"] = _letters(view.final, rows)
        told: dict[str, Any] = {
            "rev": revision(session, found, who),
            "count": len(table),
            "reading": found.reading.id,
            "blind": blind,
            "tile": TILE,
            "per_row": PER_ROW,
            "per_sheet": PER_SHEET,
            "columns": columns,
            "sheets": sheet_addresses(session, case.id, len(table)),
            "counts": counts(
                table, as_counted(found, seen, together), scope, blind, len(together.open)
            ),
            "undo": view.state.undoable(who.id) is not None,
            "redo": view.state.redoable(who.id) is not None,
        }
    if not blind:
        told["version"] = case.version
        told["threshold"] = table.threshold
        told["disagreements"] = sorted(together.open)
    return told


def _letters(codes: np.ndarray, rows: np.ndarray) -> list[str | None]:
    return [_LETTERS[code] for code in codes[rows].tolist()]


def _numbers(values: np.ndarray, rows: np.ndarray) -> list[float | None]:
    return [None if value != value else value for value in values[rows].tolist()]


def _columns(
    table: CellTable, seen: ReadingView, alone: Who | None, rows: np.ndarray
) -> dict[str, Any]:
    person = None if alone is None else alone.id
    notes = seen.state.values("note", person) if seen.noted.any() else {}
    return {
        "n": (rows + 1).tolist(),
        "label": _letters(seen.label, rows),
        "flag": seen.flag[rows].tolist(),
        "note": [notes.get(n) for n in (rows + 1).tolist()],
        "random": [rank or None for rank in table.random[rows].tolist()],
        "in_sample": table.in_sample[rows].tolist(),
        "scored": table.scored[rows].tolist(),
        "prepared": table.prepared[rows].tolist(),
        "problem": [table.problem[k] for k in rows],
        "double_of": [of or None for of in table.double_of[rows].tolist()]
        if len(table.double_of)
        else [None] * len(rows),
    }


def _model_columns(table: CellTable, rows: np.ndarray) -> dict[str, Any]:
    return {
        "p": _numbers(table.p, rows),
        "called": _letters(table.called, rows),
        "refer": table.refer[rows].tolist(),
        "ood": table.ood[rows].tolist(),
        "ood_score": _numbers(table.ood_score, rows),
        "confidence": _numbers(table.confidence, rows),
        "near": table.near[rows].tolist(),
        "needs": table.needs[rows].tolist(),
        "subject": [table.subject[k] for k in rows],
        "file": [table.file[k] for k in rows],
    }


def _other_label(
    bench: Workbench, session: Session, found: Access, table: CellTable
) -> tuple[np.ndarray | None, np.ndarray]:
    """Return the labels beside a reading's, and the last event that changed each.

    They are those of finished second readings, which change no more, or of the case's own reading.
    """
    first = readings_of(session, found.case.id)[0]
    if found.reading.id == first.id:
        return second_label(bench, session, found.case, table), np.zeros(len(table), np.int64)
    with bench.reviews.view(session, first.id, len(table)) as view:
        return view.label[: len(table)].copy(), view.changed[: len(table)].copy()


def sheet_addresses(session: Session, case_id: int, cells: int) -> list[dict[str, Any] | None]:
    """Return the addresses of a case's contact sheets; None where one is not made yet."""
    rows = session.scalars(select(Sheet).where(Sheet.case_id == case_id))
    known = {(one.number, one.kind): one for one in rows}
    told: list[dict[str, Any] | None] = []
    for span in spans(cells):
        scale, fit = (known.get((span[0], kind)) for kind in ("scale", "fit"))
        if scale is None or fit is None:
            told.append(None)
            continue
        address = f"/api/v1/cases/{case_id}/sheets/"
        told.append(
            {
                "scale": f"{address}{scale.sha}.webp",
                "fit": f"{address}{fit.sha}.webp",
                "first": span[0],
                "count": scale.count,
            }
        )
    return told


@router.get("/cells/find", **gives(cell_answers.FoundCellsJson))
def find_cells(
    bench: Bench,
    who: Viewer,
    case_id: int,
    filter: str = "all",
    order: str = "n",
    reading: int | None = None,
) -> dict[str, Any]:
    """Return the numbers of the cells that pass filters, in an order.

    Filters by label take the one that counts: where a signer decided, that is the final one.
    """
    with bench.database.read() as session:
        found = access(session, case_id, who, reading)
        table = bench.tables.of(session, found.case)
        scope = found.scope(table.random)
        together = reviewed(bench, session, found.case, table)
        if not found.blind:
            saw(bench.database, session, found.case, who)
        with bench.reviews.view(session, found.reading.id, len(table)) as view:
            seen = as_counted(found, visible(view, who, found.blind), together)
            here = chosen(table, seen, scope, filter, found.blind, together.open)
            counted = counts(table, seen, scope, found.blind, len(together.open))
        if order.startswith("similar:"):
            found.refuse_blind()  # what looks alike to the network is the model's word
            numbers = similar_order(session, found.case, table, here, _number(order))
        else:
            numbers = ordered(table, here, order, found.blind)
        return {"cells": numbers, "counts": counted}


def _number(order: str) -> int:
    try:
        return int(order.removeprefix("similar:"))
    except ValueError:
        raise invalid("order", "Give the number of a cell, as in similar:17.") from None


@router.get("/sheets/{name}", **sends("image/webp"))
def get_sheet(bench: Bench, who: Viewer, case_id: int, name: str) -> Response:
    """Return a contact sheet."""
    sha = name.removesuffix(".webp")
    with bench.database.read() as session:
        access(session, case_id, who)
        query = select(Sheet.sha).where(Sheet.case_id == case_id, Sheet.sha == sha)
        there = session.scalar(query.limit(1)) is not None
    if not there:
        raise unknown("sheet")
    content = bench.images.path(sha).read_bytes()
    return Response(content, media_type="image/webp", headers={"Cache-Control": FOREVER})


@router.get("/cells/{n}/{kind}.png", **sends("image/png"))
def get_image(
    bench: Bench, who: Viewer, case_id: int, n: int, kind: str, request: Request
) -> Response:
    """Return a cell's image as PNG: the original as it was sent, or the cell cut out."""
    if kind not in ("crop", "original"):
        raise unknown("image")
    with bench.database.read() as session:
        found = access(session, case_id, who)
        table = bench.tables.of(session, found.case)
        place = checked_place(table, n)
        sha = table.sha[place]
        box = _box(session, table.ids[place]) if kind == "crop" else None

    def content() -> bytes:
        try:
            pixels = read_image(bench.images.path(sha)).pixels
        except UnusableImageError as error:
            raise unknown("image", f"of cell {n} that can be shown: it {error}") from None
        if box is not None:
            x, y, w, h = box
            pixels = pixels[y : y + h, x : x + w]
        return png(pixels)

    return image(request, (sha, box), "png", content)


def checked_place(table: CellTable, n: int) -> int:
    """Return the place of a cell in the columns.

    Raises:
        RefusalError: if there is no such cell.
    """
    if not 1 <= n <= len(table):
        raise unknown("cell", n)
    return n - 1


def _box(session: Session, cell_id: int) -> list[int] | None:
    from blastscope.workbench.store.tables import Cell

    found: list[int] | None = session.get_one(Cell, cell_id).about.get("box")
    return found
