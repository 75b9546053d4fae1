"""Files of a case: one raw PUT each."""

from __future__ import annotations

import csv
import io
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool
from fastapi.responses import JSONResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from blastscope.workbench.access import Access, access, without_names
from blastscope.workbench.cases import names_of
from blastscope.workbench.context import Workbench
from blastscope.workbench.exports import formula_safe
from blastscope.workbench.fields import fields_json
from blastscope.workbench.image_store import Incoming, TooLargeError
from blastscope.workbench.people import Who
from blastscope.workbench.refusal import RefusalError
from blastscope.workbench.routes import answers
from blastscope.workbench.routes.answers import gives, sends
from blastscope.workbench.routes.cases import told
from blastscope.workbench.routes.dependencies import Bench, Reader, Viewer
from blastscope.workbench.sighting import saw
from blastscope.workbench.store.tables import Upload
from blastscope.workbench.uploads import (
    add_file,
    all_sent,
    file_json,
    most_bytes,
    refuse_more,
    safe_name,
    sender_of_each,
)

router = APIRouter(prefix="/api/v1/cases/{case_id}")


@router.put("/files", status_code=201, **gives(answers.SentFileJson, 201, 200))
async def put_file(
    bench: Bench, who: Reader, case_id: int, name: str, request: Request
) -> Response:
    """Take a file, whose bytes are the body, as they come."""
    name = safe_name(name)
    await run_in_threadpool(_refuse_early, bench, case_id, who)
    try:
        # To disk in a thread, so that others do not wait for it.
        async with contextmanager_in_threadpool(bench.images.receive(most_bytes(name))) as file:
            async for piece in request.stream():
                file.write(piece)
    except TooLargeError as error:
        raise RefusalError(413, "too-large", str(error)) from error
    told, new = await run_in_threadpool(_note, bench, case_id, who, name, file)
    return JSONResponse({"file": told}, 201 if new else 200)


def _refuse_early(bench: Workbench, case_id: int, who: Who) -> None:
    """Refuse before the bytes come, if the case takes none."""
    with bench.database.read() as session:
        refuse_more(session, _to_fill(session, case_id, who).case)


def _to_fill(session: Session, case_id: int, who: Who) -> Access:
    """Return a case to which a person adds files; a blind second reader can't learn what is in."""
    found = access(session, case_id, who)
    if found.reading.number > 1:
        found.refuse_blind()
    return found


def _note(
    bench: Workbench, case_id: int, who: Who, name: str, file: Incoming
) -> tuple[dict[str, Any], bool]:
    with bench.database.write() as session:
        found = _to_fill(session, case_id, who)
        upload, new = add_file(session, found.case, who, name, file.sha, file)
        return file_json(session, upload, names_of(session), blind=False), new


@router.post("/files/done", **gives(answers.CaseJson))
def post_done(bench: Bench, who: Reader, case_id: int) -> dict[str, Any]:
    """Say that all files are sent for now: they are prepared and scored."""
    with bench.database.write() as session:
        all_sent(session, _to_fill(session, case_id, who).case, who)
    with bench.database.read() as session:
        return told(bench, session, case_id, who)


@router.get("/files", **gives(answers.FilesJson))
def get_files(bench: Bench, who: Viewer, case_id: int, state: str = "") -> dict[str, Any]:
    """List the files of a case."""
    with bench.database.read() as session:
        found = access(session, case_id, who)
        if not found.blind:
            saw(bench.database, session, found.case, who)
        query = select(Upload).where(Upload.case_id == case_id).order_by(Upload.id)
        if state:
            query = query.where(Upload.state == state)
        names = names_of(session)
        told = [file_json(session, one, names, found.blind) for one in session.scalars(query)]
        return {"files": told}


@router.get("/problems.csv", **sends("text/csv"))
def get_problems(bench: Bench, who: Viewer, case_id: int) -> Response:
    """Return refused files, duplicates and refused cells of fields, with the reasons, as CSV.

    Who sent each is told too, but not to a blind reader.
    """
    with bench.database.read() as session:
        found = access(session, case_id, who)
        if not found.blind:
            saw(bench.database, session, found.case, who)
        query = select(Upload).where(
            Upload.case_id == case_id, Upload.state.in_(("refused", "duplicate"))
        )
        content = io.StringIO()
        writer = csv.writer(content, lineterminator="\n")
        writer.writerow(["file", "state", "reason", "sent_by"])
        senders = {} if found.blind else sender_of_each(session, case_id)
        for one in session.scalars(query.order_by(Upload.id)):
            shown, reason = one.name, one.reason
            if found.blind:
                shown, reason = f"file {one.id}", without_names(session, case_id, reason)
            row = (shown, one.state, reason or "", senders.get(one.name) or "")
            writer.writerow([formula_safe(cell) for cell in row])
        for field in fields_json(session, found.case, found.blind)["fields"]:
            shown = field.get("file", f"field {field['number']}")
            for cell in field["refused"]:
                x, y, w, h = cell["place"]
                reason = f"the cell at {x}, {y} of {w} × {h} pixels {cell['reason']}"
                row = (shown, "cell refused", reason, senders.get(shown) or "")
                writer.writerow([formula_safe(one) for one in row])
    return csv_response(content.getvalue(), f"case-{case_id}-problems.csv")


def csv_response(text: str, name: str) -> Response:
    """Answer with a CSV file to be kept."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)
