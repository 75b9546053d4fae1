"""Cases from creation to signature and back."""

from __future__ import annotations

import pytest

from blastscope.workbench.cases import bump, identifier_warnings
from blastscope.workbench.people import hashed
from blastscope.workbench.shares import clopper_pearson
from blastscope.workbench.store.tables import (
    AuditEntry,
    Case,
    Cell,
    Heatmap,
    QueuedJob,
    Scoring,
    SmearField,
    Upload,
    User,
)
from tests.workbench.filling import fake_model


@pytest.mark.parametrize(
    ("identifier", "codes"),
    [
        ("B-0017", []),
        ("2024/331", []),
        ("case 12", []),
        ("Maria Schmidt", ["looks-like-name"]),
        ("schmidt-3", ["looks-like-name"]),
        ("12.03.1987", ["looks-like-date"]),
        ("B 1987-03-12", ["looks-like-date"]),
        ("19870312", ["looks-like-date"]),
    ],
)
def test_identifiers_that_tell_who_it_is_are_warned_of(identifier, codes):
    assert [one["code"] for one in identifier_warnings(identifier)] == codes


def test_a_case_is_created_once(local):
    body = {"identifier": "B-1", "material": "marrow", "sampling": "all", "blind_first": True}
    made = local.post("/api/v1/cases", json=body)
    assert made.status_code == 201
    told = made.json()
    assert (told["target"], told["state"], told["blind"]) == (500, "receiving", True)
    assert local.post("/api/v1/cases", json={**body, "identifier": "b-1"}).status_code == 409
    assert local.post("/api/v1/cases", json={**body, "identifier": " "}).status_code == 422
    assert local.post("/api/v1/cases", json={**body, "material": "x"}).status_code == 422
    assert local.post(f"/api/v1/cases/{told['id']}/files/done", json={}).status_code == 409
    assert local.get("/api/v1/cases/99").json()["error"]["code"] == "unknown-case"
    assert [one["identifier"] for one in local.get("/api/v1/cases?search=b-").json()["cases"]] == [
        "B-1"
    ]
    assert local.get("/api/v1/cases?search=%25").json()["cases"] == []


def test_what_has_not_changed_is_not_sent_again(served, local):
    case = served.case(20)
    for address in ("/api/v1/cases", f"/api/v1/cases/{case}", f"/api/v1/cases/{case}/cells"):
        first = local.get(address)
        tag = {"If-None-Match": first.headers["etag"]}
        assert local.get(address, headers=tag).status_code == 304
    local.label(case, [1], "A")
    assert local.get(f"/api/v1/cases/{case}/cells", headers=tag).status_code == 200


def test_a_refused_file_is_in_the_counts_at_once(local):
    body = {"identifier": "B-2", "material": "blood", "sampling": "all"}
    case = local.post("/api/v1/cases", json=body).json()["id"]
    before = local.get(f"/api/v1/cases/{case}")
    local.put(f"/api/v1/cases/{case}/files?name=a.png", content=b"no image")
    tag = {"If-None-Match": before.headers["etag"]}
    after = local.get(f"/api/v1/cases/{case}", headers=tag)
    assert (after.status_code, after.json()["progress"]["refused"]) == (200, 1)


def test_counts_filters_and_orders_agree(served, local):
    case = served.case(120)
    local.label(case, [1, 2, 3], "A")
    local.label(case, [4, 5], "N")
    told = local.cells(case)
    columns, counts = told["columns"], told["counts"]
    for name in ("unlabelled", "referred", "ood", "near", "disagrees", "A", "N"):
        found = local.get(f"/api/v1/cases/{case}/cells/find?filter={name}").json()["cells"]
        assert len(found) == counts[name], name
    both = local.get(f"/api/v1/cases/{case}/cells/find?filter=referred,unlabelled&order=needs")
    numbers = both.json()["cells"]
    assert len(numbers) == counts["referred_left"]
    needs = [columns["needs"][n - 1] for n in numbers]
    assert needs == sorted(needs)
    by_p = local.get(f"/api/v1/cases/{case}/cells/find?order=-p").json()["cells"]
    p = [columns["p"][n - 1] for n in by_p]
    assert p == sorted(p, reverse=True)
    differs = [
        n
        for n, label, called in zip(columns["n"], columns["label"], columns["called"], strict=True)
        if label and called and label != called
    ]
    assert counts["disagrees"] == len(differs)
    assert sorted(columns["random"]) == list(range(1, 121))


