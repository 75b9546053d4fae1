"""A case whose work stopped for good: people are told what to do, and go on."""

from __future__ import annotations

import pytest

from blastscope.workbench import supervisor
from blastscope.workbench.cases import bump
from blastscope.workbench.jobs import MOST_ATTEMPTS, add_job, finish, release_all, take_job
from blastscope.workbench.store.tables import Case, Cell, QueuedJob, Score, User
from tests.workbench.test_late_files import sign_without


def half_scored(served, cells: int = 14, kind: str = "score") -> int:
    """A case of which three cells have no score."""
    case = served.case(cells)
    with served.bench.database.write() as session:
        found = session.get_one(Case, case)
        for score in session.query(Score).order_by(Score.cell_id.desc()).limit(3):
            session.delete(score)
        found.state = "scoring" if kind == "score" else "preparing"
        add_job(session, kind, case)
        bump(found)
    return case


def stop(served, how: str) -> None:
    """Let the case's job fail, or end its process at every try."""
    with served.bench.database.write() as session:
        job = session.query(QueuedJob).one()
        if how == "fails":
            take_job(session)
            finish(session, job.id, "the bundle cannot be opened")
            return
        for _ in range(MOST_ATTEMPTS + 1):
            take_job(session)
            release_all(session)
        assert job.state == "failed"


@pytest.mark.parametrize(
    ("how", "why"), [("fails", "the bundle cannot be opened"), ("dies", "it ended its process")]
)
def test_people_go_on_where_the_scoring_stopped(served, local, how, why):
    case = half_scored(served)
    stop(served, how)
    for told in (
        local.get(f"/api/v1/cases/{case}").json(), local.get("/api/v1/cases").json()["cases"][0],
    ):  # fmt: skip
        stopped = told["progress"]["stopped"]
        assert stopped.startswith(f"The work on this case stopped: {why}")
        assert "Try again, or label the cells" in stopped
        assert "sign the case without the rest" in stopped
    local.label(case, list(range(1, 15)), "A")  # those without a score too
    bob = served.person("bob")
    with served.bench.database.read() as session:
        number = session.query(User).filter_by(name="bob").one().id
    made = local.post(f"/api/v1/cases/{case}/readings", json={"person": number})
    assert made.status_code == 201, made.text
    assert bob.get(f"/api/v1/cases/{case}").json()["progress"]["stopped"] is not None
    bob.label(case, list(range(1, 15)), "A")
    assert bob.post(f"/api/v1/readings/{made.json()['id']}/finish").status_code == 200
    assert sign_without(local, case).json()["error"]["code"] == "files-wait"
    signed = sign_without(local, case, unscored=3)
    assert signed.json()["without"] == "3 cells are not scored"
    assert local.get(f"/api/v1/cases/{case}").json()["progress"]["stopped"] is None
    report = local.get(f"/api/v1/cases/{case}/export/report.html")
    assert "3 cells are not scored" in report.text


def test_a_stopped_worker_is_told_of_on_the_case_and_its_work_can_be_cancelled(
    served, local, monkeypatch
):
    case = half_scored(served)
    monkeypatch.setattr(supervisor.Supervisor, "running", True)
    first = local.get(f"/api/v1/cases/{case}")
    assert first.json()["progress"]["stopped"] is None
    monkeypatch.setattr(supervisor.Supervisor, "running", False)
    again = local.get(f"/api/v1/cases/{case}", headers={"If-None-Match": first.headers["etag"]})
    told = again.json()["progress"]
    assert told["stopped"].startswith("The worker has stopped")
    assert "cancel its work" in told["stopped"]
    local.label(case, list(range(1, 15)), "A")
    refused = sign_without(local, case, unscored=3).json()["error"]
    assert (refused["code"], refused["message"].endswith("or cancel its work.")) == (
        "not-ready", True,
    )  # fmt: skip
    assert local.delete(f"/api/v1/jobs/{told['job']['id']}").status_code == 200
    told = local.get(f"/api/v1/cases/{case}").json()["progress"]
    assert told["stopped"].startswith("The work on this case was cancelled. Try again, or label")
    assert sign_without(local, case, unscored=3).status_code == 200


def test_nobody_is_told_to_wait_for_what_has_stopped(served, local):
    case = half_scored(served, 120, "prepare")
    asked = {"sample": {"size": 100}, "score": {"model": 1}}
    for address, body in asked.items():
        refused = local.post(f"/api/v1/cases/{case}/{address}", json=body).json()["error"]
        assert (refused["code"], "wait" in refused["message"]) == ("not-ready", True)
    stop(served, "fails")
    for address, body in asked.items():
        refused = local.post(f"/api/v1/cases/{case}/{address}", json=body).json()["error"]
        assert (refused["code"], "try it again" in refused["message"]) == ("not-ready", True)


def test_a_case_of_which_no_cell_can_be_used_says_so(served, local):
    case = half_scored(served, 12, "prepare")
    with served.bench.database.write() as session:
        session.query(Cell).update({"problem": "is truncated"})
        bump(session.get_one(Case, case))
    stop(served, "fails")
    told = local.get(f"/api/v1/cases/{case}").json()["progress"]
    assert told["stopped"].endswith("No cell can be labelled yet: try again, or add other files.")
