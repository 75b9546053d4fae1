"""Files that come late never change a random sample, a random reading or a signed case."""

from __future__ import annotations

import io
import zipfile
from datetime import timedelta

import polars as pl
import pytest

from blastscope.workbench.cases import bump
from blastscope.workbench.jobs import add_job, finish
from blastscope.workbench.preparation import prepare
from blastscope.workbench.store.tables import Case, Cell, QueuedJob, Score, Upload, User, now
from tests.workbench.filling import _picture
from tests.workbench.test_cases import signed


def put(asking, case: int, name: str):
    content = _picture(7000 + len(name), 0.3)
    return asking.put(f"/api/v1/cases/{case}/files", params={"name": name}, content=content)


def done(asking, case: int):
    return asking.post(f"/api/v1/cases/{case}/files/done", json={})


def ranks(served, case: int) -> dict[int, int | None]:
    with served.bench.database.read() as session:
        return {one.n: one.random for one in session.query(Cell).filter_by(case_id=case)}


def draw(asking, served, case: int, what: str):
    """Draw a sample, or give a random part to a second reader."""
    if what == "sample":
        return asking.post(f"/api/v1/cases/{case}/sample", json={"size": 100})
    served.person("bob")
    with served.bench.database.read() as session:
        number = session.query(User).filter_by(name="bob").one().id
    body = {"person": number, "scope": "random", "size": 20}
    return asking.post(f"/api/v1/cases/{case}/readings", json=body)


@pytest.mark.parametrize("what", ["sample", "reading"])
def test_no_sample_is_drawn_while_files_wait(served, local, what):
    case = served.case(120)
    assert put(local, case, "late.png").status_code == 201
    before = ranks(served, case)
    refused = draw(local, served, case, what)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "files-wait")
    with served.bench.database.write() as session:
        session.query(Upload).filter_by(name="late.png").one().state = "refused"
    assert draw(local, served, case, what).is_success
    assert ranks(served, case) == before


def test_no_case_is_signed_without_a_word_while_files_wait(served, local):
    case = served.case(12)
    local.label(case, list(range(1, 13)), "A")
    assert put(local, case, "late.png").status_code == 201  # and the page is closed
    told = local.get(f"/api/v1/cases/{case}/sign").json()
    assert (told["can_sign"], told["why_not"], told["files_waiting"]) == (True, [], 1)
    refused = signed(local, case)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "files-wait")
    with served.bench.database.write() as session:
        session.query(Upload).filter_by(name="late.png").one().state = "refused"
    made = signed(local, case)
    assert made.status_code == 200
    assert (made.json()["without"], made.json()["counts"]["files_waiting"]) == ("", 0)


def sign_without(asking, case: int, **without: int):
    """Sign, and confirm what is left out."""
    state = asking.get(f"/api/v1/cases/{case}/sign").json()
    names = ("unlabelled_referred", "unsure", "open_disagreements")
    seen = {name: len(state[name]) for name in names} | without
    return asking.post(f"/api/v1/cases/{case}/sign", json={"rev": state["rev"], "seen": seen})


def test_a_case_is_signed_without_files_by_whoever_says_how_many(served, local):
    case = served.case(12)
    local.label(case, list(range(1, 13)), "A")
    for name in ("late.png", "later.png"):
        assert put(local, case, name).status_code == 201
    refused = sign_without(local, case, files_waiting=1)  # a second one came meanwhile
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "changed")
    made = sign_without(local, case, files_waiting=2)
    assert made.status_code == 200, made.text
    assert made.json()["counts"]["files_waiting"] == 2
    assert made.json()["without"] == "2 files that were sent are not prepared"
    (event,) = local.get(f"/api/v1/cases/{case}/history?kind=signed").json()["events"]
    assert event["value"]["files_waiting"] == 2
    report = local.get(f"/api/v1/cases/{case}/export/report.html").text
    assert report.count("2 files that were sent are not prepared") == 2  # above, and signed so
    # Reopened, they can still be prepared, and are signed with then.
    local.post(f"/api/v1/cases/{case}/reopen", json={"reason": "they are wanted"})
    assert done(local, case).json()["state"] == "preparing"


def test_a_case_whose_job_is_under_way_is_not_signed_and_one_whose_job_stopped_is(served, local):
    case = served.case(12)
    local.label(case, list(range(1, 13)), "A")
    assert put(local, case, "late.png").status_code == 201
    assert done(local, case).status_code == 200

    def set_job(**values) -> None:
        with served.bench.database.write() as session:
            job = session.query(QueuedJob).filter_by(case_id=case, kind="prepare").one()
            for name, value in values.items():
                setattr(job, name, value)

    later = now() + timedelta(seconds=40)
    for under_way in (
        {"state": "waiting"},
        {"state": "running", "leased_until": later},
        {"state": "cancelled"},  # its worker is at its last step
    ):
        set_job(**under_way)
        refused = sign_without(local, case, files_waiting=1)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "not-ready")
    with served.bench.database.write() as session:
        finish(session, session.query(QueuedJob).filter_by(case_id=case).one().id)
    assert signed(local, case).json()["error"]["code"] == "files-wait"
    assert sign_without(local, case, files_waiting=1).status_code == 200
    # A worker that had come past its last step before it was told leaves the case signed.
    with served.bench.database.write() as session:
        session.query(Upload).filter_by(name="late.png").one().state = "refused"
    prepare(served.bench.database, served.bench.images, case, lambda *_: True)
    with served.bench.database.read() as session:
        assert session.get_one(Case, case).state == "signed"
        assert session.query(QueuedJob).filter_by(kind="score").count() == 0


