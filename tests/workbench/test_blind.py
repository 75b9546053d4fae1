"""A blind reader gets nothing of the model's, of others' labels or of names that tell the label."""

from __future__ import annotations

import json
import re

import pytest

from blastscope.workbench.store.tables import User

MODEL_KEYS = {
    "p", "p_all", "p_raw", "called", "refer", "ood", "ood_score", "confidence", "near", "needs",
    "referred", "referred_left", "disagrees", "networks", "heatmaps", "threshold", "share",
    "file", "name", "subject", "other", "final", "labels",
}  # fmt: skip


def keys(content) -> set[str]:
    if isinstance(content, dict):
        inner = [keys(value) for value in content.values()]
        return set(content) | set().union(*inner)
    if isinstance(content, list):
        return set().union(*map(keys, content))
    return set()


def reads(asking, case: int) -> dict[str, tuple[int, str]]:
    """Every answer of the API about a case, by its address."""
    template = asking.app.openapi()["paths"]
    told = {}
    for path, methods in template.items():
        if "get" not in methods:
            continue
        address = path.format(
            case_id=case,
            n=3,
            kind="crop",
            method="grad-cam",
            job_id=1,
            name="cells.csv",
            number=1,
            row=0,
        )
        parameters = {"identifier": "x"} if "identifier" in path else {}
        answer = asking.get(address, params=parameters)
        told[address] = (answer.status_code, answer.text)
    return told


def refuses_to_tell(told: dict[str, tuple[int, str]], marks: list[str]) -> None:
    for address, (status, text) in told.items():
        if address.startswith(("/api/v1/people", "/api/v1/models", "/api/v1/boot")):
            continue  # about people and models, not about a case
        if status == 403:
            continue
        for mark in marks:
            assert mark not in text, (address, mark)
        assert not re.search(r"UID_|_all\b|_hem\b", text), address
        if text.startswith("{"):
            found = keys(json.loads(text))
            if address.endswith("heatmap-methods") or "openapi" in address:
                continue
            allowed = {"name", "share", "threshold"}  # of a method, and null, of a case
            assert not (found & MODEL_KEYS) - allowed, (address, found & MODEL_KEYS)


@pytest.fixture
def second(served, local):
    """A case that somebody has labelled, and its blind second reader."""
    case = served.case(30)
    bob = served.person("bob")
    local.label(case, [1, 2, 3], "U")
    local.events(case, {"kind": "note", "cells": [3], "value": "secret remark"})
    with served.bench.database.read() as session:
        number = session.query(User).filter_by(name="bob").one().id
    made = local.post(f"/api/v1/cases/{case}/readings", json={"person": number})
    assert made.status_code == 201, made.text
    return case, bob, made.json()["id"]


def test_no_answer_to_a_blind_second_reader_tells(served, second):
    case, bob, _ = second
    told = reads(bob, case)
    assert sum(status == 200 for status, _ in told.values()) >= 8
    refuses_to_tell(told, ["secret remark"])
    columns = bob.cells(case)["columns"]
    assert columns["label"] == [None] * 30
    listed = bob.get("/api/v1/cases").json()["cases"][0]
    assert (listed["blind"], listed["share"], listed["readers"]) == (True, None, [])
    posted = bob.label(case, [3], "A")
    assert posted["changed"]["3"] == {"label": "A", "flag": False, "note": None}
    assert "referred" not in posted["counts"]
    for question in ("filter=referred", "order=p", "order=needs", "order=file"):
        assert bob.get(f"/api/v1/cases/{case}/cells/find?{question}").status_code == 422
    first = bob.get(f"/api/v1/cases/{case}").json()["readings"][0]["id"] - 1
    assert bob.get(f"/api/v1/cases/{case}/cells?reading={first}").status_code == 403
    shown = bob.events(case, {"kind": "label", "cells": [4], "value": "A", "shown": {"model": 1}})
    assert shown.status_code == 422


def test_the_second_readers_labels_stay_theirs_until_they_finish(second, local):
    case, bob, reading = second
    bob.label(case, [1, 2, 4], "A")
    assert local.cells(case)["columns"]["label"][:4] == ["U", "U", "U", None]
    assert local.get(f"/api/v1/cases/{case}/agreement").status_code == 404
    assert len(local.get(f"/api/v1/cases/{case}/cells/1").json()["labels"]) == 1
    done = bob.post(f"/api/v1/readings/{reading}/finish", json={})
    assert done.json()["state"] == "finished"
    told = local.get(f"/api/v1/cases/{case}/agreement").json()
    assert (told["disagreements"], told["open"], told["cells"]) == ([1, 2], [1, 2], 2)
    assert (told["kappa"], told["reason"]) == (None, "few-cells")
    again = bob.events(case, {"kind": "label", "cells": [5], "value": "A"}, reading=reading)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "finished")
    decided = local.events(case, {"kind": "adjudicate", "cells": [1], "value": "N"})
    assert decided.json()["counts"]["disagreements"] == 1
    assert local.get(f"/api/v1/cases/{case}/agreement").json()["open"] == [2]
    assert local.cells(case)["columns"]["final"][0] == "N"
    assert bob.cells(case)["columns"]["file"][0].startswith("UID_")


