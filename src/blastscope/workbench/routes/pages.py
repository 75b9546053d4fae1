"""The shells of the pages, and the files that they are made of."""

from __future__ import annotations

import hashlib
import html
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, TemplateNotFound, select_autoescape

from blastscope.workbench.context import Workbench
from blastscope.workbench.routes.dependencies import FOREVER, Bench, find_who
from blastscope.workbench.routes.session import boot

WEB = Path(__file__).parent.parent / "web"
TITLES = {
    "sign_in": "Sign in",
    "cases": "Cases",
    "new_case": "New case",
    "case": "Case",
    "gallery": "Gallery",
    "cell": "Cell",
    "reading": "Second reading",
    "export": "Export",
    "history": "History",
    "admin": "Admin",
}
KINDS = {
    ".css": "text/css",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
"""What is served of the folder of static files, and as what."""
_INSIDE = re.compile(r"/(?!/)[!-\[\]-~]*")
"""A page of this server. Browsers pass over tabs and line ends in addresses, and take a backslash
for a slash, so that what has any of them may lead to another server."""

router = APIRouter(include_in_schema=False)


@cache
def static_digest() -> str:
    """Return a digest of all static files, by which their addresses change when they do."""
    digest = hashlib.sha256()
    for path in sorted((WEB / "static").rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(WEB).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(WEB / "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
    )
    made.globals["static"] = lambda name: f"/static/{static_digest()}/{name}"
    return made


def page(
    bench: Workbench, request: Request, name: str, person_needed: bool = True, **known: Any
) -> Response:
    """Answer with a page's shell; who is not signed in goes to sign in first."""
    person = find_who(request, bench)
    if person is None and person_needed:
        return RedirectResponse(f"/sign-in?next={quote(request.url.path)}", 303)
    data = {"page": name, "case": None, "cell": None, **boot(bench, person), **known}
    environment = _environment()
    try:
        template = environment.get_or_select_template([f"{name}.html", "page.html"])
    except TemplateNotFound:
        return HTMLResponse("This copy of blastscope was installed without its pages.", 500)
    text = template.render(page=name, title=TITLES[name], boot=data)
    return HTMLResponse(text, headers={"Cache-Control": "no-store"})


def error_page(status: int, message: str) -> Response:
    """Answer with a page that says what is wrong."""
    try:
        text = (
            _environment()
            .get_template("error.html")
            .render(
                page="error", title="Error", status=status, message=message, boot={"page": "error"}
            )
        )
    except TemplateNotFound:
        text = f"<!doctype html><title>{status}</title><p>{html.escape(message)}</p>"
    return HTMLResponse(text, status)


@router.get("/")
def home() -> Response:
    """Go to the cases."""
    return RedirectResponse("/cases", 303)


@router.get("/sign-in")
def sign_in_page(bench: Bench, request: Request, next: str = "/", used: int = 0) -> Response:
    """Show the page to sign in."""
    inside = next if _INSIDE.fullmatch(next) else "/"
    return page(bench, request, "sign_in", False, next=inside, used=bool(used))


@router.get("/cases")
def cases_page(bench: Bench, request: Request) -> Response:
    """Show the cases."""
    return page(bench, request, "cases")


@router.get("/cases/new")
def new_case_page(bench: Bench, request: Request) -> Response:
    """Show the page for a new case."""
    return page(bench, request, "new_case")


@router.get("/cases/{case_id}")
def case_page(bench: Bench, request: Request, case_id: int) -> Response:
    """Show a case."""
    return page(bench, request, "case", case=case_id)


@router.get("/cases/{case_id}/{name}")
def page_of_case(bench: Bench, request: Request, case_id: int, name: str) -> Response:
    """Show another page of a case."""
    if name not in ("gallery", "reading", "export", "history"):
        return error_page(404, "There is no such page: go back to the cases.")
    return page(bench, request, name, case=case_id)


@router.get("/cases/{case_id}/cells/{n}")
def cell_page(bench: Bench, request: Request, case_id: int, n: int) -> Response:
    """Show a cell."""
    return page(bench, request, "cell", case=case_id, cell=n)


@router.get("/admin")
def admin_page(bench: Bench, request: Request) -> Response:
    """Show the page of people, tokens and jobs."""
    return page(bench, request, "admin")


@router.get("/static/{digest}/{name:path}")
def static_file(digest: str, name: str) -> Response:
    """Return a static file."""
    folder = WEB / "static"
    path = (folder / name).resolve() if "\0" not in name else folder
    kind = KINDS.get(path.suffix)
    if not path.is_relative_to(folder.resolve()) or kind is None or not path.is_file():
        return Response("There is no such file.", 404, media_type="text/plain")
    keeping = FOREVER if digest == static_digest() else "no-cache"
    return FileResponse(path, media_type=kind, headers={"Cache-Control": keeping})
