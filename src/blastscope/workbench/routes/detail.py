"""One cell in detail: scores, labels, history, heatmaps."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from blastscope.explanation.tables import METHODS
from blastscope.workbench.access import Access, access
from blastscope.workbench.cases import names_of
from blastscope.workbench.cell_table import CALLS, CellTable
from blastscope.workbench.context import Workbench
from blastscope.workbench.fields import place_json
from blastscope.workbench.heatmaps import SECONDS, WARNING, reason_against, states
from blastscope.workbench.jobs import add_job, job_json
from blastscope.workbench.models import find_model
from blastscope.workbench.people import Who
from blastscope.workbench.refusal import conflict, invalid, unknown
from blastscope.workbench.reviews import standing
from blastscope.workbench.routes import cell_answers
from blastscope.workbench.routes.answers import gives, sends
from blastscope.workbench.routes.cells import checked_place
from blastscope.workbench.routes.dependencies import Bench, Reader, Viewer, image
from blastscope.workbench.routes.events import event_json, events_of_cell, reading_numbers
from blastscope.workbench.sighting import saw
from blastscope.workbench.store.tables import (
    DOUBLE_OF,
    Cell,
    Heatmap,
    QueuedJob,
    ReviewEvent,
    Score,
    Upload,
)
from blastscope.workbench.summaries import readings_of

router = APIRouter(prefix="/api/v1")


class HeatmapBody(BaseModel, extra="forbid"):
    """The method of a heatmap."""

    method: str


@router.get("/cases/{case_id}/cells/{n}", **gives(cell_answers.CellDetailJson))
def get_cell(
    bench: Bench, who: Viewer, case_id: int, n: int, reading: int | None = None
) -> dict[str, Any]:
    """Return a cell; without anything of the model's, its name and others' labels if blind."""
    with bench.database.read() as session:
        found = access(session, case_id, who, reading)
        table = bench.tables.of(session, found.case)
        place = checked_place(table, n)
        cell = session.get_one(Cell, table.ids[place])
        if not found.blind:
            saw(bench.database, session, found.case, who)
        with bench.reviews.view(session, found.reading.id, len(table)) as view:
            state = standing(view.state, n, who.id if found.blind else None)
        told: dict[str, Any] = {
            "n": n,
            **state,
            "problem": cell.problem,
            **{name: cell.about.get(name) for name in ("width", "height", "format")},
            "images": {
                kind: f"/api/v1/cases/{case_id}/cells/{n}/{kind}.png"
                for kind in ("crop", "original")
            },
            "history": _history(session, found, who, n),
            "double_of": cell.about.get(DOUBLE_OF),
            "field": place_json(session, cell, found.blind),
            "blind": found.blind,
        }
        if not found.blind:
            told |= _seen(bench, session, found, table, cell)
        return told


def _history(session: Session, found: Access, who: Who, n: int) -> list[dict[str, Any]]:
    names, numbers = names_of(session), reading_numbers(session, found.case.id)
    return [event_json(one, names, numbers) for one in events_of_cell(session, found, who, n)]


def _seen(
    bench: Workbench, session: Session, found: Access, table: CellTable, cell: Cell
) -> dict[str, Any]:
    """Return what only a reader who is not blind may have."""
    case = found.case
    model = find_model(session, case.model_id)
    score = session.get(Score, (case.scoring_id or -1, cell.id))
    upload = session.scalar(select(Upload).where(Upload.case_id == case.id, Upload.cell == cell.n))
    told: dict[str, Any] = {
        "file": cell.file,
        "subject": cell.subject,
        "bytes": None if upload is None else upload.bytes,
        "flags": [*cell.about.get("outline", []), *cell.about.get("flags", [])],
        "threshold": table.threshold,
        "calibrated": model.facts.get("calibrated", False),
        "preparation": {
            "box": cell.about.get("box"),
            "size": (model.facts.get("sizes") or [None])[0],
            "scale": (model.facts.get("scales") or [None])[0],
        },
        "heatmaps": [
            {
                **one,
                "address": f"/api/v1/cases/{case.id}/cells/{cell.n}/heatmaps/{one['method']}.png"
                if one["state"] == "done"
                else None,
            }
            for one in states(session, model.id, cell.sha)
        ],
        "labels": _labels(bench, session, found, table, cell.n),
        "p": None, "p_raw": None, "called": None, "confidence": None, "refer": None, "ood": None,
        "ood_score": None, "networks": [],
    }  # fmt: skip
    if score is not None:
        names = model.facts.get("networks", [])
        told |= {
            "p": score.p_all, "p_raw": score.p_raw, "called": CALLS.get(score.called or ""),
            "confidence": score.confidence, "refer": score.refer, "ood": score.ood,
            "ood_score": score.ood_score,
            "networks": [
                {"name": name, "p": p} for name, p in zip(names, score.networks, strict=False)
            ],
        }  # fmt: skip
    return told


def _labels(
    bench: Workbench, session: Session, found: Access, table: CellTable, n: int
) -> list[dict[str, Any]]:
    names, told = names_of(session), []
    for reading in readings_of(session, found.case.id):
        if reading.number > 1 and reading.finished_at is None and reading.id != found.reading.id:
            continue  # an open second reading stays its reader's
        with bench.reviews.view(session, reading.id, len(table)) as view:
            stands = view.state.standing("label", n)
        if stands is None or stands.value is None:
            continue
        at = session.scalar(select(ReviewEvent.at).where(ReviewEvent.seq == stands.seq))
        told.append(
            {
                "person": names.get(stands.person),
                "reading": reading.number,
                "label": stands.value,
                "at": None if at is None else at.isoformat(),
            }
        )
    return told


@router.get("/heatmap-methods", **gives(cell_answers.MethodsJson))
def get_methods(bench: Bench, who: Viewer) -> dict[str, Any]:
    """List the methods of heatmaps, how long they take, and what to keep in mind."""
    return {
        "methods": [
            {"code": code, "name": name, "seconds": SECONDS[code]} for code, name in METHODS.items()
        ],
        "warning": WARNING,
        "not_applicable": reason_against(),
    }


@router.post(
    "/cases/{case_id}/cells/{n}/heatmaps",
    status_code=202,
    **gives(cell_answers.HeatmapJob, 202, 200),
)
def post_heatmap(bench: Bench, who: Reader, case_id: int, n: int, body: HeatmapBody) -> Response:
    """Have a heatmap computed; 200 if it is there."""
    if body.method not in METHODS:
        raise invalid("method", f"Choose one of {', '.join(METHODS)}.")
    against = reason_against()
    if against is not None:
        raise conflict("not-applicable", f"A heatmap {against}.")
    with bench.database.write() as session:
        found = access(session, case_id, who)
        found.refuse_blind()
        table = bench.tables.of(session, found.case)
        place = checked_place(table, n)
        score = session.get(Score, (found.case.scoring_id or -1, table.ids[place]))
        if score is None or score.p_all is None:
            raise conflict("not-scored", "The model has not scored this cell yet: wait.")
        model = find_model(session, found.case.model_id)
        called = score.called or ("all" if score.p_all > table.threshold else "hem")
        sha = table.sha[place]
        there = session.get(Heatmap, (model.id, sha, body.method)) is not None
        about = {"model": model.id, "sha": sha, "method": body.method, "called": called, "n": n}
        running = [
            job
            for job in session.scalars(
                select(QueuedJob).where(
                    QueuedJob.kind == "heatmap", QueuedJob.state.in_(("waiting", "running"))
                )
            )
            if job.about == about
        ]
        job = running[0] if running else None
        if job is None and not there:
            job = add_job(session, "heatmap", case_id, about)
        content = {"state": "done"} if job is None else job_json(session, job, blind=False)
    return JSONResponse(content, 200 if there else 202)


@router.get("/cases/{case_id}/cells/{n}/heatmaps/{method}.png", **sends("image/png"))
def get_heatmap(
    bench: Bench, who: Viewer, case_id: int, n: int, method: str, request: Request
) -> Response:
    """Return a heatmap, an overlay of the size of the original image."""
    with bench.database.read() as session:
        found = access(session, case_id, who)
        found.refuse_blind()
        saw(bench.database, session, found.case, who)
        table = bench.tables.of(session, found.case)
        sha = table.sha[checked_place(table, n)]
        row = session.get(Heatmap, (found.case.model_id, sha, method))
    if row is None:
        raise unknown("heatmap")
    return image(request, row.image, "png", bench.images.path(row.image).read_bytes)
