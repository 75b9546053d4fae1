"""Files that come late never change a random sample, a random reading or a signed case."""

from __future__ import annotations

import pytest

from blastscope.workbench.store.tables import Case, Cell, QueuedJob, Upload, User
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


def test_no_case_is_signed_while_files_wait(served, local):
    case = served.case(12)
    local.label(case, list(range(1, 13)), "A")
    assert put(local, case, "late.png").status_code == 201  # and the page is closed
    told = local.get(f"/api/v1/cases/{case}/sign").json()
    assert (told["can_sign"], [one["code"] for one in told["why_not"]]) == (False, ["files-wait"])
    refused = signed(local, case)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "files-wait")
    with served.bench.database.write() as session:
        session.query(Upload).filter_by(name="late.png").one().state = "refused"
    assert signed(local, case).status_code == 200


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
