"""No route tells a blind second reader of the model, of others' labels or of the first reading.

Each route is asked twice. In between the model's output turns into its opposite and others label,
flag and write notes: every answer must stay as it was. A route that is not in a table here fails.
"""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from blastscope.workbench.app import ROUTES as MODULES
from blastscope.workbench.cases import bump
from blastscope.workbench.store.tables import (
    Case,
    Embedding,
    Heatmap,
    QueuedJob,
    Reading,
    Score,
    Scoring,
    Sheet,
    Upload,
    User,
)
from tests.workbench.filling import _picture

API = "/api/v1"
CASE = f"{API}/cases/{{case_id}}"
LABEL = {"kind": "label", "cells": [2], "value": "A", "shown": {"model": False}}

ASKED = {
    f"GET {API}/boot": [""],
    f"GET {API}/cases": ["", "?search=Fill", "?state=review", "?state=signed"],
    f"GET {API}/identifier-check": ["?identifier=Filled"],
    f"GET {API}/models": [""],
    f"GET {API}/heatmap-methods": [""],
    f"GET {API}/people": [""],
    f"GET {API}/tokens": [""],
    f"GET {API}/audit": [""],
    f"GET {API}/system": [""],
    f"GET {API}/jobs/{{job_id}}": [""],
    f"GET {CASE}": [""],
    f"GET {CASE}/cells": ["", "?since=0", "?since=99999", "?reading={own}"],
    f"GET {CASE}/cells/find": [
        "?order=n", "?order=random", "?filter=unlabelled,A", "?filter=flagged", "?filter=noted",
    ],
    f"GET {CASE}/cells/{{n}}": ["", "?reading={own}"],
    f"GET {CASE}/cells/{{n}}/{{kind}}.png": [""],
    f"GET {CASE}/sheets/{{name}}": [""],
    f"GET {CASE}/fields": [""],
    f"GET {CASE}/files": ["", "?state=refused"],
    f"GET {CASE}/problems.csv": [""],
    f"GET {CASE}/history": ["", "?cell=3", "?person=local", "?kind=label", "?after=0&limit=1"],
    f"GET {CASE}/history.csv": [""],
    "GET /": [""],
    "GET /sign-in": [""],
    "GET /cases": [""],
    "GET /cases/new": [""],
    "GET /cases/{case_id}": [""],
    "GET /cases/{case_id}/{name}": [""],
    "GET /cases/{case_id}/cells/{n}": [""],
    "GET /admin": [""],
    f"GET {API}/openapi.json": [""],
}  # fmt: skip
"""What a blind reader may ask, with the questions."""

REFUSED: dict[str, list[Any]] = {
    f"GET {CASE}/cells": ["?reading={first}", "?reading=99"],
    f"GET {CASE}/cells/find": ["?reading={first}", "?order=similar:3"],
    f"GET {CASE}/cells/{{n}}": ["?reading={first}"],
    f"GET {CASE}/cells/{{n}}/similar": [""],
    f"GET {CASE}/cells/{{n}}/heatmaps/{{method}}.png": [""],
    f"GET {CASE}/scorings": [""],
    f"GET {CASE}/shares": [""],
    f"GET {CASE}/sign": [""],
    f"GET {CASE}/agreement": [""],
    f"GET {CASE}/export": [""],
    f"GET {CASE}/export/{{export}}": [""],
    f"POST {CASE}/events": [{"events": [LABEL | {"reading": 1}]}],
    f"POST {CASE}/cells/{{n}}/heatmaps": [{"method": "grad-cam"}],
    f"POST {CASE}/score": [{"model": 1}],
    f"POST {CASE}/sign": [{"rev": 0, "seen": {}}],
    f"POST {CASE}/readings": [{"person": 1}],
    f"POST {CASE}/files/done": [{}],
    f"PUT {CASE}/files": [b"x"],
}
"""What is refused because the reader is blind."""

SENT: dict[str, list[Any]] = {
    f"POST {CASE}/events": [
        {"events": [LABEL]},
        {"events": [{"kind": "flag", "cells": [2], "value": True}]},
        {"events": [LABEL | {"cells": [999]}]},
        {"events": [LABEL | {"kind": "adjudicate"}]},
        {"events": [LABEL | {"shown": {"model": True}}]},
        {"events": [{"kind": "reveal"}]},
    ],
    f"POST {CASE}/sample": [{"size": 100}],
    f"POST {CASE}/scale": [{"um_per_pixel": 0.1}],
    f"POST {CASE}/reopen": [{"reason": "a second look"}],
}
"""What a blind reader may send; a refusal must not tell anything either."""