def test_filters_and_counts_go_by_what_a_signer_decided(served, local):
    case = served.case(12)
    local.label(case, list(range(1, 12)), "A")
    reader = served.person("rita")
    with served.bench.database.read() as session:
        rita = session.query(User).filter_by(name="rita").one().id
    made = local.post(f"/api/v1/cases/{case}/readings", json={"person": rita}).json()["id"]
    reader.label(case, [1, 2, 3], "N")
    assert reader.post(f"/api/v1/readings/{made}/finish").status_code == 200
    decided = local.events(
        case,
        {"kind": "adjudicate", "cells": [1], "value": "N"},
        {"kind": "adjudicate", "cells": [2], "value": "U"},
        {"kind": "adjudicate", "cells": [12], "value": "X"},  # it had no label
    ).json()

    def found(filter: str, **more: int) -> list[int]:
        asked = {"filter": filter, **more}
        return local.get(f"/api/v1/cases/{case}/cells/find", params=asked).json()["cells"]

    assert {name: found(name) for name in "ANUX"} == {
        "A": list(range(3, 12)), "N": [1], "U": [2], "X": [12]
    }  # fmt: skip
    assert (found("unlabelled"), found("disagreements")) == ([], [3])
    cells = local.cells(case)
    called = cells["columns"]["called"]
    label = ["N", "U", *["A"] * 9, "X"]
    differ = [
        n for n in range(1, 13)
        if label[n - 1] in "AN" and called[n - 1] and label[n - 1] != called[n - 1]
    ]  # fmt: skip
    assert found("disagrees") == differ
    wanted = {"A": 9, "N": 1, "U": 1, "X": 1, "unlabelled": 0, "disagrees": len(differ)}
    for counts in (
        decided["counts"], cells["counts"], local.get(f"/api/v1/cases/{case}").json()["counts"],
        local.get(f"/api/v1/cases/{case}/cells/find").json()["counts"],
    ):  # fmt: skip
        assert {name: counts[name] for name in wanted} == wanted
    # Each reading keeps its own labels.
    assert cells["columns"]["label"] == ["A"] * 11 + [None]
    assert cells["columns"]["final"] == ["N", "U", *[None] * 9, "X"]
    assert found("N", reading=made) == [1, 2, 3]


def signed(local, case: int, **more):
    state = local.get(f"/api/v1/cases/{case}/sign").json()
    names = ("unlabelled_referred", "unsure", "open_disagreements")
    seen = {name: len(state[name]) for name in names}
    return local.post(
        f"/api/v1/cases/{case}/sign", json={"rev": state["rev"], "seen": seen, **more}
    )


def test_sampled_signed_reopened(served, local):
    case = served.case(150)
    assert local.post(f"/api/v1/cases/{case}/sample", json={"size": 50}).status_code == 422
    told = local.post(f"/api/v1/cases/{case}/sample", json={"size": 100}).json()
    assert told["sample"] == {"size": 100, "left": 100, "unusable": 0, "enlarged": []}
    columns = local.cells(case)["columns"]
    sample = [n for n, inside in zip(columns["n"], columns["in_sample"], strict=True) if inside]
    assert [columns["random"][n - 1] <= 100 for n in columns["n"]] == columns["in_sample"]
    local.label(case, sample[:30], "A")
    local.label(case, sample[30:98], "N")
    lines = local.get(f"/api/v1/cases/{case}/shares").json()["lines"]
    assert (lines[2]["share"], lines[2]["reason"], lines[2]["left"]) == (
        None, "sample-incomplete", 2,
    )  # fmt: skip
    local.label(case, sample[98:], "U")
    counted = local.get(f"/api/v1/cases/{case}/shares").json()["lines"][2]
    assert (counted["blasts"], counted["of"], counted["basis"]) == (30, 98, "sample")
    assert (counted["low"], counted["high"]) == clopper_pearson(30, 98)
    assert local.post(f"/api/v1/cases/{case}/sample", json={"size": 200}).status_code == 409

    state = local.get(f"/api/v1/cases/{case}/sign").json()
    assert state["can_sign"]
    assert state["unsure"] == sorted(sample[98:])
    stale = {"rev": state["rev"] - 1, "seen": {}}
    assert local.post(f"/api/v1/cases/{case}/sign", json=stale).status_code == 409
    made = signed(local, case, comment="seen")
    assert made.status_code == 200, made.text
    assert made.json()["counts"]["A"] == 30
    assert made.json()["lines"][2]["share"] == 30 / 98
    assert local.get(f"/api/v1/cases/{case}").json()["state"] == "signed"
    event = {"kind": "label", "cells": [1], "value": "X"}
    assert local.events(case, event).json()["error"]["code"] == "signed"
    assert local.put(f"/api/v1/cases/{case}/files?name=a.png", content=b"x").status_code == 409
    assert local.post(f"/api/v1/cases/{case}/reopen", json={"reason": "x"}).status_code == 422
    again = local.post(f"/api/v1/cases/{case}/reopen", json={"reason": "wrong slide"})
    assert again.json()["state"] == "reopened"
    assert local.events(case, event).status_code == 200
    history = local.get(f"/api/v1/cases/{case}/sign").json()["signatures"]
    assert history[0]["reopened"]["reason"] == "wrong slide"
    assert signed(local, case).status_code == 200


