"""Exports of a case; each is recorded in its history."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse
from sqlalchemy.orm import Session

from blastscope.workbench.access import access
from blastscope.workbench.context import Workbench
from blastscope.workbench.exports import (
    cells_csv,
    cells_frame,
    cells_parquet,
    dataset_zip,
    export_json,
    report_html,
)
from blastscope.workbench.people import Who
from blastscope.workbench.refusal import unknown
from blastscope.workbench.reviews import record
from blastscope.workbench.routes import review_answers
from blastscope.workbench.routes.answers import gives, sends
from blastscope.workbench.routes.dependencies import Bench, Reader, Viewer
from blastscope.workbench.sighting import saw
from blastscope.workbench.store.tables import Case
from blastscope.workbench.to_come import refuse_partial

router = APIRouter(prefix="/api/v1/cases/{case_id}")
KINDS = {
    "cells.csv": "text/csv; charset=utf-8",
    "cells.parquet": "application/vnd.apache.parquet",
    "report.html": "text/html; charset=utf-8",
    "dataset.zip": "application/zip",
}
_PIECE = 2**20


@router.get("/export", **gives(review_answers.ExportJson))
def get_export(bench: Bench, who: Viewer, case_id: int) -> dict[str, Any]:
    """Return what an export holds and what it leaves out."""
    with bench.database.read() as session:
        found = access(session, case_id, who)
        found.refuse_blind()
        saw(bench.database, session, found.case, who)
        return export_json(bench, session, found.case)


@router.get("/export/{name}", **sends(*KINDS.values()))
def get_file(bench: Bench, who: Reader, case_id: int, name: str) -> Response:
    """Return an export as a file to be kept; a partial one is refused."""
    if name not in KINDS:
        raise unknown("export")
    with bench.database.read() as session:
        found = access(session, case_id, who)
        found.refuse_blind()
        refuse_partial(session, found.case, bench.tables.of(session, found.case))
        saw(bench.database, session, found.case, who)
        content = _content(bench, session, found.case, who, name)
    # What was made is of one moment, so what comes now is not in it; without this it is not given.
    with bench.database.write() as session:
        record(session, case_id, who, "exported", {"file": name})
    headers = {"Content-Disposition": f'attachment; filename="case-{case_id}-{name}"'}
    if isinstance(content, str | bytes):
        return Response(content, media_type=KINDS[name], headers=headers)
    return StreamingResponse(_pieces(content), media_type=KINDS[name], headers=headers)


def _content(
    bench: Workbench, session: Session, case: Case, who: Who, name: str
) -> str | bytes | IO[bytes]:
    if name == "dataset.zip":
        return dataset_zip(bench, session, case)
    if name == "report.html":
        return report_html(bench, session, case, who)
    frame = cells_frame(bench, session, case)
    return cells_csv(frame) if name == "cells.csv" else cells_parquet(frame)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece
