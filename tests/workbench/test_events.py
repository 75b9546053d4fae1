"""Events over HTTP: stored once, undone after a restart, refused where they do not belong."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.exc import DatabaseError

from blastscope.workbench.cases import bump
from blastscope.workbench.reviews import Reviews
from blastscope.workbench.store.tables import APPEND_ONLY, Case, ReviewEvent, Score


def test_labels_undo_and_redo_are_seen_and_survive_a_restart(served, local):
    case = served.case(30)
    assert local.label(case, [1, 2, 3], "A")["counts"]["A"] == 3
    assert local.label(case, [2], "N")["changed"]["2"]["label"] == "N"
    told = local.events(case, {"kind": "undo"}).json()
    assert told["changed"] == {"2": {"label": "A", "flag": False, "note": None, "final": None}}
    assert (told["undo"], told["redo"]) == (True, True)
    served.bench.reviews = Reviews()  # as after a restart: nothing is remembered
    told = local.events(case, {"kind": "undo"}).json()
    assert {n: one["label"] for n, one in told["changed"].items()} == dict.fromkeys("123")
    assert local.events(case, {"kind": "redo"}).json()["counts"]["A"] == 3
    told = local.events(case, {"kind": "redo"}).json()
    assert (told["counts"]["N"], told["counts"]) == (1, local.cells(case)["counts"])
    answer = local.events(case, {"kind": "redo"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "nothing-to-redo")
    columns = local.cells(case)["columns"]
    assert columns["label"][:4] == ["A", "N", "A", None]


def test_a_resend_changes_nothing_and_another_content_is_refused(served, local):
    case = served.case(10)
    event = {"id": str(uuid4()), "kind": "label", "cells": [1], "value": "A"}
    first = local.events(case, event).json()
    again = local.events(case, event).json()
    assert [one["again"] for one in first["events"] + again["events"]] == [False, True]
    assert (again["rev"], again["events"][0]["seq"]) == (first["rev"], first["events"][0]["seq"])
    other = local.events(case, {**event, "value": "N"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "other-content")
    assert local.cells(case)["columns"]["label"][0] == "A"


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ({"kind": "label", "cells": [11], "value": "A"}, 422),
        ({"kind": "label", "cells": [0], "value": "A"}, 422),
        ({"kind": "label", "cells": [1, 1], "value": "A"}, 422),
        ({"kind": "label", "cells": [], "value": "A"}, 422),
        ({"kind": "label", "cells": [1], "value": "B"}, 422),
        ({"kind": "flag", "cells": [1], "value": "A"}, 422),
        ({"kind": "note", "cells": [1], "value": "x" * 2001}, 422),
        ({"kind": "undo", "cells": [1]}, 422),
        ({"kind": "erase", "cells": [1]}, 422),
        ({"kind": "label", "cells": [1], "value": "A", "id": "17"}, 422),
        ({"kind": "reveal"}, 409),
        ({"kind": "label", "cells": [1], "value": "A", "shown": {"x": "y" * 3000}}, 422),
    ],
)
def test_a_wrong_event_stores_nothing_of_its_post(served, local, event, status):
    case = served.case(10)
    before = local.cells(case)["rev"]
    right = {"kind": "label", "cells": [5], "value": "A"}
    assert local.events(case, right, event).status_code == status
    after = local.cells(case)
    assert (after["rev"], after["columns"]["label"][4]) == (before, None)
    assert local.label(case, [5], "N")["counts"]["N"] == 1


def test_people_do_not_undo_each_other(served, local):
    case = served.case(10)
    ann = served.person("ann")
    local.label(case, [1], "A")
    ann.label(case, [1], "N")
    assert local.events(case, {"kind": "undo"}).json()["changed"]["1"]["label"] == "N"
    assert ann.events(case, {"kind": "undo"}).json()["changed"]["1"]["label"] is None
    assert ann.events(case, {"kind": "undo"}).status_code == 409


def test_what_changed_since_is_what_changed(served, local):
    case = served.case(12)
    rev = local.label(case, [3], "A")["rev"]
    local.label(case, [7, 9], "U")
    since = local.cells(case, since=rev)
    assert (since["columns"]["n"], since["columns"]["label"]) == ([7, 9], ["U", "U"])


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_what_people_did_cannot_be_changed(served, local, table):
    case = served.case(10)
    local.label(case, list(range(1, 11)), "A")
    state = local.get(f"/api/v1/cases/{case}/sign").json()
    seen = {name: len(state[name]) for name in ("unlabelled_referred", "unsure")}
    body = {"rev": state["rev"], "seen": {**seen, "open_disagreements": 0}}
    assert local.post(f"/api/v1/cases/{case}/sign", json=body).status_code == 200
    reopened = local.post(f"/api/v1/cases/{case}/reopen", json={"reason": "a second look"})
    assert reopened.status_code == 200
    local.post("/api/v1/tokens", json={"name": "script"})
    database = served.bench.database
    with database.read() as session:
        count = session.scalar(text(f"SELECT count(*) FROM {table}"))
    assert count > 0
    column = "comment" if table == "signature" else "person_id"
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET {column} = {column}"):
        with pytest.raises(DatabaseError, match="append-only"), database.write() as session:
            session.execute(text(statement))
    with database.read() as session:
        assert session.scalar(text(f"SELECT count(*) FROM {table}")) == count


def test_the_mapper_cannot_change_events_either(served, local):
    case = served.case(5)
    local.label(case, [1], "A")
    for statement in (delete(ReviewEvent), update(ReviewEvent).values(kind="note")):
        with pytest.raises(DatabaseError), served.bench.database.write() as session:
            session.execute(statement.where(ReviewEvent.case_id == case))


def test_history_tells_everything_in_order(served, local):
    case = served.case(10)
    local.label(case, [1, 2], "A")
    local.events(case, {"kind": "note", "cells": [2], "value": "=1+1"}, {"kind": "undo"})
    told = local.get(f"/api/v1/cases/{case}/history").json()["events"]
    assert [one["kind"] for one in told] == ["created", "label", "note", "undo"]
    assert told[3]["target"] == told[2]["id"]
    only = local.get(f"/api/v1/cases/{case}/history", params={"cell": 1}).json()["events"]
    assert [one["kind"] for one in only] == ["label"]
    other = local.get(f"/api/v1/cases/{case}/history", params={"cell": 2}).json()["events"]
    assert [one["kind"] for one in other] == ["label", "note", "undo"]
    text_ = local.get(f"/api/v1/cases/{case}/history.csv").text
    assert ",'=1+1," in text_  # no formula for a spreadsheet


def test_a_signed_case_takes_no_events(served, local):
    case = served.case(10)
    local.label(case, [1], "A")
    with served.bench.database.write() as session:
        session.get_one(Case, case).state = "signed"
    answer = local.events(case, {"kind": "label", "cells": [2], "value": "A"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "signed")


def test_what_was_saved_before_a_case_was_signed_is_saved(served, local):
    case = served.case(10)
    event = {"id": str(uuid4()), "kind": "label", "cells": [1], "value": "A"}
    first = local.events(case, event).json()  # and suppose that this answer is lost
    with served.bench.database.write() as session:
        session.get_one(Case, case).state = "signed"
    again = local.events(case, event)
    assert (again.status_code, again.json()["events"][0]["again"]) == (200, True)
    assert again.json()["rev"] == first["rev"]
    new = {"kind": "label", "cells": [2], "value": "A"}
    assert local.events(case, event, new).status_code == 409
    assert local.events(case, event | {"value": "N"}).status_code == 409


def test_what_is_not_json_is_not_kept(served, local):
    case = served.case(10)
    event = f'{{"id": "{uuid4()}", "kind": "label", "cells": [1], "shown": {{"p": NaN}}}}'
    answer = local.post(f"/api/v1/cases/{case}/events", content=f'{{"events": [{event}]}}')
    assert (answer.status_code, list(answer.json()["error"]["fields"])) == (422, ["shown"])


def test_cells_that_are_scored_come_to_a_page_that_asks_for_changes(served, local):
    case = served.case(10)
    told = local.cells(case)
    asked = {"since": told["rev"], "version": told["version"]}
    assert local.cells(case, **asked)["columns"]["n"] == []
    with served.bench.database.write() as session:
        session.query(Score).first().p_all = 0.125
        bump(session.get_one(Case, case))
    later = local.cells(case, **asked)
    assert later["columns"]["n"] == list(range(1, 11))
    assert later["columns"]["p"][0] == 0.125
    local.label(case, [4], "A")
    asked = {"since": later["rev"], "version": later["version"]}
    assert local.cells(case, **asked)["columns"]["n"] == [4]


def test_a_page_of_another_workbench_or_person_changes_nothing(served, local):
    case = served.case(10)
    told = local.get("/api/v1/boot").json()
    here, me = told["workbench"], str(told["person"]["id"])
    ann = str(served.person("ann").get("/api/v1/boot").json()["person"]["id"])
    body = {"events": [{"id": str(uuid4()), "kind": "label", "cells": [1], "value": "A"}]}
    address = f"/api/v1/cases/{case}/events"
    asked = [
        ("POST", address, {"json": body}),
        ("POST", f"/api/v1/cases/{case}/sign", {"json": {"rev": 1, "seen": {}}}),
        ("PUT", f"/api/v1/cases/{case}/files?name=a.png", {"content": b"x"}),
        ("GET", "/api/v1/cases", {}),
    ]
    for workbench, person, code in ((here, ann, "other-person"), ("0" * 16, me, "other-workbench")):
        headers = {"X-Blastscope-Workbench": workbench, "X-Blastscope-Person": person}
        for method, where, content in asked:
            answer = local.request(method, where, headers=headers, **content)
            assert answer.json()["error"]["code"] == code, where
    assert local.cells(case)["columns"]["label"] == [None] * 10
    headers = {"X-Blastscope-Workbench": here, "X-Blastscope-Person": me}
    assert local.post(address, json=body, headers=headers).status_code == 200
