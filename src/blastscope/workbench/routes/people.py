"""People, tokens, jobs, the worker, backups and the audit: what an admin sees."""

from __future__ import annotations

import platform
import shutil
from importlib.metadata import version
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from blastscope import __version__
from blastscope.workbench import jobs
from blastscope.workbench.access import access
from blastscope.workbench.cases import names_of
from blastscope.workbench.context import Workbench
from blastscope.workbench.people import (
    MOST_PASSWORD,
    Who,
    add_person,
    add_token,
    audit,
    change_person,
    revoke_token,
)
from blastscope.workbench.routes import answers
from blastscope.workbench.routes.answers import gives
from blastscope.workbench.routes.dependencies import Admin, Bench, Reader, Viewer
from blastscope.workbench.store.tables import ApiToken, AuditEntry, QueuedJob, User, now

router = APIRouter(prefix="/api/v1")
Role = Literal["viewer", "reader", "signer", "admin"]
_MOST_AUDIT = 1000


class NewUser(BaseModel, extra="forbid"):
    """A person to add."""

    name: str = Field(max_length=80)
    password: str = Field(max_length=MOST_PASSWORD)
    role: Role


class ChangedUser(BaseModel, extra="forbid"):
    """What changes of a person."""

    role: Role | None = None
    active: bool | None = None
    password: str | None = Field(None, max_length=MOST_PASSWORD)


class NewToken(BaseModel, extra="forbid"):
    """A token to make."""

    name: str = Field(max_length=80)
    days: int = Field(90, ge=1, le=366)


def _person(bench: Workbench, person: User) -> dict[str, Any]:
    until = bench.passwords.locked_until(person.name)
    return {
        "id": person.id,
        "name": person.name,
        "role": person.role,
        "active": person.active,
        "has_password": person.password is not None,
        "locked_until": None if until is None else until.isoformat(),
    }


@router.get("/people", **gives(answers.MembersJson))
def get_people(bench: Bench, who: Viewer) -> dict[str, Any]:
    """List the people; who is not an admin gets the names of those who are active."""
    with bench.database.read() as session:
        people = session.scalars(select(User).order_by(User.name)).all()
    if who.may("admin"):
        return {"people": [_person(bench, one) for one in people]}
    return {
        "people": [
            {"id": one.id, "name": one.name, "role": one.role} for one in people if one.active
        ]
    }


@router.post("/people", status_code=201, **gives(answers.MemberJson, 201))
def post_person(bench: Bench, who: Admin, body: NewUser) -> dict[str, Any]:
    """Add a person."""
    with bench.database.write() as session:
        return _person(bench, add_person(session, who, body.name, body.password, body.role))


@router.patch("/people/{person_id}", **gives(answers.MemberJson))
def patch_person(bench: Bench, who: Admin, person_id: int, body: ChangedUser) -> dict[str, Any]:
    """Change a person; that signs them out everywhere."""
    with bench.database.write() as session:
        changed = change_person(session, who, person_id, body.role, body.active, body.password)
        return _person(bench, changed)


@router.get("/tokens", **gives(answers.TokensJson))
def get_tokens(bench: Bench, who: Reader) -> dict[str, Any]:
    """List one's tokens; an admin gets everybody's."""
    with bench.database.read() as session:
        names = names_of(session)
        query = select(ApiToken).where(ApiToken.revoked_at.is_(None), ApiToken.expires_at > now())
        if not who.may("admin"):
            query = query.where(ApiToken.person_id == who.id)
        return {
            "tokens": [
                {
                    "id": one.id,
                    "name": one.name,
                    "person": names.get(one.person_id),
                    "created_at": one.created_at.isoformat(),
                    "expires_at": one.expires_at.isoformat(),
                }
                for one in session.scalars(query.order_by(ApiToken.id))
            ]
        }


@router.post("/tokens", status_code=201, **gives(answers.MadeTokenJson, 201))
def post_token(bench: Bench, who: Reader, body: NewToken) -> dict[str, Any]:
    """Make a token for scripts; it is shown this once."""
    with bench.database.write() as session:
        token, secret = add_token(session, who, body.name, body.days)
        return {"id": token.id, "token": secret, "expires_at": token.expires_at.isoformat()}


