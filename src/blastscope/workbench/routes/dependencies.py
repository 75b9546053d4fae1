"""Who asks, and with what right: the dependencies of all routes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from blastscope.workbench.context import Workbench
from blastscope.workbench.people import Who, of_session, of_token
from blastscope.workbench.refusal import RefusalError, conflict
from blastscope.workbench.settings import LOOPBACK, Settings

COOKIE = "blastscope_session"
WORKBENCH, PERSON = "X-Blastscope-Workbench", "X-Blastscope-Person"
"""Headers by which a page says where and by whom it was opened; scripts need none."""
FOREVER = "private, max-age=31536000, immutable"


def cookie_name(settings: Settings) -> str:
    """Return the name of the cookie; over HTTPS browsers then keep it to this host."""
    return f"__Host-{COOKIE}" if settings.secure else COOKIE


async def _bench(request: Request) -> Workbench:
    bench: Workbench = request.app.state.workbench
    return bench


Bench = Annotated[Workbench, Depends(_bench)]


def address_of(request: Request, settings: Settings) -> str | None:
    """Return the address by which wrong passwords are counted; None if it may be a proxy's.

    A proxy's address is everybody's: a limit by it would lock out all people for the mistakes of
    one, so only names are locked then. X-Forwarded-For is believed from this machine only, because
    others could write any address into it. If other machines can connect, the proxy may be one.
    """
    address = request.client.host if request.client else None
    if settings.behind_proxy and (not settings.loopback or address in LOOPBACK):
        return None
    return address


def find_who(request: Request, bench: Workbench) -> Who | None:
    """Return who asks, by token or cookie; None if nobody is signed in."""
    with bench.database.read() as session:
        return who_asks(request, bench, session)


def who_asks(request: Request, bench: Workbench, session: Session) -> Who | None:
    """Return who asks, as :func:`find_who` does, by a session of the database that is open."""
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return of_token(session, secret.strip())
    cookie = request.cookies.get(cookie_name(bench.settings))
    found = None if cookie is None else of_session(session, cookie)
    if found is not None:
        _refuse_old_page(request, bench, found)
    return found


def _refuse_old_page(request: Request, bench: Workbench, found: Who) -> None:
    """Refuse what a page asks that is of another workbench or person than its cookie.

    While a page stays open, somebody else may sign in in the same browser, and another workbench
    may be served at the same address: what the page sends is neither theirs nor of its cases.
    """
    if request.headers.get(WORKBENCH, bench.key) != bench.key:
        raise conflict(
            "other-workbench",
            "This page is of another workbench at this address: start that one again to go on.",
        )
    if request.headers.get(PERSON, str(found.id)) != str(found.id):
        raise RefusalError(
            401,
            "other-person",
            f"{found.name} is signed in in this browser now: sign in again as yourself to go on.",
        )


def checked(found: Who | None, role: str) -> Who:
    """Return who asks, if they have this role or a higher one.

    Raises:
        RefusalError: if not, or if nobody is signed in.
    """
    if found is None:
        raise RefusalError(401, "not-signed-in", "You are not signed in: sign in first.")
    if not found.may(role):
        raise RefusalError(
            403,
            "not-allowed",
            f"This needs the role {role}, and you are {found.role}: ask an admin.",
        )
    return found


def needs(role: str) -> Callable[..., Who]:
    """Return the dependency that lets only this role, or a higher one, through."""

    def ask(request: Request, bench: Bench) -> Who:
        return checked(find_who(request, bench), role)

    ask.role = role  # type: ignore[attr-defined]
    return ask


Viewer = Annotated[Who, Depends(needs("viewer"))]
Reader = Annotated[Who, Depends(needs("reader"))]
Signer = Annotated[Who, Depends(needs("signer"))]
Admin = Annotated[Who, Depends(needs("admin"))]


def etagged(request: Request, key: object, content: Callable[[], Any]) -> Response:
    """Answer with JSON, or with 304 if the browser has what ``key`` stands for."""
    return _tagged(request, key, lambda headers: JSONResponse(content(), headers=headers))


def image(request: Request, key: object, kind: str, content: Callable[[], bytes]) -> Response:
    """Answer with an image whose address only numbers it, or with 304 if the browser has it.

    Another model, a restored backup or another workbench at the same host and port may give the
    address another image, so a browser asks each time whether the one that it keeps still holds.

    Args:
        key: what tells the image from all others, such as its SHA-256.
        kind: such as ``png``.
    """
    media_type = f"image/{kind}"
    return _tagged(
        request, key, lambda headers: Response(content(), media_type=media_type, headers=headers)
    )


def _tagged(
    request: Request, key: object, answer: Callable[[dict[str, str]], Response]
) -> Response:
    tag = f'"{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return answer(headers)
