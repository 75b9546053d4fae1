"""Exports of a case; each is recorded in its history."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from blastscope.workbench.access import access
from blastscope.workbench.exports import (
    cells_csv,
    cells_frame,
    cells_parquet,
    dataset_zip,
    export_json,
    report_html,
)
from blastscope.workbench.refusal import unknown
from blastscope.workbench.reviews import record
from blastscope.workbench.routes import review_answers
from blastscope.workbench.routes.answers import gives, sends
from blastscope.workbench.routes.asking import Bench, Reader, Viewer
from blastscope.workbench.sighting import saw

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
    """Return an export as a file to be kept."""
    if name not in KINDS:
        raise unknown("export")
    with bench.database.write() as session:
        access(session, case_id, who).refuse_blind()
        record(session, case_id, who, "exported", {"file": name})
    with bench.database.read() as session:
        case = access(session, case_id, who).case
        saw(bench.database, session, case, who)
        headers = {"Content-Disposition": f'attachment; filename="case-{case_id}-{name}"'}
        if name == "dataset.zip":
            zipped = dataset_zip(bench, session, case)
            return StreamingResponse(_pieces(zipped), media_type=KINDS[name], headers=headers)
        content: str | bytes
        if name == "report.html":
            content = report_html(bench, session, case, who)
        else:
            frame = cells_frame(bench, session, case)
            content = cells_csv(frame) if name == "cells.csv" else cells_parquet(frame)
    return Response(content, media_type=KINDS[name], headers=headers)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece
