"""Whole fields of a case: what was found in each, their pictures, their scale."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from blastscope.workbench.access import access
from blastscope.workbench.fields import fields_json, tell_scale
from blastscope.workbench.refusal import unknown
from blastscope.workbench.routes import answers
from blastscope.workbench.routes.answers import gives, sends
from blastscope.workbench.routes.cases import told
from blastscope.workbench.routes.dependencies import Bench, Reader, Viewer, image
from blastscope.workbench.sighting import saw
from blastscope.workbench.store.tables import SmearField

router = APIRouter(prefix="/api/v1/cases/{case_id}")


class ScaleBody(BaseModel, extra="forbid"):
    """The scale of a case's fields."""

    um_per_pixel: float


@router.get("/fields", **gives(answers.FieldsJson))
def get_fields(bench: Bench, who: Viewer, case_id: int) -> dict[str, Any]:
    """List the fields of a case, with the numbers of their cells and the refused cells."""
    with bench.database.read() as session:
        found = access(session, case_id, who)
        if not found.blind:
            saw(bench.database, session, found.case, who)
        return fields_json(session, found.case, found.blind)


@router.get("/fields/{number}.webp", **sends("image/webp"))
def get_picture(bench: Bench, who: Viewer, case_id: int, number: int, request: Request) -> Response:
    """Return a field's picture, made smaller if it is large."""
    with bench.database.read() as session:
        access(session, case_id, who)
        field = session.get(SmearField, (case_id, number))
    if field is None:
        raise unknown("field", number)
    return image(request, field.image, "webp", bench.images.path(field.image).read_bytes)


@router.post("/scale", **gives(answers.CaseJson))
def post_scale(bench: Bench, who: Reader, case_id: int, body: ScaleBody) -> dict[str, Any]:
    """Tell the micrometres a pixel of fields whose scale could not be measured."""
    with bench.database.write() as session:
        found = access(session, case_id, who)
        found.refuse_signed()
        tell_scale(session, found.case, who, body.um_per_pixel)
    with bench.database.read() as session:
        return told(bench, session, case_id, who)