def test_who_has_a_password_signs_with_it(served):
    sue = served.person("sue", "signer")
    with served.bench.database.write() as session:
        session.query(User).filter_by(name="sue").one().password = hashed("my own password")
    case = served.case(20)
    sue.label(case, [1], "A")
    assert signed(sue, case, password="another word").status_code == 401
    assert signed(sue, case).status_code == 401
    assert signed(sue, case, password="my own password").status_code == 200
    rita = served.person("rita", "reader")
    reopened = rita.post(f"/api/v1/cases/{case}/reopen", json={"reason": "because"})
    assert reopened.status_code == 403


def test_a_case_of_several_subjects_has_a_line_for_each(served, local):
    case = served.case(60, subjects=3)
    local.label(case, list(range(1, 61)), "N")
    told = local.get(f"/api/v1/cases/{case}/shares").json()
    # Cells of several subjects have no share together, in no line and in no list.
    assert {(one["share"], one["reason"]) for one in told["lines"]} == {(None, "several-subjects")}
    (listed,) = local.get("/api/v1/cases").json()["cases"]
    assert (listed["share"]["share"], listed["share"]["reason"]) == (None, "several-subjects")
    assert [one["subject"] for one in told["subjects"]] == ["S1", "S2", "S3"]
    for one in told["subjects"]:
        assert one["lines"][2]["share"] == 0
        assert one["lines"][2]["high"] == clopper_pearson(0, 20)[1]
    assert told["agreement"]["cells"] == sum(told["agreement"]["table"]["counts"][1])


def test_backups_hold_the_database_and_the_images(served, local):
    import sqlite3

    from blastscope.workbench.worker import Worker

    case = served.case(10)
    local.label(case, [1, 2], "A")
    job = local.post("/api/v1/backup").json()
    bench = served.bench
    assert Worker(bench.database, bench.images, bench.settings.folder).once()
    assert local.get(f"/api/v1/jobs/{job['id']}").json()["state"] == "done"
    (made,) = bench.settings.backups.iterdir()
    with sqlite3.connect(made / "workbench.sqlite") as copy:
        assert copy.execute("SELECT count(*) FROM review_event").fetchone() == (2,)
        shas = {sha for (sha,) in copy.execute("SELECT sha FROM cell")}
        # Else whoever restores it would have it made again.
        assert copy.execute("SELECT kind, state FROM job").fetchall() == [("backup", "done")]
    kept = {path.name for path in (made / "images").rglob("*") if path.is_file()}
    assert len(shas) == 10
    assert shas <= kept


def test_a_cell_in_detail_and_its_heatmaps_state(served, local, monkeypatch):
    case = served.case(20)
    local.label(case, [3], "A")
    local.events(case, {"kind": "undo"})
    told = local.get(f"/api/v1/cases/{case}/cells/3").json()
    columns = local.cells(case)["columns"]
    for name in ("p", "called", "refer", "ood", "ood_score", "confidence", "file", "subject"):
        assert told[name] == columns[name][2], name
    assert told["networks"] == [{"name": "net", "p": told["p"]}]
    assert [one["kind"] for one in told["history"]] == ["label", "undo"]
    assert told["preparation"]["box"] == [10, 10, 40, 40]
    assert local.get(f"/api/v1/cases/{case}/cells/21").status_code == 404
    address = f"/api/v1/cases/{case}/cells/3/heatmaps"
    monkeypatch.setattr("blastscope.workbench.routes.detail.reason_against", lambda: None)
    monkeypatch.setattr("blastscope.workbench.heatmaps.reason_against", lambda: None)
    assert local.post(address, json={"method": "magic"}).status_code == 422
    asked = local.post(address, json={"method": "grad-cam"})
    assert (asked.status_code, asked.json()["state"]) == (202, "waiting")
    again = local.post(address, json={"method": "grad-cam"})
    assert again.json()["id"] == asked.json()["id"]
    states = {one["method"]: one["state"] for one in told["heatmaps"]}
    assert set(states.values()) <= {"none", "not-applicable"}
    told = local.get(f"/api/v1/cases/{case}/cells/3").json()
    assert told["heatmaps"][0]["state"] == "waiting"
    job = asked.json()["id"]
    assert local.delete(f"/api/v1/jobs/{job}").json()["state"] == "cancelled"
    assert local.get(address + "/grad-cam.png").status_code == 404
    similar = local.get(f"/api/v1/cases/{case}/cells/3/similar").json()
    assert (similar["state"], similar["nearest"]) == ("none", [])


