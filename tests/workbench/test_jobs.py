"""Who may cancel jobs and begin them again, and what that never changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from blastscope.workbench import jobs, worker
from blastscope.workbench.jobs import add_job, finish, progress, release_all, take_job
from blastscope.workbench.store.tables import AuditEntry, Case, Cell, QueuedJob, Upload
from blastscope.workbench.worker import Worker
from tests.workbench.test_cases import signed


def stopped_job(served, case: int | None, kind: str, state: str = "cancelled") -> int:
    """A job that was stopped, and a file of its case that it has not come to."""
    with served.bench.database.write() as session:
        job = add_job(session, kind, case)
        job.state = state
        if case is not None:
            session.add(
                Upload(
                    case_id=case, name="late.png", kind="image", sha="0" * 64, bytes=1,
                    state="stored",
                )
            )  # fmt: skip
        return job.id


def state_of(served, job: int) -> str:
    with served.bench.database.read() as session:
        return session.get_one(QueuedJob, job).state


def audited(served) -> list[tuple[str, dict]]:
    with served.bench.database.read() as session:
        rows = session.query(AuditEntry).order_by(AuditEntry.id)
        return [(one.what, one.about) for one in rows if one.what.startswith("job-")]


def work(served) -> bool:
    bench = served.bench
    return Worker(bench.database, bench.images, bench.settings.folder).once()


@pytest.mark.parametrize("kind", ["demo", "segment", "prepare", "score"])
def test_a_signed_case_stays_as_it_was_signed(served, local, kind):
    case = served.case(20)
    local.label(case, [1], "A")
    assert signed(local, case).status_code == 200
    job = stopped_job(served, case, kind)
    for answer in (local.post(f"/api/v1/jobs/{job}/again"), local.delete(f"/api/v1/jobs/{job}")):
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "signed")
    assert not work(served)
    with served.bench.database.read() as session:
        assert session.get_one(Case, case).state == "signed"
        assert session.query(Cell).count() == 20
    local.post(f"/api/v1/cases/{case}/reopen", json={"reason": "wrong slide"})
    assert local.post(f"/api/v1/jobs/{job}/again").json()["state"] == "waiting"


def test_a_job_that_begins_again_adds_no_cells_to_a_sampled_case(served, local):
    case = served.case(120)
    assert local.post(f"/api/v1/cases/{case}/sample", json={"size": 100}).is_success
    job = stopped_job(served, case, "prepare", "failed")
    answer = local.post(f"/api/v1/jobs/{job}/again")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "sample-drawn")
    assert state_of(served, job) == "failed"


def test_only_an_admin_stops_what_belongs_to_no_case(served, local):
    rita = served.person("rita", "signer")
    job = local.post("/api/v1/backup").json()["id"]
    assert rita.delete(f"/api/v1/jobs/{job}").status_code == 403
    assert state_of(served, job) == "waiting"
    assert local.delete(f"/api/v1/jobs/{job}").json()["state"] == "cancelled"
    assert rita.post(f"/api/v1/jobs/{job}/again").status_code == 403
    assert local.post(f"/api/v1/jobs/{job}/again").json()["state"] == "waiting"
    about = {"job": job, "kind": "backup", "case": None}
    assert audited(served) == [("job-cancelled", about), ("job-again", about)]


def test_a_reader_stops_a_job_of_a_case_and_that_is_audited_once(served):
    case = served.case(10)
    rita = served.person("rita", "reader")
    with served.bench.database.write() as session:
        job = add_job(session, "similar", case).id
    for _ in range(2):
        assert rita.delete(f"/api/v1/jobs/{job}").json()["state"] == "cancelled"
    assert audited(served) == [("job-cancelled", {"job": job, "kind": "similar", "case": case})]


@pytest.mark.parametrize("after", [1, 2])
def test_a_cancelled_backup_stops_and_leaves_nothing(served, local, monkeypatch, after):
    served.case(3)
    job = local.post("/api/v1/backup").json()["id"]
    calls = []
    real = worker.progress

    def progress(session, number, done, total):
        calls.append(done)
        if len(calls) == after:
            session.get_one(QueuedJob, number).state = "cancelled"
        return real(session, number, done, total)

    monkeypatch.setattr(worker, "progress", progress)
    assert work(served)
    assert len(calls) == after
    assert state_of(served, job) == "cancelled"
    folder = served.bench.settings.backups
    assert not folder.exists() or not [one for one in folder.iterdir() if one.is_dir()]


def test_a_cancelled_demo_gives_its_case_no_cells(served, local, monkeypatch):
    case = local.post("/api/v1/demo").json()["id"]
    monkeypatch.setattr("blastscope.workbench.worker.progress", lambda *_: False)
    assert work(served)
    with served.bench.database.read() as session:
        assert session.query(Upload).filter_by(case_id=case).count() == 0
        assert session.query(QueuedJob).count() == 1


def test_the_time_left_is_of_what_was_done_since_the_job_was_begun_again(
    served, local, monkeypatch
):
    time = [datetime(2026, 1, 2, tzinfo=UTC)]
    monkeypatch.setattr(jobs, "now", lambda: time[0])
    case = served.case(20)

    def write(do):
        with served.bench.database.write() as session:
            return do(session)

    def after(seconds: float, done: int) -> float | None:
        time[0] += timedelta(seconds=seconds)
        assert write(lambda session: progress(session, job, done, 1000))
        return local.get(f"/api/v1/cases/{case}").json()["progress"]["seconds_left"]

    job = write(lambda session: add_job(session, "score", case).id)
    write(take_job)
    assert after(30, 100) is None  # the model was opened meanwhile: one step tells no speed
    assert after(10, 200) == pytest.approx(80)  # 800 left, 10 a second
    assert after(10, 250) == pytest.approx(750 * 20 / 150)
    # The server is down for a day; its next worker goes on with what is left, at 5 a second.
    write(release_all)
    assert local.get(f"/api/v1/cases/{case}").json()["progress"]["seconds_left"] is None
    time[0] += timedelta(days=1)
    write(take_job)
    assert after(0, 300) is None
    assert after(20, 400) == pytest.approx(120)
    # It fails, and somebody begins it again the day after.
    write(lambda session: finish(session, job, "the disk is full"))
    time[0] += timedelta(days=1)
    assert local.post(f"/api/v1/jobs/{job}/again").status_code == 200
    write(take_job)
    assert after(5, 400) is None
    assert after(10, 500) == pytest.approx(50)
    # Another begins from the first cell.
    write(lambda session: finish(session, job, "the disk is full"))
    assert local.post(f"/api/v1/jobs/{job}/again").status_code == 200
    write(take_job)
    assert after(5, 100) is None
    assert after(10, 200) == pytest.approx(80)