@router.delete("/tokens/{token_id}", status_code=204)
def delete_token(bench: Bench, who: Reader, token_id: int) -> Response:
    """End a token."""
    with bench.database.write() as session:
        revoke_token(session, who, token_id)
    return Response(status_code=204)


def _job(session: Session, job: QueuedJob, who: Who) -> dict[str, Any]:
    blind = job.case_id is not None and access(session, job.case_id, who).blind
    return jobs.job_json(session, job, blind)


@router.get("/jobs/{job_id}", **gives(answers.JobJson))
def get_job(bench: Bench, who: Viewer, job_id: int) -> dict[str, Any]:
    """Return a job."""
    with bench.database.read() as session:
        return _job(session, jobs.find_job(session, job_id), who)


@router.delete("/jobs/{job_id}", **gives(answers.JobJson))
def delete_job(bench: Bench, who: Reader, job_id: int) -> dict[str, Any]:
    """Cancel a job."""
    with bench.database.write() as session:
        return _job(session, jobs.cancel(session, job_id, who), who)


@router.post("/jobs/{job_id}/again", **gives(answers.JobJson))
def post_job_again(bench: Bench, who: Reader, job_id: int) -> dict[str, Any]:
    """Begin a failed or cancelled job again."""
    with bench.database.write() as session:
        return _job(session, jobs.again(session, job_id, who), who)


@router.post("/worker/restart", **gives(answers.WorkerJson))
def post_restart(bench: Bench, who: Reader) -> dict[str, Any]:
    """Start the worker, if it has stopped."""
    bench.worker.restart()
    with bench.database.write() as session:
        audit(session, who, "worker-restarted", {})
    return bench.worker.as_json()


@router.get("/system", **gives(answers.SystemJson))
def get_system(bench: Bench, who: Admin) -> dict[str, Any]:
    """Return versions, disk, jobs and the worker."""
    with bench.database.read() as session:
        recent = session.scalars(select(QueuedJob).order_by(QueuedJob.id.desc()).limit(50)).all()
        told = [_job(session, job, who) for job in recent]
    names = ("fastapi", "starlette", "sqlalchemy", "uvicorn", "onnxruntime", "pillow")
    return {
        "version": __version__,
        "folder": str(bench.settings.folder),
        "database": bench.database.told,
        "reference": None if bench.reference is None else str(bench.reference.store.path),
        "disk": {
            "images": bench.images.bytes(),
            "free": shutil.disk_usage(bench.settings.folder).free,
        },
        "jobs": told,
        "worker": bench.worker.as_json(),
        "versions": {"python": platform.python_version(), **{n: version(n) for n in names}},
    }


@router.post("/backup", status_code=202, **gives(answers.JobJson, 202))
def post_backup(bench: Bench, who: Admin) -> dict[str, Any]:
    """Have a backup of the database and the images made, in the workbench's folder."""
    with bench.database.write() as session:
        audit(session, who, "backup", {})
        return _job(session, jobs.add_job(session, "backup"), who)


@router.get("/audit", **gives(answers.AuditJson))
def get_audit(bench: Bench, who: Admin, after: int | None = None) -> dict[str, Any]:
    """Return who did what to people, tokens, jobs and backups: the latest, or what came after."""
    with bench.database.read() as session:
        names = names_of(session)
        query = select(AuditEntry).limit(_MOST_AUDIT)
        if after is None:
            latest = session.scalars(query.order_by(AuditEntry.id.desc()))
            rows = sorted(latest, key=lambda one: one.id)
        else:
            query = query.where(AuditEntry.id > after)
            rows = list(session.scalars(query.order_by(AuditEntry.id)))
        return {
            "entries": [
                {
                    "id": one.id,
                    "at": one.at.isoformat(),
                    "person": None if one.person_id is None else names.get(one.person_id),
                    "what": one.what,
                    "about": one.about,
                }
                for one in rows
            ]
        }
