"""Events, the only way to change a review, and the history of a case."""

from __future__ import annotations

import csv
import io
import json
from asyncio import wrap_future
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from blastscope.workbench.access import Access, access, hidden_readings
from blastscope.workbench.cases import names_of
from blastscope.workbench.cell_table import counts
from blastscope.workbench.context import Workbench
from blastscope.workbench.exports import formula_safe
from blastscope.workbench.people import Who
from blastscope.workbench.refusal import RefusalError, conflict, invalid
from blastscope.workbench.reviews import MOST_EVENTS, NewEvent, are_stored
from blastscope.workbench.routes import cell_answers
from blastscope.workbench.routes.answers import gives, sends
from blastscope.workbench.routes.dependencies import Bench, Viewer, checked, who_asks
from blastscope.workbench.routes.files import csv_response
from blastscope.workbench.settings import MOST_FILES
from blastscope.workbench.sighting import saw
from blastscope.workbench.store.tables import Reading, ReviewEvent
from blastscope.workbench.summaries import (
    as_counted,
    readings_of,
    reviewed,
    revision,
    visible,
)

router = APIRouter(prefix="/api/v1/cases/{case_id}")
_MOST_SHOWN = 2000
"""Characters of what was shown."""
_MOST_HISTORY = 5000


class EventBody(BaseModel, extra="forbid"):
    """An event as a client sends it."""

    id: str = Field(max_length=36)
    kind: str = Field(max_length=20)
    cells: list[int] = Field(default_factory=list, max_length=MOST_FILES)
    value: str | bool | None = None
    shown: dict[str, Any] = Field(default_factory=dict)
    reading: int | None = None
    at: str | None = Field(None, max_length=40)


class EventsBody(BaseModel, extra="forbid"):
    """Events that are stored together, all or none."""

    events: list[EventBody] = Field(min_length=1, max_length=MOST_EVENTS)


def _sent_schema() -> dict[str, Any]:
    """Describe, for OpenAPI, a body that is read by hand."""
    schema = EventsBody.model_json_schema()
    schema["properties"]["events"]["items"] = schema.pop("$defs")["EventBody"]
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.post("/events", openapi_extra=_sent_schema(), **gives(cell_answers.StoredEventsJson))
async def post_events(bench: Bench, case_id: int, request: Request) -> Response:
    """Store events; when this answers they are on disk."""
    # The body is read by hand: who asks is looked up in the writer's own session, before it.
    sent = await request.body()
    told = await wrap_future(
        bench.writer.submit(lambda session: _store(bench, session, case_id, request, sent))
    )
    return Response(told, media_type="application/json")


def _store(
    bench: Workbench, session: Session, case_id: int, request: Request, sent: bytes
) -> bytes:
    """Store events in the transaction of a session, and return the answer."""
    who = checked(who_asks(request, bench, session), "reader")
    body = _read(sent)
    found = access(session, case_id, who, _one_reading(body))
    events = [_event(one) for one in body.events]
    try:
        _refuse(found, who, body)
    except RefusalError:
        # An answer may be lost and the case signed before it is asked for again: it is saved.
        if not are_stored(session, found.case.id, who, events):
            raise
    table = bench.tables.of(session, found.case)
    scope = found.scope(table.random)
    try:
        stored, changed = bench.reviews.append(
            session, found.case, found.reading.id, table.usable & scope, who, events, found.blind
        )  # fmt: skip
        together = reviewed(bench, session, found.case, table, found.readings)
        with bench.reviews.view(session, found.reading.id, len(table)) as view:
            seen = as_counted(found, visible(view, who, found.blind), together)
            told = {
                "rev": revision(session, found, who),
                "events": stored,
                "changed": changed,
                "counts": counts(table, seen, scope, found.blind, len(together.open)),
                "undo": view.state.undoable(who.id) is not None,
                "redo": view.state.redoable(who.id) is not None,
            }
    except BaseException:
        bench.reviews.forget(found.reading.id)
        raise
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


def _read(sent: bytes) -> EventsBody:
    try:
        return EventsBody.model_validate_json(sent)
    except ValidationError as error:
        raise RequestValidationError(
            [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)]
        ) from error


def _one_reading(body: EventsBody) -> int | None:
    asked = {one.reading for one in body.events}
    if len(asked) > 1:
        raise invalid("reading", "Events that are stored together are of one reading.")
    return asked.pop()


def _event(one: EventBody) -> NewEvent:
    try:
        length = len(json.dumps(one.shown, allow_nan=False))
    except ValueError:
        raise invalid("shown", "What was shown holds NaN or Infinity: leave it out.") from None
    if length > _MOST_SHOWN:
        raise invalid("shown", f"What was shown has at most {_MOST_SHOWN} characters.")
    return NewEvent(one.id, one.kind, tuple(one.cells), one.value, one.shown, one.at)


