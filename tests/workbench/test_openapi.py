"""OpenAPI describes every answer, and every answer is as it says."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydantic import ValidationError

from blastscope.workbench.contact_sheets import png
from tests.workbench.conftest import hold_to_its_type
from tests.workbench.test_cases import signed

FILES = {"csv", "png", "webp"}


def operations(app):
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_every_route_describes_its_answers(app):
    schemas = app.openapi()["components"]["schemas"]
    told = 0
    for method, path, operation in operations(app):
        answers = {k: v for k, v in operation["responses"].items() if k != "default"}
        assert answers
        for status, answer in answers.items():
            if status == "204":
                assert "content" not in answer
            elif path.rpartition(".")[2] in FILES or path.endswith(("/sheets/{name}", "/{name}")):
                assert "application/json" not in answer["content"]
            else:
                schema = answer["content"]["application/json"]["schema"]
                named = [one["$ref"] for one in schema.get("anyOf", [schema])]
                for one in named:
                    known = schemas[one.rpartition("/")[2]]
                    assert len(known["properties"]) * len(known["required"]), (method, path)
                told += 1
        refused = operation["responses"]["default"]["content"]["application/json"]["schema"]
        assert refused["$ref"].endswith("/RefusedJson")
    assert told >= 45
    assert "HTTPValidationError" not in json.dumps(app.openapi())  # no answer is of its shape


def test_answers_are_held_to_their_types(served, local):
    case = served.case(12)
    answer = local.get(f"/api/v1/cases/{case}/cells").json()
    path = f"/api/v1/cases/{case}/cells"
    hold_to_its_type("GET", path, 200, answer)
    with pytest.raises(ValidationError):
        hold_to_its_type("GET", path, 200, answer | {"more": 1})
    with pytest.raises(ValidationError):
        hold_to_its_type("GET", path, 200, answer | {"rev": "1"})
    with pytest.raises(ValidationError):
        hold_to_its_type("GET", path, 404, {"error": {"code": "unknown-case"}})


def get_all(asking, addresses):
    for address in addresses:
        answer = asking.get(f"/api/v1/{address}")
        assert answer.status_code == 200, (address, answer.text)


def test_answers_about_a_case_that_two_read_are_as_described(served, local):
    """The browsers of the tests hold each answer to its type."""
    case = served.case(12)
    local.label(case, list(range(1, 12)), "A")
    local.events(case, {"kind": "note", "cells": [2], "value": "odd"}, {"kind": "undo"})
    second = served.person("rita")
    people = local.get("/api/v1/people").json()["people"]
    rita = next(one["id"] for one in people if one["name"] == "rita")
    made = local.post(f"/api/v1/cases/{case}/readings", json={"person": rita}).json()
    second.label(case, [1, 2], "N")
    here = f"cases/{case}"
    blind = ("", "/cells", "/cells/1", "/files", "/fields", "/history")
    get_all(second, (here + one for one in blind))
    assert second.post(f"/api/v1/readings/{made['id']}/finish").status_code == 200
    local.events(case, {"kind": "adjudicate", "cells": [1], "value": "A"})
    seen = (
        *blind, "/cells/1/similar", "/cells/find?filter=A&order=p", "/scorings", "/export",
        "/shares", "/sign", "/agreement",
    )  # fmt: skip
    get_all(local, (here + one for one in seen))
    assert signed(local, case).status_code == 200
    assert local.post(f"/api/v1/{here}/reopen", json={"reason": "again"}).status_code == 200
    assert local.get(f"/api/v1/{here}/sign").json()["signatures"][0]["reopened"]


def test_answers_about_all_else_are_as_described(served, local, monkeypatch):
    monkeypatch.setattr(served.bench.worker, "restart", lambda: None)
    body = {"identifier": "B-1", "material": "blood", "sampling": "all"}
    person = {"name": "vera", "password": "long enough 1"}
    for path, sent, status in (
        ("cases", body, 201), ("demo", None, 201), ("demo", None, 200),
        ("tokens", {"name": "script"}, 201), ("backup", None, 202), ("worker/restart", None, 200),
        ("people", person | {"role": "reader"}, 201),
    ):  # fmt: skip
        answer = local.post(f"/api/v1/{path}", json=sent)
        assert answer.status_code == status, answer.text
    for status in (201, 200):
        sent = local.put("/api/v1/cases/1/files?name=a.png", content=png(np.zeros((9, 9, 3), "u1")))
        assert sent.status_code == status, sent.text
    assert local.post("/api/v1/cases/1/files/done").status_code == 200
    get_all(
        local,
        ("boot", "cases", "identifier-check?identifier=Ann Lee", "models", "heatmap-methods",
         "people", "tokens", "system", "audit", "jobs/1"),
    )  # fmt: skip
    get_all(served.person("vera"), ("people",))
    assert served.ask().post("/api/v1/session", json=person).status_code == 200