APART = {
    f"POST {API}/cases": "makes a case of the reader's own",
    f"POST {API}/demo": "makes a case; what it answers is what GET answers",
    f"POST {API}/session": "is asked before somebody is known",
    f"DELETE {API}/session": "has no answer",
    f"POST {API}/people": "is about people",
    f"PATCH {API}/people/{{person_id}}": "is about people",
    f"POST {API}/tokens": "is about tokens",
    f"DELETE {API}/tokens/{{token_id}}": "has no answer",
    f"POST {API}/jobs/{{job_id}}/again": "answers as GET does",
    f"DELETE {API}/jobs/{{job_id}}": "answers as GET does",
    f"POST {API}/worker/restart": "is about the worker",
    f"POST {API}/backup": "is about the workbench",
    f"POST {API}/readings/{{reading_id}}/finish": "ends the blindness",
    f"GET {CASE}/fields/{{number}}.webp": "is an image of a field as it was sent",
    f"GET {API}/reference/{{row}}.png": "is an image of a store, whose cells are of no case",
    "GET /launch": "is asked before somebody is known",
    "GET /static/{digest}/{name:path}": "is the same for everybody",
}
"""What is not asked here, and why it cannot tell."""

PASSING = {"seq", "rev", "free", "id"}
"""Numbers that differ whatever was said: of events, of bytes."""


class Blind:
    """Bob, an admin who reads a case blind, and the others of that case."""

    def __init__(self, served, local) -> None:
        self.served, self.local = served, local
        self.ids: dict[str, str] = {}
        self.case = served.case(30)
        self.bob = served.person("bob", "admin")
        with served.bench.database.write() as session:
            person = session.query(User).filter_by(name="bob").one().id
            name = session.query(Upload).first().name
            assert name.startswith("UID_")
            session.add(
                QueuedJob(
                    kind="score", case_id=self.case, state="failed",
                    reason=f"{name} cannot be read",
                )
            )  # fmt: skip
            session.add(
                Upload(
                    case_id=self.case, name="again_all.png", kind="image", sha="0", bytes=1,
                    state="refused", reason=f"is the same as {name}",
                )
            )  # fmt: skip
        made = local.post(f"{API}/cases/{self.case}/readings", json={"person": person})
        with served.bench.database.read() as session:
            first = session.query(Reading).filter_by(case_id=self.case, number=1).one().id
            sheet = session.query(Sheet).filter_by(case_id=self.case).first().sha
        self.known = {
            "case_id": self.case, "n": 3, "kind": "crop", "method": "grad-cam", "job_id": 1,
            "name": f"{sheet}.webp", "export": "cells.csv", "own": made.json()["id"],
            "first": first,
        }  # fmt: skip

    def ask(self, route: str, question: Any) -> Any:
        method, path = route.split(" ")
        known = dict(self.known)
        if path.startswith("/cases/"):
            known["name"] = "gallery"
        more = question if isinstance(question, str) else ""
        address = (path + more).format(**known)
        if isinstance(question, bytes):
            return self.bob.request(method, address, params={"name": "a.png"}, content=question)
        if isinstance(question, dict):
            events = question.get("events", [])
            body = question | {"events": [{"id": self.id_of(one), **one} for one in events]}
            return self.bob.request(method, address, json=body if events else question)
        return self.bob.request(method, address)

    def id_of(self, event: dict[str, Any]) -> str:
        """The same each time: what was sent before does not make the history longer."""
        return self.ids.setdefault(str(event), str(uuid4()))

    def answers(self, *tables: dict[str, list[Any]]) -> dict[str, tuple[int, Any]]:
        told = {}
        for table in tables:
            for route, questions in table.items():
                for question in questions:
                    answer = self.ask(route, question)
                    kind = answer.headers.get("content-type", "")
                    body = without(answer.json(), PASSING) if "json" in kind else answer.content
                    told[f"{route} {question!r}"] = (answer.status_code, body)
        return told

    def turn(self) -> None:
        """Turn what the model says into its opposite, and let others work."""
        with self.served.bench.database.write() as session:
            for one in session.query(Score):
                one.p_all, one.p_raw = 1 - one.p_all, 1 - one.p_raw
                one.called = {"all": "hem", "hem": "all"}.get(one.called)
                one.refer, one.ood = not one.refer, not one.ood
                one.networks = [one.p_raw]
            case = session.get(Case, self.case)
            vector = np.eye(1, 4, dtype=np.float32).tobytes()
            shas = {cell.sha for cell in self.cells(session)}
            session.add_all(Embedding(model_id=case.model_id, sha=s, vector=vector) for s in shas)
            session.add_all(
                Heatmap(model_id=case.model_id, sha=s, method="grad-cam", image=s) for s in shas
            )
            session.get(Scoring, case.scoring_id).subjects = [{"subject": "S1", "share": 0.9}]
            bump(case)
        self.local.label(self.case, [2, 3, 4, 5], "A")
        self.local.label(self.case, [6, 7], "X")
        self.local.events(
            self.case,
            {"kind": "flag", "cells": [3], "value": True},
            {"kind": "note", "cells": [3], "value": "secret remark"},
        )
        self.local.events(self.case, {"kind": "undo"})

    def cells(self, session) -> list[Any]:
        from blastscope.workbench.store.tables import Cell

        return session.query(Cell).filter_by(case_id=self.case).all()