def _refuse(found: Access, who: Who, body: EventsBody) -> None:
    """Refuse events where the case or the reading takes none, or the person may not send them."""
    reading = found.reading
    found.refuse_signed()
    if reading.finished_at is not None:
        raise conflict("finished", "This reading is finished: its labels stay as they are.")
    if reading.person_id not in (None, who.id):
        raise RefusalError(403, "not-allowed", "This is another person's reading: it stays theirs.")
    if found.case.state == "receiving":
        raise conflict("not-ready", "The case has no cells yet: send its files first.")
    kinds = {one.kind for one in body.events}
    if "adjudicate" in kinds and (not who.may("signer") or found.blind or reading.number != 1):
        raise RefusalError(
            403, "not-allowed", "A signer who does not read the case blind decides disagreements."
        )
    if "reveal" in kinds and not (found.case.blind_first and reading.number == 1):
        raise conflict("not-blind", "This reading has nothing to reveal.")
    if found.blind and any(one.shown.get("model") for one in body.events):
        raise invalid("shown", "You read this case blind, so the model was not shown.")


@router.get("/history", **gives(cell_answers.HistoryJson))
def get_history(
    bench: Bench,
    who: Viewer,
    case_id: int,
    cell: int | None = None,
    person: str = "",
    kind: str = "",
    after: int = 0,
    limit: int = 500,
) -> dict[str, Any]:
    """Return the events of a case in their order; a blind reader gets their own only."""
    most = max(1, min(limit, _MOST_HISTORY))
    with bench.database.read() as session:
        found = access(session, case_id, who)
        if not found.blind:
            saw(bench.database, session, found.case, who)
        names = names_of(session)
        query = events_of(session, found, who)
        if cell is not None:
            of_cell = [one.seq for one in events_of_cell(session, found, who, cell)]
            query = query.where(ReviewEvent.seq.in_(of_cell))
        query = query.where(ReviewEvent.seq > after)
        if kind:
            query = query.where(ReviewEvent.kind == kind)
        if person:
            wanted = [number for number, name in names.items() if name == person]
            query = query.where(ReviewEvent.person_id.in_(wanted))
        numbers = reading_numbers(session, case_id)
        events = session.scalars(query.limit(most + 1))
        rows = [event_json(event, names, numbers) for event in events]
        return {"events": rows[:most], "more": len(rows) > most}


def events_of(session: Session, found: Access, who: Who) -> Select[ReviewEvent]:
    """Return the events of a case that a person may see, in their order."""
    query = select(ReviewEvent).where(ReviewEvent.case_id == found.case.id)
    if found.blind:
        query = query.where(
            ReviewEvent.person_id == who.id, ReviewEvent.reading_id == found.reading.id
        )
    elif hidden := hidden_readings(readings_of(session, found.case.id), who):
        reading = ReviewEvent.reading_id
        query = query.where(reading.is_(None) | reading.not_in(hidden))
    return query.order_by(ReviewEvent.seq)


def events_of_cell(session: Session, found: Access, who: Who, n: int) -> list[ReviewEvent]:
    """Return the events that a person may see of a cell, and what undid and redid them."""
    query = events_of(session, found, who)
    with_cells = session.scalars(query.where(ReviewEvent.cells.is_not(None)))
    events = [one for one in with_cells if n in (one.cells or ())]
    events += session.scalars(query.where(ReviewEvent.target.in_([one.id for one in events])))
    return sorted(events, key=lambda one: one.seq)


def reading_numbers(session: Session, case_id: int) -> dict[int, int]:
    """Return the numbers that people see of a case's readings."""
    found = select(Reading.id, Reading.number).where(Reading.case_id == case_id)
    return dict(session.execute(found).tuples().all())


def event_json(
    event: ReviewEvent, names: dict[int, str], numbers: dict[int, int]
) -> dict[str, Any]:
    """Return what a page shows of an event."""
    return {
        "seq": event.seq,
        "id": event.id,
        "kind": event.kind,
        "cells": event.cells,
        "value": event.value.get("of"),
        "target": event.target,
        "person": names.get(event.person_id),
        "reading": None if event.reading_id is None else numbers.get(event.reading_id),
        "at": event.at.isoformat(),
        "shown": event.shown,
        "blind": event.blind,
    }


@router.get("/history.csv", **sends("text/csv"))
def get_history_csv(bench: Bench, who: Viewer, case_id: int) -> Response:
    """Return all events as CSV; a blind reader gets their own only."""
    names = ("seq", "at", "person", "reading", "kind", "cells", "value", "target", "blind", "shown")
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(names)
    with bench.database.read() as session:
        found = access(session, case_id, who)
        if not found.blind:
            saw(bench.database, session, found.case, who)
        people, numbers = names_of(session), reading_numbers(session, case_id)
        for event in session.scalars(events_of(session, found, who)):
            told = event_json(event, people, numbers)
            told["cells"] = " ".join(map(str, told["cells"] or ()))
            told["shown"] = json.dumps(told["shown"])
            if isinstance(told["value"], dict):
                told["value"] = json.dumps(told["value"])
            row = [told[name] for name in names]
            writer.writerow([formula_safe(one) if isinstance(one, str) else one for one in row])
    return csv_response(content.getvalue(), f"case-{case_id}-history.csv")
