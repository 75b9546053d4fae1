"""Jobs for the worker: a table with leases, so that a killed worker's job is taken up again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, case, or_, select, update
from sqlalchemy.orm import Session

from blastscope.workbench.access import access, find_case, without_names
from blastscope.workbench.people import Who, audit
from blastscope.workbench.random_order import cells_wait, refuse_late
from blastscope.workbench.refusal import RefusalError, conflict, unknown
from blastscope.workbench.store.tables import Case, QueuedJob, now

LEASE_SECONDS = 60
MOST_ATTEMPTS = 3
"""How often a job that ends its process is begun again."""
UNFINISHED = ("waiting", "running")
TO_REVIEW = ("demo", "segment", "prepare", "score")
"""The kinds of jobs that bring a case to its review."""
ADD_CELLS = ("demo", "segment", "prepare")
"""Those that may give a case more cells."""


class JobCancelledError(Exception):
    """Raised within a job that shall not go on."""


def add_job(
    session: Session, kind: str, case_id: int | None = None, about: dict[str, Any] | None = None
) -> QueuedJob:
    """Add a job; one that waits already for the same is returned instead."""
    about = about or {}
    same = session.scalars(
        select(QueuedJob).where(
            QueuedJob.kind == kind, QueuedJob.case_id == case_id, QueuedJob.state.in_(UNFINISHED)
        )
    )
    for job in same:
        if job.about == about and job.state == "waiting":
            return job
    job = QueuedJob(kind=kind, case_id=case_id, about=about)
    session.add(job)
    session.flush()
    return job


_URGENCY = case(
    (QueuedJob.kind == "heatmap", 0),
    (QueuedJob.kind == "similar", 2),
    (QueuedJob.kind == "backup", 2),
    (QueuedJob.kind == "reference", 3),
    else_=1,
)
"""Heatmaps first, because somebody waits; similar and reference cells if nothing else is to do."""


def _free() -> ColumnElement[bool]:
    lapsed = (QueuedJob.state == "running") & (QueuedJob.leased_until < now())
    return or_(QueuedJob.state == "waiting", lapsed)


def any_free(session: Session) -> bool:
    """Say whether there is a job that nobody is at."""
    return session.scalar(select(QueuedJob.id).where(_free()).limit(1)) is not None


def take_job(session: Session) -> QueuedJob | None:
    """Take the oldest job that nobody is at; heatmaps go first, because somebody waits."""
    first = select(QueuedJob).where(_free()).order_by(_URGENCY, QueuedJob.id).limit(1)
    job = session.scalar(first.with_for_update(skip_locked=True))
    if job is None:
        return None
    job.attempts += 1
    if job.attempts > MOST_ATTEMPTS:
        job.state, job.finished_at = "failed", now()
        job.reason = f"it ended its process {MOST_ATTEMPTS} times: see the server's messages"
        return None
    job.state = "running"
    job.started_at = job.done_before = None
    job.leased_until = now() + timedelta(seconds=LEASE_SECONDS)
    return job


def release_all(session: Session) -> None:
    """Give free the jobs of a worker that has ended; only its starter may say so."""
    session.execute(update(QueuedJob).where(QueuedJob.state == "running").values(leased_until=None))
    session.execute(
        update(QueuedJob)
        .where(QueuedJob.state == "running", QueuedJob.leased_until.is_(None))
        .values(state="waiting")
    )


def progress(session: Session, job_id: int, done: int, total: int | None) -> bool:
    """Record how far a job is and renew its lease; return whether it shall go on."""
    job = session.get(QueuedJob, job_id)
    if job is None or job.state != "running":
        return False
    if job.done_before is None:  # what an earlier worker did tells nothing of this one's speed
        job.started_at, job.done_before = now(), done
    job.done, job.total = done, total
    job.attempts = 1  # it gets on
    job.leased_until = now() + timedelta(seconds=LEASE_SECONDS)
    return True


def seconds_left(job: QueuedJob | None) -> float | None:
    """Return how long a job still takes, by what its present worker has done of it.

    None while that is not known: the job does not run, or has not got on since it was begun, or
    begun again.
    """
    if job is None or job.state != "running" or job.total is None or job.started_at is None:
        return None
    done = job.done - (job.done_before or 0)
    if done <= 0:
        return None
    return (now() - job.started_at).total_seconds() / done * (job.total - job.done)


def step_back(session: Session, job_id: int) -> bool:
    """Let a running job wait if another one does; return whether it waits now."""
    others = select(QueuedJob.id).where(QueuedJob.state == "waiting", QueuedJob.id != job_id)
    job = session.get(QueuedJob, job_id)
    if job is None or job.state != "running" or session.scalar(others.limit(1)) is None:
        return False
    job.state, job.leased_until = "waiting", None
    return True


def finish(session: Session, job_id: int, reason: str | None = None) -> None:
    """End a job: done, or failed for a reason; one that was cancelled or waits again stays so."""
    job = session.get(QueuedJob, job_id)
    if job is not None and job.state == "cancelled":
        job.leased_until = None
    if job is None or job.state in ("cancelled", "waiting"):
        return
    job.state, job.reason = ("done", None) if reason is None else ("failed", reason)
    job.finished_at, job.leased_until = now(), None


def find_job(session: Session, job_id: int) -> QueuedJob:
    """Return a job.

    Raises:
        RefusalError: if there is none of this number.
    """
    job = session.get(QueuedJob, job_id)
    if job is None:
        raise unknown("job", job_id)
    return job


def cancel(session: Session, job_id: int, who: Who) -> QueuedJob:
    """Cancel a job that is not done.

    Raises:
        RefusalError: if the person may not, or the job's case is signed.
    """
    job = _to_change(session, job_id, who)
    if job.state in UNFINISHED:
        job.state, job.finished_at = "cancelled", now()
        _audit(session, who, "job-cancelled", job)
    return job


def again(session: Session, job_id: int, who: Who) -> QueuedJob:
    """Begin a failed or cancelled job again.

    Raises:
        RefusalError: if it is neither, the person may not, the job's case is signed, or cells would
            join a case whose random order is in use.
    """
    job = _to_change(session, job_id, who)
    if job.state not in ("failed", "cancelled"):
        raise conflict("not-failed", "The job has not failed: wait until it is done.")
    if job.case_id is not None and job.kind in ADD_CELLS and cells_wait(session, job.case_id):
        refuse_late(session, find_case(session, job.case_id))
    job.state, job.reason, job.attempts, job.finished_at = "waiting", None, 0, None
    _audit(session, who, "job-again", job)
    return job


def _to_change(session: Session, job_id: int, who: Who) -> QueuedJob:
    """Return a job that a person may cancel or begin again."""
    job = find_job(session, job_id)
    if job.case_id is None and not who.may("admin"):
        raise RefusalError(403, "not-allowed", f"Job {job.id} is not of a case: ask an admin.")
    if job.case_id is not None and job.kind in TO_REVIEW:
        access(session, job.case_id, who).refuse_signed()
    return job


def _audit(session: Session, who: Who, what: str, job: QueuedJob) -> None:
    audit(session, who, what, {"job": job.id, "kind": job.kind, "case": job.case_id})


def job_json(session: Session, job: QueuedJob, blind: bool) -> dict[str, Any]:
    """Return what a page shows of a job; a blind reader gets no names of files."""
    reason = job.reason
    if blind and job.case_id is not None:
        reason = without_names(session, job.case_id, reason)
    return {
        "id": job.id, "kind": job.kind, "state": job.state, "done": job.done, "total": job.total,
        "reason": reason, "case": job.case_id,
    }  # fmt: skip


def of_case(session: Session, case_id: int) -> QueuedJob | None:
    """Return the job of a case that a person should know of: under way or waiting, else failed."""
    found = session.scalars(
        select(QueuedJob)
        .where(
            QueuedJob.case_id == case_id,
            QueuedJob.kind.in_(TO_REVIEW),
        )
        .order_by(QueuedJob.id.desc())
    ).all()
    for states in (("running",), ("waiting",)):
        for job in found:
            if job.state in states:
                return job
    return found[0] if found and found[0].state in ("failed", "cancelled") else None


def work_stopped(session: Session, case: Case) -> bool:
    """Say whether what brings a case to its review has failed or was cancelled.

    A cancelled job may still be at its last step: it has not stopped before its worker lets it go.
    """
    job = of_case(session, case.id)
    if case.state not in ("preparing", "scoring") or job is None:
        return False
    let_go = job.leased_until is None or job.leased_until < now()
    return job.state in ("failed", "cancelled") and let_go


def why_stopped(session: Session, case: Case, worker_runs: bool, any_cell: bool) -> str | None:
    """Say that a case does not come to its review by itself, why, and what to do; None if it does.

    Args:
        any_cell: whether it has a cell that can be labelled.
    """
    job = of_case(session, case.id)
    if case.state not in ("preparing", "scoring") or job is None:
        return None
    if job.state in UNFINISHED:
        if worker_runs:
            return None
        meanwhile = " Its cells can be labelled meanwhile." if any_cell else ""
        return (
            "The worker has stopped, so this case waits: start the worker again. To sign the case "
            f"as it is, cancel its work first.{meanwhile}"
        )
    was = "was cancelled" if job.state == "cancelled" else f"stopped: {job.reason}"
    then = (
        "Try again, or label the cells that can be seen and sign the case without the rest."
        if any_cell
        else "No cell can be labelled yet: try again, or add other files."
    )
    return f"The work on this case {was}. {then}"


def not_ready(session: Session, case: Case) -> RefusalError:
    """Return the refusal of what needs a case that is prepared."""
    if work_stopped(session, case):
        told = "The work on this case stopped: open the case and try it again first."
    else:
        told = "The case is still being prepared: wait until it is done."
    return conflict("not-ready", told)


def scoring_stopped(session: Session, case: Case) -> bool:
    """Say whether the scoring of a case failed or was cancelled: another model may take over."""
    job = of_case(session, case.id)
    return case.state == "scoring" and job is not None and job.state in ("failed", "cancelled")