def without(content: Any, names: set[str]) -> Any:
    if isinstance(content, dict):
        return {k: without(v, names) for k, v in content.items() if k not in names}
    if isinstance(content, list):
        return [without(one, names) for one in content]
    return content


@pytest.fixture
def blind(served, local) -> Blind:
    """A case that others have read, and its blind second reader."""
    return Blind(served, local)


def test_every_route_is_in_a_table(app):
    known = {re.sub(r"\{export\}", "{name}", one) for one in (*ASKED, *REFUSED, *SENT, *APART)}
    there = set()
    own = [route for route in app.routes if hasattr(route, "methods")]
    for route in (*own, *(one for module in MODULES for one in module.router.routes)):
        there |= {f"{method} {route.path}" for method in route.methods - {"HEAD", "OPTIONS"}}
    assert there - known == set()
    assert known - there == set()


def test_no_answer_depends_on_the_model_or_on_others(blind):
    blind.answers(ASKED, SENT)  # what is sent changes the reader's own labels once
    before = blind.answers(ASKED, SENT)
    blind.turn()
    after = blind.answers(ASKED, SENT)
    for question, answer in before.items():
        assert after[question] == answer, question
        assert "UID_" not in str(answer), question
        assert "secret" not in str(answer), question
    asked = [status for question, (status, _) in before.items() if question.startswith("GET")]
    assert set(asked) <= {200, 303}
    said = [blind.bob.label(blind.case, [3], value) for value in "NA"]
    assert said[0]["changed"] == {"3": {"label": "N", "flag": False, "note": None}}
    counted = {name: said[1]["counts"][name] for name in ("unlabelled", "A", "X", "flagged")}
    assert counted == {"unlabelled": 28, "A": 2, "X": 0, "flagged": 1}


def test_what_tells_is_refused_before_anything_is_looked_up(blind):
    before = blind.answers(REFUSED)
    blind.turn()
    for told in (before, blind.answers(REFUSED)):
        for question, (status, body) in told.items():
            assert (status, body["error"]["code"]) == (403, "blind"), question


def test_orders_and_filters_of_the_model_are_not_there(blind):
    for question in (
        "order=p", "order=-p", "order=needs", "order=file", "filter=referred", "filter=ood",
        "filter=near", "filter=disagrees", "filter=disagreements",
    ):  # fmt: skip
        answer = blind.ask(f"GET {CASE}/cells/find", f"?{question}")
        assert answer.status_code == 422, question
        assert not re.search(r"\bp\b|needs|referred, ", answer.json()["error"]["message"].split(
            "here:")[1]), question  # fmt: skip


def test_a_tag_does_not_tell_that_others_work(blind):
    address = f"{API}/cases/{blind.case}/cells"
    tag = blind.bob.get(address).headers["etag"]
    blind.local.label(blind.case, [9], "A")
    assert blind.bob.get(address, headers={"If-None-Match": tag}).status_code == 304


def test_an_open_second_reading_is_its_readers(blind):
    blind.ask(f"POST {CASE}/events", {"events": [LABEL]})
    own = blind.known["own"]
    for address in ("cells", "cells/2", "cells/find"):
        answer = blind.local.get(f"{API}/cases/{blind.case}/{address}", params={"reading": own})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "open-reading")
    said = re.compile('"kind":"label"|,label,')
    for address in ("history", "history.csv", "cells/2"):
        assert not said.search(blind.local.get(f"{API}/cases/{blind.case}/{address}").text)
    assert blind.bob.post(f"{API}/readings/{own}/finish", json={}).status_code == 200
    for address in ("history", "history.csv", "cells/2"):
        assert said.search(blind.local.get(f"{API}/cases/{blind.case}/{address}").text)