def test_what_one_person_labelled_twice_is_intra_observer_agreement(served, local):
    from sklearn.metrics import cohen_kappa_score

    case = served.case(30)
    ann, ben = served.person("ann"), served.person("ben")
    first = ["A"] * 12 + ["N"] * 12
    second = ["A"] * 9 + ["N"] * 3 + ["N"] * 10 + ["A"] * 2

    def give(asking, cells: range, labels: list[str], **more) -> None:
        for value in "AN":
            if of_it := [n for n in cells if labels[n - 1] == value]:
                asking.label(case, of_it, value, **more)

    # The case's own reading: cells 1 to 12 alternate between the two, the rest is ben's.
    give(ann, range(1, 13, 2), first)
    give(ben, range(2, 13, 2), first)
    give(ben, range(13, 25), first)
    with served.bench.database.read() as session:
        number = session.query(User).filter_by(name="ben").one().id
    body = {"person": number, "blind": False}
    reading = local.post(f"/api/v1/cases/{case}/readings", json=body).json()["id"]
    give(ben, range(1, 25), second, reading=reading)
    assert ben.post(f"/api/v1/readings/{reading}/finish", json={}).status_code == 200
    told = local.get(f"/api/v1/cases/{case}/agreement").json()
    assert (told["cells"], told["same"], told["kappa"], told["reason"]) == (6, 5, None, "few-cells")
    oneself = told["intra_observer"]
    cells = [*range(2, 13, 2), *range(13, 25)]
    pairs = [(first[n - 1], second[n - 1]) for n in cells]
    assert (oneself["person"], oneself["cells"], oneself["late"]) == ("ben", 18, 0)
    assert oneself["same"] == sum(one == two for one, two in pairs)
    assert oneself["kappa"] == pytest.approx(cohen_kappa_score(*zip(*pairs, strict=True)))
    assert told["disagreements"] == [10, 11, 12, 23, 24]  # of all, as a signer decides on all
    # Ann labels cells of ben's again: two people are compared there now.
    give(ann, range(13, 25), first)
    told = local.get(f"/api/v1/cases/{case}/agreement").json()
    cells = [*range(1, 13, 2), *range(13, 25)]
    pairs = [(first[n - 1], second[n - 1]) for n in cells]
    assert (told["cells"], told["late"], told["intra_observer"]["cells"]) == (18, 12, 6)
    assert told["kappa"] == pytest.approx(cohen_kappa_score(*zip(*pairs, strict=True)))


def test_who_has_seen_a_case_cannot_read_it_blind(served, local):
    case = served.case(20)
    bob = served.person("bob")
    bob.cells(case)
    with served.bench.database.read() as session:
        number = session.query(User).filter_by(name="bob").one().id
    body = {"person": number, "blind": True}
    answer = local.post(f"/api/v1/cases/{case}/readings", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "has-seen")
    body["blind"] = False
    assert local.post(f"/api/v1/cases/{case}/readings", json=body).status_code == 201


def test_blind_first_hides_until_it_is_revealed(served, local):
    case = served.case(20, blind_first=True)
    ann = served.person("ann")
    ann.label(case, [1], "X")
    told = reads(local, case)
    refuses_to_tell({k: v for k, v in told.items() if "audit" not in k and "system" not in k}, [])
    assert local.cells(case)["columns"]["label"][0] is None  # not hers either
    local.label(case, [2], "A")
    assert local.cells(case)["blind"]
    rev = local.cells(case)["rev"]
    ann.label(case, [5], "A")
    assert len(local.cells(case, since=rev)["columns"]["n"]) == 20  # not only what she touched
    assert local.events(case, {"kind": "reveal"}).status_code == 200
    seen = local.cells(case)
    assert (seen["blind"], seen["columns"]["label"][:2]) == (False, ["X", "A"])
    assert len(seen["columns"]["p"]) == 20
    history = local.get(f"/api/v1/cases/{case}/history").json()["events"]
    assert [one["blind"] for one in history if one["kind"] == "label"] == [True, True, True]
    assert ann.cells(case)["blind"]


def test_labels_given_blind_are_those_that_count(served, local):
    case = served.case(12, blind_first=True)
    ann = served.person("ann")
    ann.label(case, [1, 2, 3], "A")
    ann.label(case, [3], "N")  # instead of the other
    ann.label(case, [4], "X")
    ann.events(case, {"kind": "undo"})
    assert local.events(case, {"kind": "reveal"}).status_code == 200
    local.events(
        case, {"kind": "label", "cells": [5, 6], "value": "A", "shown": {"model": True}},
        {"kind": "label", "cells": [7], "value": "U", "shown": {"model": False}},
    )  # fmt: skip
    local.label(case, [6], None)  # taken away
    ben = served.person("ben")
    with served.bench.database.read() as session:
        number = session.query(User).filter_by(name="ben").one().id
    made = local.post(f"/api/v1/cases/{case}/readings", json={"person": number}).json()["id"]
    ben.label(case, list(range(1, 13)), "N")

    def told() -> tuple[int, int, int]:
        shares = local.get(f"/api/v1/cases/{case}/shares").json()
        with_label = local.get(f"/api/v1/cases/{case}/export").json()["with_label"]
        return shares["blind_labels"], shares["seen_labels"], with_label

    assert told() == (4, 1, 5)  # nothing of an open second reading
    assert ben.post(f"/api/v1/readings/{made}/finish", json={}).status_code == 200
    assert told() == (4, 1, 5)
    decided = {"kind": "adjudicate", "cells": [1, 12], "value": "N", "shown": {"model": True}}
    local.events(case, decided)
    assert told() == (3, 3, 6)
    local.events(case, {"kind": "undo"})
    local.events(case, {"kind": "redo"})
    assert told() == (3, 3, 6)


def test_who_reads_a_second_time_gets_what_the_first_reader_changed(served, local):
    case = served.case(12)
    ben = served.person("ben")
    with served.bench.database.read() as session:
        number = session.query(User).filter_by(name="ben").one().id
    body = {"person": number, "blind": False}
    local.post(f"/api/v1/cases/{case}/readings", json=body)
    seen = ben.cells(case)
    local.label(case, [5], "A")
    later = ben.cells(case, since=seen["rev"], version=seen["version"])["columns"]
    assert dict(zip(later["n"], later["other"], strict=True)) == {5: "A"}