def test_cells_without_a_score_are_left_out_by_number_too(served, local):
    case = served.case(12)
    local.label(case, list(range(1, 13)), "A")
    with served.bench.database.write() as session:
        found = session.get_one(Case, case)
        for score in session.query(Score).order_by(Score.cell_id.desc()).limit(3):
            session.delete(score)
        session.query(Cell).filter_by(case_id=case, n=1).one().prepared = False
        found.state = "scoring"
        add_job(session, "score", case).state = "failed"
        bump(found)
    told = local.get(f"/api/v1/cases/{case}/sign").json()
    assert [told[name] for name in ("files_waiting", "unprepared", "unscored")] == [0, 1, 3]
    assert told["without"] == "1 cell is not prepared and 3 cells are not scored"
    assert sign_without(local, case, unscored=3).json()["error"]["code"] == "files-wait"
    made = sign_without(local, case, unscored=3, unprepared=1).json()
    assert (made["counts"]["unscored"], made["counts"]["unprepared"]) == (3, 1)


@pytest.mark.parametrize(
    ("what", "code"), [("sample", "sample-drawn"), ("reading", "random-reading")]
)
def test_cells_that_come_late_do_not_change_a_sample(served, local, what, code):
    case = served.case(120)
    before = ranks(served, case)
    assert draw(local, served, case, what).is_success
    late = put(local, case, "late.png")
    assert (late.status_code, late.json()["error"]["code"]) == (409, code)
    with served.bench.database.write() as session:  # a file of before, by an older version
        session.add(
            Upload(
                case_id=case, name="old.png", kind="image", sha="0" * 64, bytes=1, state="stored"
            )
        )
    refused = done(local, case)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, code)
    with served.bench.database.read() as session:
        assert session.get_one(Case, case).state == "review"
        assert session.query(QueuedJob).count() == 0
    assert ranks(served, case) == before
    if what == "sample":  # and it can still grow
        with served.bench.database.write() as session:
            session.get_one(Case, case).sample_size = 50
        assert draw(local, served, case, what).json()["sample"]["size"] == 100


FILES = ("cells.csv", "cells.parquet", "report.html", "dataset.zip")


def exported(asking, case: int) -> set[tuple[int, str | None]]:
    """Return how all exports of a case are answered."""
    answers = [asking.get(f"/api/v1/cases/{case}/export/{name}") for name in FILES]
    return {(one.status_code, None if one.is_success else one.json()["error"]["code"])
            for one in answers}  # fmt: skip


def test_a_partial_export_is_refused_until_the_case_is_complete_or_signed_so(served, local):
    case = served.case(12)
    local.label(case, list(range(1, 13)), "A")
    partial, whole = {(409, "not-complete")}, {(200, None)}

    def told() -> tuple[bool, bool, int, int]:
        found = local.get(f"/api/v1/cases/{case}/export").json()
        counts = found["files_waiting"], found["unscored"]
        return found["complete"], found["why_not"] is None, *counts

    assert (told(), exported(local, case)) == ((True, True, 0, 0), whole)
    assert put(local, case, "late.png").status_code == 201
    assert (told(), exported(local, case)) == ((False, False, 1, 0), partial)
    assert done(local, case).status_code == 200  # its job waits
    assert (told(), exported(local, case)) == ((False, False, 1, 0), partial)
    prepare(served.bench.database, served.bench.images, case, lambda *_: True)
    with served.bench.database.write() as session:
        session.query(QueuedJob).filter_by(case_id=case, kind="prepare").one().state = "done"
    assert (told(), exported(local, case)) == ((False, False, 0, 1), partial)
    with served.bench.database.write() as session:
        session.query(QueuedJob).filter_by(case_id=case, kind="score").one().state = "failed"
    refused = local.get(f"/api/v1/cases/{case}/export/cells.csv").json()["error"]["message"]
    assert "1 cell is not scored" in refused
    kinds = [one["kind"] for one in local.get(f"/api/v1/cases/{case}/history").json()["events"]]
    assert kinds.count("exported") == len(FILES)  # those that were refused are not in it
    made = sign_without(local, case, unscored=1)
    assert made.status_code == 200, made.text
    assert (told(), exported(local, case)) == ((False, True, 0, 1), whole)
    address = f"/api/v1/cases/{case}/export/"
    frame = pl.read_csv(local.get(address + "cells.csv").content)
    assert (len(frame), frame["case_complete"].to_list()) == (13, [False] * 13)
    parquet = io.BytesIO(local.get(address + "cells.parquet").content)
    assert pl.read_parquet(parquet)["case_complete"].to_list() == [False] * 13
    assert "1 cell is not scored" in local.get(address + "report.html").text
    with zipfile.ZipFile(io.BytesIO(local.get(address + "dataset.zip").content)) as archive:
        assert "1 cell is not scored" in archive.read("README.txt").decode()


def test_a_case_without_cells_is_not_exported(local):
    body = {"identifier": "B-1", "material": "blood", "sampling": "all"}
    case = local.post("/api/v1/cases", json=body).json()["id"]
    assert exported(local, case) == {(409, "not-complete")}