def test_blind_first_cannot_be_got_round_by_a_second_reading(served, local):
    case = served.case(20, blind_first=True)
    ann, eve = served.person("ann"), served.person("eve")
    with served.bench.database.read() as session:
        number = session.query(User).filter_by(name="ann").one().id
    local.events(case, {"kind": "reveal"})
    made = local.post(f"{API}/cases/{case}/readings", json={"person": number}).json()["id"]
    ann.label(case, [1], "A", reading=made)
    assert ann.post(f"{API}/readings/{made}/finish", json={}).status_code == 200
    for address in ("cells", "cells/1", "cells/find"):
        answer = eve.get(f"{API}/cases/{case}/{address}", params={"reading": made})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "blind")
    ann.label(case, [2, 3], "N")  # in the case's own reading now
    readings = eve.get(f"{API}/cases/{case}").json()["readings"]
    assert [one["left"] for one in readings] == [20]


@pytest.mark.parametrize(
    "address",
    [
        "history", "history.csv", "export/cells.csv", "agreement", "shares", "files", "fields",
        "problems.csv", "export",
    ],
)  # fmt: skip
def test_whoever_saw_labels_elsewhere_cannot_be_blind_either(served, local, address):
    case = served.case(12)
    bob = served.person("bob")
    local.label(case, [1], "A")
    bob.get(f"{API}/cases/{case}/{address}")
    with served.bench.database.read() as session:
        number = session.query(User).filter_by(name="bob").one().id
    answer = local.post(f"{API}/cases/{case}/readings", json={"person": number})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "has-seen")


def test_whoever_sent_files_knows_their_names_and_cannot_be_blind(served, local):
    case = served.case(12)
    bob = served.person("bob")
    content = _picture(99, 0.3)
    sent = bob.put(f"{API}/cases/{case}/files", params={"name": "x_all.png"}, content=content)
    assert sent.status_code == 201
    with served.bench.database.read() as session:
        number = session.query(User).filter_by(name="bob").one().id
    answer = local.post(f"{API}/cases/{case}/readings", json={"person": number})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "has-seen")


def test_the_list_tells_no_share_of_a_case_that_a_person_has_not_opened(served, local):
    case = served.case(30)
    local.label(case, list(range(1, 13)), "A")
    bob = served.person("bob")

    def listed(asking) -> dict[str, Any]:
        return asking.get(f"{API}/cases").json()["cases"][0]

    first = bob.get(f"{API}/cases")
    (told,) = first.json()["cases"]
    assert (told["blind"], told["share"]["share"], told["share"]["of"]) == (False, None, None)
    assert told["share"]["reason"] == "not-opened"
    # Neither what people called them nor what the model did:
    assert told["counts"] == {"cells": 30, "unlabelled": 18, "unusable": 0}
    assert listed(local)["share"]["share"] is not None  # who made the case cannot read it blind
    with served.bench.database.read() as session:
        number = session.query(User).filter_by(name="bob").one().id
    made = local.post(f"{API}/cases/{case}/readings", json={"person": number})
    assert made.status_code == 201, made.text  # the list has not shown him anything
    assert listed(bob)["share"] is None
    ann = served.person("ann")
    tag = {"If-None-Match": ann.get(f"{API}/cases").headers["etag"]}
    ann.get(f"{API}/cases/{case}")  # any page of a case asks for this
    again = ann.get(f"{API}/cases", headers=tag)
    assert again.json()["cases"][0]["share"]["share"] is not None


@pytest.mark.parametrize("question", ["GET", "POST /sample", "POST /files/done"])
def test_whoever_got_the_share_in_an_answer_cannot_be_blind_either(served, local, question):
    case = served.case(120)
    assert local.post(f"{API}/cases/{case}/sample", json={"size": 100}).is_success
    bob = served.person("bob")
    method, _, end = question.partition(" ")
    body = {"size": 100} if end == "/sample" else {}  # neither changes anything
    told = bob.request(method, f"{API}/cases/{case}{end}", **({"json": body} if end else {}))
    assert "referred" in told.json()["counts"]
    with served.bench.database.read() as session:
        number = session.query(User).filter_by(name="bob").one().id
    answer = local.post(f"{API}/cases/{case}/readings", json={"person": number})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "has-seen")