def test_an_image_that_a_browser_keeps_is_asked_for_again(served, local):
    case = served.case(10)
    with served.bench.database.write() as session:
        model = session.get_one(Case, case).model_id
        one, two = (cell.sha for cell in session.query(Cell).filter_by(case_id=case).limit(2))
        session.add(Heatmap(model_id=model, sha=one, method="grad-cam", image=two))
        upload = session.query(Upload).first().id
        session.add(
            SmearField(
                case_id=case, number=1, upload_id=upload, file="f.png", width=9, height=9,
                um_per_pixel=0.1, image=one, refused=[],
            )
        )  # fmt: skip
    images = ["cells/1/crop.png", "cells/1/original.png", "cells/1/heatmaps/grad-cam.png"]
    for name in (*images, "fields/1.webp"):
        address = f"/api/v1/cases/{case}/{name}"
        first = local.get(address)
        tag = {"If-None-Match": first.headers["etag"]}
        assert "no-cache" in first.headers["cache-control"]
        assert local.get(address, headers=tag).status_code == 304
        # Another workbench at this address, or a restored backup, has other cells of these numbers.
        with served.bench.database.write() as session:
            session.query(Cell).filter_by(case_id=case, n=1).one().sha = two
            session.query(SmearField).one().image = two
            session.query(Heatmap).one().sha, session.query(Heatmap).one().image = two, one
            bump(session.get_one(Case, case))
        other = local.get(address, headers=tag)
        assert other.status_code == 200
        assert other.content != first.content
        with served.bench.database.write() as session:
            session.query(Cell).filter_by(case_id=case, n=1).one().sha = one
            session.query(SmearField).one().image = one
            session.query(Heatmap).one().sha, session.query(Heatmap).one().image = one, two
            bump(session.get_one(Case, case))


def test_another_model_takes_over_from_one_that_failed(served, local):
    case = served.case(20)
    with served.bench.database.write() as session:
        first, other = session.get_one(Case, case).model_id, fake_model(session, "other").id
    address = f"/api/v1/cases/{case}/score"
    assert local.post(address, json={"model": other}).json()["state"] == "scoring"
    assert local.post(address, json={"model": first}).status_code == 409  # it is waited for
    for state in ("failed", "cancelled"):
        with served.bench.database.write() as session:
            session.query(QueuedJob).order_by(QueuedJob.id.desc()).first().state = state
        answer = local.post(address, json={"model": first})
        assert (answer.status_code, answer.json()["model"]["id"]) == (200, first), state


def test_an_image_that_cannot_be_used_is_of_no_subject_to_count(served, local):
    case = served.case(20)
    row = {
        "subject": "S1", "cells": 20, "called": 0.5, "share": 0.5, "low": 0.3, "high": 0.7,
        "line": "open",
    }  # fmt: skip
    with served.bench.database.write() as session:
        found = session.get_one(Case, case)
        session.get_one(Scoring, found.scoring_id).subjects = [row]
        session.add(
            Cell(case_id=case, n=21, sha="0", file="UID_7_1.png", name="UID_7_1", subject="S7",
                 prepared=True, problem="is damaged", about={})
        )  # fmt: skip
        bump(found)
    told = local.get(f"/api/v1/cases/{case}/shares").json()
    assert (told["lines"][0]["share"], told["subjects"]) == (0.5, [])


def test_the_audit_tells_the_latest(served, local):
    with served.bench.database.write() as session:
        session.add_all(AuditEntry(what="made up", about={"k": k}) for k in range(1100))
    entries = local.get("/api/v1/audit").json()["entries"]
    assert [one["about"]["k"] for one in entries] == list(range(100, 1100))
    later = local.get("/api/v1/audit", params={"after": entries[-3]["id"]}).json()["entries"]
    assert [one["about"]["k"] for one in later] == [1098, 1099]
