"""A workbench in a temporary folder, people who ask it, and a case of made-up scores."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from pydantic import TypeAdapter
from starlette.routing import Match
from starlette.testclient import TestClient

from blastscope.workbench import context
from blastscope.workbench.app import ROUTES, create_app
from blastscope.workbench.context import Workbench
from blastscope.workbench.people import start_session
from blastscope.workbench.routes import answers
from blastscope.workbench.settings import Settings
from blastscope.workbench.store.database import FILE, Database, sqlite_url
from blastscope.workbench.store.tables import User
from tests.workbench.filling import fake_model, fill_case

HOST = "http://127.0.0.1:8400"


def hold_to_its_type(method: str, path: str, status: int, content: Any) -> None:
    """Hold an answer of the API to what OpenAPI says of it: no field more, none missing."""
    asked = {"type": "http", "method": method.upper(), "path": path}
    for module in ROUTES:
        for route in module.router.routes:
            if route.matches(asked)[0] is Match.FULL:
                told = (
                    route.responses.get(status) if status < 400 else {"model": answers.RefusedJson}
                )
                if told is not None and "model" in told:
                    TypeAdapter(told["model"]).validate_python(content, strict=True)
                return


class Asking(TestClient):
    """A browser of one person; it holds every answer to its type."""

    def request(self, method: str, url: Any, **more: Any) -> Any:
        """Ask, and hold the answer to what OpenAPI says of it."""
        answer = super().request(method, url, **more)
        path = answer.request.url.path
        if path.startswith("/api/v1/") and "json" in answer.headers.get("content-type", ""):
            hold_to_its_type(method, path, answer.status_code, answer.json())
        return answer

    def events(self, case: int, *events: dict[str, Any], reading: int | None = None) -> Any:
        """Send events, with fresh identifiers where they have none."""
        body = [{"id": str(uuid4()), "reading": reading, **one} for one in events]
        return self.post(f"/api/v1/cases/{case}/events", json={"events": body})

    def label(self, case: int, cells: list[int], value: str | None, **more: Any) -> Any:
        """Label cells, and return the answer's content."""
        answer = self.events(case, {"kind": "label", "cells": cells, "value": value}, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def cells(self, case: int, **parameters: Any) -> Any:
        """Return the cells of a case."""
        answer = self.get(f"/api/v1/cases/{case}/cells", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()


@dataclass
class Served:
    """A workbench, and ways to ask it as somebody."""

    bench: Workbench
    app: Any

    def ask(self, secret: str | None = None) -> Asking:
        """Return a browser with a session's cookie, or of nobody."""
        asking = Asking(
            self.app,
            base_url=HOST,
            headers={"Sec-Fetch-Site": "same-origin", "Origin": HOST},
            follow_redirects=False,
        )
        if secret is not None:
            asking.cookies.set("blastscope_session", secret)
        return asking

    def person(self, name: str, role: str = "reader") -> Asking:
        """Return the browser of a person, who is added if need be."""
        with self.bench.database.write() as session:
            found = session.query(User).filter_by(name=name).one_or_none()
            if found is None:
                found = User(name=name, role=role)
                session.add(found)
                session.flush()
            secret = start_session(session, found.id)
        return self.ask(secret)

    def case(self, cells: int = 30, **more: Any) -> int:
        """Make a case in review."""
        with self.bench.database.write() as session:
            made = fill_case(session, self.bench.images, fake_model(session), cells, **more)
            return made.id


def settings_of(folder: Path, database: str | None = None) -> Settings:
    """Return the settings of a workbench in a folder."""
    return Settings(folder=folder, database=database or sqlite_url(folder), models=())


@pytest.fixture(scope="session")
def app() -> Any:
    """The application, made once; each test gives it a workbench of its own."""
    return create_app(SimpleNamespace(settings=settings_of(Path("nowhere"))))


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all tables and no row: to make it takes longer than most tests."""
    folder = tmp_path_factory.mktemp("empty")
    database = Database(sqlite_url(folder))
    database.migrate()
    database.close()
    return folder / FILE


@pytest.fixture
def served(app: Any, empty: Path, tmp_path: Path, monkeypatch) -> Iterator[Served]:
    """A workbench whose worker is not started, with a model that exists in the table only."""
    monkeypatch.setattr(context, "register", lambda session, _: fake_model(session))
    (tmp_path / "workbench").mkdir()
    shutil.copy(empty, tmp_path / "workbench" / FILE)
    bench = app.state.workbench = Workbench(settings_of(tmp_path / "workbench"))
    yield Served(bench, app)
    bench.close()


@pytest.fixture
def local(served: Served) -> Asking:
    """The browser of the person of the launch address, an admin."""
    return served.person("local")
