"""Put the application together: routes, refusals as JSON, and what stands before them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError, OperationalError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from blastscope import __version__
from blastscope.errors import BlastscopeError
from blastscope.workbench.context import Workbench
from blastscope.workbench.refusal import RefusalError
from blastscope.workbench.routes import (
    cases,
    cells,
    detail,
    events,
    export,
    fields,
    files,
    pages,
    people,
    review,
    session,
    similar,
)
from blastscope.workbench.routes.answers import RefusedJson
from blastscope.workbench.security import TOO_LARGE, middleware

ROUTES = (
    session, cases, files, fields, cells, detail, similar, events, export, review, people, pages,
)  # fmt: skip
_CODES = {404: "unknown-address", 405: "wrong-method", 413: "too-large"}
_SENTENCES = {
    404: "There is nothing at this address: go back to the cases.",
    405: "This address does not take this kind of request.",
    413: TOO_LARGE,
}


def create_app(workbench: Workbench) -> FastAPI:
    """Return the application of a workbench; its end ends the worker."""

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        yield
        workbench.close()

    app = FastAPI(
        title="blastscope workbench",
        version=__version__,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=living,
        middleware=middleware(workbench.settings),
        responses={"default": {"model": RefusedJson, "description": "The request is refused"}},
    )
    app.state.workbench = workbench
    for module in ROUTES:
        app.include_router(module.router)
    app.add_exception_handler(RefusalError, _refused)
    app.add_exception_handler(BlastscopeError, _wrong)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(OperationalError, _busy)
    app.add_exception_handler(ClientDisconnect, _broken_off)
    for kind in (DataError, OverflowError):  # of PostgreSQL, of SQLite
        app.add_exception_handler(kind, _beyond)
    return app


def _is_api(request: Request) -> bool:
    return request.url.path.startswith("/api/")


def _answer(request: Request, refusal: RefusalError) -> Response:
    if _is_api(request):
        return JSONResponse(refusal.as_json(), refusal.status, headers=refusal.headers)
    return pages.error_page(refusal.status, str(refusal))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusalError)
    return _answer(request, error)


async def _wrong(request: Request, error: Exception) -> Response:
    return _answer(request, RefusalError(500, "failed", str(error)))


async def _busy(request: Request, error: Exception) -> Response:
    told = "The database does not answer: look at the disk and the server, and try again."
    return _answer(request, RefusalError(503, "database", told))


async def _broken_off(request: Request, error: Exception) -> Response:
    told = "The request broke off before all of it came, and nothing of it is kept: send it again."
    return _answer(request, RefusalError(400, "broken-off", told))


async def _beyond(request: Request, error: Exception) -> Response:
    told = "A value in this request is too large or cannot be stored: correct it and send it again."
    return _answer(request, RefusalError(422, "invalid", told))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    fields = {
        ".".join(map(str, one["loc"][1:])) or str(one["loc"][0]): str(one["msg"])
        for one in error.errors()
    }
    name, reason = next(iter(fields.items()))
    told = f"{name}: {reason}. Correct it and send it again."
    return _answer(request, RefusalError(422, "invalid", told, fields=fields))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "refused")
    told = _SENTENCES.get(error.status_code, str(error.detail))
    return _answer(request, RefusalError(error.status_code, code, told))
