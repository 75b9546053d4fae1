"""Cases: list, create, look at one; the demo; scorings."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from blastscope.workbench.access import Access, access, has_seen
from blastscope.workbench.cases import create_case, identifier_warnings, is_taken, names_of
from blastscope.workbench.context import Workbench
from blastscope.workbench.demo import demo_case
from blastscope.workbench.jobs import not_ready, scoring_stopped
from blastscope.workbench.models import find_model, model_json
from blastscope.workbench.people import Who
from blastscope.workbench.preparation import start_scoring
from blastscope.workbench.reviews import record
from blastscope.workbench.routes import answers
from blastscope.workbench.routes.answers import gives
from blastscope.workbench.routes.dependencies import Bench, Reader, Signer, Viewer, etagged
from blastscope.workbench.sighting import saw
from blastscope.workbench.store.tables import (
    Case,
    Cell,
    QueuedJob,
    Score,
    Scoring,
    StoredModel,
)
from blastscope.workbench.summaries import case_json, revision

router = APIRouter(prefix="/api/v1")


class NewCase(BaseModel, extra="forbid"):
    """What is known of a case before its cells come."""

    identifier: str = Field(max_length=80)
    material: Literal["blood", "marrow"]
    sampling: Literal["all", "random", "selected"]
    blind_first: bool = False
    content: Literal["cells", "fields"] = "cells"
    um_per_pixel: float | None = None
    model: int | None = None
    note: str = Field("", max_length=2000)


class OtherModel(BaseModel, extra="forbid"):
    """The model to score a case with."""

    model: int


def told(bench: Workbench, session: Session, case_id: int, who: Who) -> dict[str, Any]:
    """Return a case as a person may see it; whoever gets its share can't read it blind any more."""
    found = access(session, case_id, who)
    if not found.blind:
        saw(bench.database, session, found.case, who)
    return case_json(bench, session, found, who)


def key_of(session: Session, found: Access, who: Who) -> tuple[object, ...]:
    """Return what changes whenever an answer about a case does."""
    case, seq = found.case, revision(session, found, who)
    jobs = session.execute(
        select(QueuedJob.id, QueuedJob.state, QueuedJob.done)
        .where(QueuedJob.case_id == case.id)
        .order_by(QueuedJob.id)
    ).all()
    blind = found.blind
    return (who.id, who.role, case.id, case.version, case.state, blind, seq, *map(tuple, jobs))


@router.get("/cases", **gives(answers.CasesJson))
def get_cases(
    bench: Bench, who: Viewer, request: Request, search: str = "", state: str = ""
) -> Response:
    """List cases, the newest first.

    Of a case that a person has not opened they get no share and no count by label or by the model:
    they may still become its blind reader.
    """
    with bench.database.read() as session:
        query = select(Case).order_by(Case.id.desc())
        if search:
            query = query.where(Case.identifier.icontains(search, autoescape=True))
        if state:
            query = query.where(Case.state == state)
        cases = session.scalars(query).all()
        worker = bench.worker.as_json()
        found = [access(session, case.id, who) for case in cases]
        opened = [has_seen(session, case.id, who.id) for case in cases]
        keys = [key_of(session, one, who) for one in found]

        def content() -> dict[str, Any]:
            names = names_of(session)
            return {
                "cases": [
                    case_json(bench, session, one, who, names, opened=seen)
                    for one, seen in zip(found, opened, strict=True)
                ],
                "worker": worker,
            }

        return etagged(request, (keys, opened, worker), content)


@router.get("/identifier-check", **gives(answers.CheckedIdentifierJson))
def check_identifier(bench: Bench, who: Reader, identifier: str) -> dict[str, Any]:
    """Say if an identifier is taken, or looks as if it told who the subject is."""
    with bench.database.read() as session:
        taken = is_taken(session, identifier)
    return {"taken": taken, "warnings": identifier_warnings(identifier)}


@router.post("/cases", status_code=201, **gives(answers.CaseJson, 201))
def post_case(bench: Bench, who: Reader, body: NewCase) -> dict[str, Any]:
    """Create a case."""
    with bench.database.write() as session:
        model = find_model(session, body.model or bench.model_id)
        case = create_case(
            session, who, model, identifier=body.identifier, material=body.material,
            sampling=body.sampling, blind_first=body.blind_first, note=body.note,
            content=body.content, um_per_pixel=body.um_per_pixel,
        )  # fmt: skip
        case_id = case.id
    with bench.database.read() as session:
        return told(bench, session, case_id, who)


@router.post("/demo", status_code=201, **gives(answers.CaseJson, 201, 200))
def post_demo(bench: Bench, who: Reader, response: Response) -> dict[str, Any]:
    """Open the demo case of synthetic cells, which is made if it is not there."""
    with bench.database.write() as session:
        case, new = demo_case(session, who, find_model(session, bench.model_id))
        case_id = case.id
    response.status_code = 201 if new else 200
    with bench.database.read() as session:
        return told(bench, session, case_id, who)


@router.get("/cases/{case_id}", **gives(answers.CaseJson))
def get_case(bench: Bench, who: Viewer, case_id: int, request: Request) -> Response:
    """Return a case."""
    with bench.database.read() as session:
        found = access(session, case_id, who)
        if not found.blind:
            saw(bench.database, session, found.case, who)
        key = (*key_of(session, found, who), bench.worker.running)
        return etagged(request, key, lambda: case_json(bench, session, found, who))


@router.get("/models", **gives(answers.ModelsJson))
def get_models(bench: Bench, who: Viewer) -> dict[str, Any]:
    """List the models of this workbench."""
    with bench.database.read() as session:
        models = session.scalars(select(StoredModel).order_by(StoredModel.id)).all()
        return {
            "models": [
                {**model_json(model), "default": model.id == bench.model_id} for model in models
            ]
        }


@router.post("/cases/{case_id}/score", **gives(answers.CaseJson))
def post_score(bench: Bench, who: Signer, case_id: int, body: OtherModel) -> dict[str, Any]:
    """Score a case with another model; the earlier scoring stays."""
    with bench.database.write() as session:
        found = access(session, case_id, who)
        found.refuse_signed()
        found.refuse_blind()
        if found.case.state not in ("review", "reopened") and not scoring_stopped(
            session, found.case
        ):
            raise not_ready(session, found.case)
        model = find_model(session, body.model)
        scoring = start_scoring(session, found.case, model.id)
        about = {"model": model.name, "digest": model.digest, "scoring": scoring.id}
        record(session, case_id, who, "scored", about)
    with bench.database.read() as session:
        return told(bench, session, case_id, who)


@router.get("/cases/{case_id}/scorings", **gives(answers.ScoringsJson))
def get_scorings(bench: Bench, who: Viewer, case_id: int) -> dict[str, Any]:
    """List the scorings of a case."""
    with bench.database.read() as session:
        found = access(session, case_id, who)
        found.refuse_blind()
        rows = session.execute(
            select(Scoring, StoredModel.name, func.count(Cell.id))
            .join(StoredModel, StoredModel.id == Scoring.model_id)
            .outerjoin(Score, Score.scoring_id == Scoring.id)
            .outerjoin(Cell, (Cell.id == Score.cell_id) & Cell.problem.is_(None))
            .where(Scoring.case_id == case_id)
            .group_by(Scoring.id, StoredModel.name)
            .order_by(Scoring.id)
        )
        return {
            "scorings": [
                {
                    "id": one.id,
                    "model": name,
                    "at": one.created_at.isoformat(),
                    "cells": cells,
                    "current": one.id == found.case.scoring_id,
                }
                for one, name, cells in rows
            ]
        }
