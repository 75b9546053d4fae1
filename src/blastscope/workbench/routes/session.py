"""Signing in and out, the launch address, and what a page begins with."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import BaseModel, Field

from blastscope import DISCLAIMER, __version__
from blastscope.workbench.context import Workbench
from blastscope.workbench.models import find_model, model_json
from blastscope.workbench.people import (
    MOST_PASSWORD,
    SESSION_HOURS,
    Who,
    audit,
    end_session,
    local_person,
    start_session,
    who,
)
from blastscope.workbench.routes import answers
from blastscope.workbench.routes.answers import gives
from blastscope.workbench.routes.dependencies import Bench, Viewer, address_of, cookie_name
from blastscope.workbench.settings import Settings, limits

router = APIRouter()


class SignIn(BaseModel, extra="forbid"):
    """A name and a password."""

    name: str = Field(max_length=80)
    password: str = Field(max_length=MOST_PASSWORD)


def boot(bench: Workbench, person: Who | None) -> dict[str, Any]:
    """Return what every page begins with."""
    with bench.database.read() as session:
        model = model_json(find_model(session, bench.model_id))
    return {
        "person": None if person is None else person.as_json(),
        "version": __version__,
        "workbench": bench.key,
        "model": model,
        "disclaimer": DISCLAIMER,
        "loopback": bench.settings.loopback,
        "limits": limits(),
    }


def keep(response: Response, settings: Settings, secret: str) -> None:
    """Give the browser the cookie of a session."""
    response.set_cookie(
        cookie_name(settings), secret, max_age=SESSION_HOURS * 3600, httponly=True,
        secure=settings.secure, samesite="strict", path="/",
    )  # fmt: skip


@router.get("/launch", include_in_schema=False)
def launch(bench: Bench, token: str = "") -> Response:
    """Sign in whoever has the launch address; it holds once."""
    if not bench.launches(token):
        return RedirectResponse("/sign-in?used=1", 303)
    with bench.database.write() as session:
        person = local_person(session)
        secret = start_session(session, person.id)
        audit(session, who(person), "launched", {})
    response = RedirectResponse("/", 303)
    keep(response, bench.settings, secret)
    return response


@router.get("/api/v1/boot", **gives(answers.BootJson))
def get_boot(bench: Bench, person: Viewer) -> dict[str, Any]:
    """Return what every page begins with."""
    return boot(bench, person)


@router.post("/api/v1/session", **gives(answers.SignedInJson))
def sign_in(bench: Bench, body: SignIn, request: Request) -> Response:
    """Sign in with a name and a password."""
    address = address_of(request, bench.settings)
    with bench.database.read() as session:
        person = bench.passwords.check(session, body.name, body.password, address)
    with bench.database.write() as session:
        secret = start_session(session, person.id)
        audit(session, person, "signed-in", {})
    response = JSONResponse({"person": person.as_json()})
    keep(response, bench.settings, secret)
    return response


@router.delete("/api/v1/session", status_code=204)
def sign_out(bench: Bench, person: Viewer, request: Request) -> Response:
    """Sign out."""
    name = cookie_name(bench.settings)
    secret = request.cookies.get(name)
    if secret is not None:
        with bench.database.write() as session:
            end_session(session, secret)
            audit(session, person, "signed-out", {})
    response = Response(status_code=204)
    response.delete_cookie(name, path="/", secure=bench.settings.secure, samesite="strict")
    return response
