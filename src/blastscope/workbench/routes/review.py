"""Random sample, shares, signature and second readings of a case."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from blastscope.workbench.access import access
from blastscope.workbench.cases import names_of
from blastscope.workbench.people import MOST_PASSWORD
from blastscope.workbench.refusal import RefusalError
from blastscope.workbench.routes import answers, review_answers
from blastscope.workbench.routes.answers import gives
from blastscope.workbench.routes.cases import told
from blastscope.workbench.routes.dependencies import Bench, Reader, Signer, Viewer, address_of
from blastscope.workbench.second_reading import agreement_of, finish_reading, start_reading
from blastscope.workbench.sighting import saw
from blastscope.workbench.signing import draw_sample, reopen, sign, sign_json, signatures
from blastscope.workbench.store.tables import Case
from blastscope.workbench.summaries import reading_json, shares_json

router = APIRouter(prefix="/api/v1")


class SampleBody(BaseModel, extra="forbid"):
    """The size of a random sample."""

    size: int


class SignBody(BaseModel, extra="forbid"):
    """A signature, with what the person saw."""

    rev: int
    password: str | None = Field(None, max_length=MOST_PASSWORD)
    seen: dict[str, int]
    comment: str = Field("", max_length=2000)


class ReopenBody(BaseModel, extra="forbid"):
    """Why a signed case is opened again."""

    reason: str = Field(max_length=2000)


class ReadingBody(BaseModel, extra="forbid"):
    """A second reading to start."""

    person: int
    scope: Literal["all", "random"] = "all"
    size: int | None = None
    blind: bool = True


@router.post("/cases/{case_id}/sample", **gives(answers.CaseJson))
def post_sample(bench: Bench, who: Reader, case_id: int, body: SampleBody) -> dict[str, Any]:
    """Draw a random sample, or make it larger."""
    with bench.database.write() as session:
        found = access(session, case_id, who)
        draw_sample(session, found, bench.tables.of(session, found.case), body.size, who)
    with bench.database.read() as session:
        return told(bench, session, case_id, who)


@router.get("/cases/{case_id}/shares", **gives(review_answers.SharesJson))
def get_shares(bench: Bench, who: Viewer, case_id: int) -> dict[str, Any]:
    """Return the shares of blasts and the agreement with the model."""
    with bench.database.read() as session:
        found = access(session, case_id, who)
        found.refuse_blind()
        saw(bench.database, session, found.case, who)
        return shares_json(bench, session, found.case)


@router.get("/cases/{case_id}/sign", **gives(review_answers.ToSignJson))
def get_sign(bench: Bench, who: Viewer, case_id: int) -> dict[str, Any]:
    """Return what a person must see before they sign."""
    with bench.database.read() as session:
        found = access(session, case_id, who)
        found.refuse_blind()
        saw(bench.database, session, found.case, who)
        return sign_json(bench, session, found.case, who)


@router.post("/cases/{case_id}/sign", **gives(review_answers.SignatureJson))
def post_sign(
    bench: Bench, who: Signer, case_id: int, body: SignBody, request: Request
) -> dict[str, Any]:
    """Sign a case; who has a password gives it again."""
    if who.has_password:
        address = address_of(request, bench.settings)
        with bench.database.read() as session:
            bench.passwords.check(session, who.name, body.password or "", address)
    with bench.database.write() as session:
        found = access(session, case_id, who)
        found.refuse_blind()
        sign(bench, session, found.case, who, body.rev, body.seen, body.comment)
    with bench.database.read() as session:
        return signatures(session, case_id)[0]


@router.post("/cases/{case_id}/reopen", **gives(answers.CaseJson))
def post_reopen(bench: Bench, who: Signer, case_id: int, body: ReopenBody) -> dict[str, Any]:
    """Open a signed case again, with a reason."""
    with bench.database.write() as session:
        reopen(session, access(session, case_id, who).case, who, body.reason)
    with bench.database.read() as session:
        return told(bench, session, case_id, who)


@router.post("/cases/{case_id}/readings", status_code=201, **gives(answers.ReadingJson, 201))
def post_reading(bench: Bench, who: Signer, case_id: int, body: ReadingBody) -> dict[str, Any]:
    """Give a case to a second reader."""
    with bench.database.write() as session:
        found = access(session, case_id, who)
        found.refuse_blind()
        table = bench.tables.of(session, found.case)
        reading = start_reading(
            session, found, table, who, body.person, body.scope, body.size, body.blind
        )
    with bench.database.read() as session:
        names = names_of(session)
        return reading_json(bench, session, found.case, table, reading, names)


@router.post("/readings/{reading_id}/finish", **gives(answers.ReadingJson))
def post_finish(bench: Bench, who: Reader, reading_id: int) -> dict[str, Any]:
    """End one's second reading."""
    with bench.database.write() as session:
        reading = finish_reading(session, reading_id, who)
    with bench.database.read() as session:
        case = session.get_one(Case, reading.case_id)
        table = bench.tables.of(session, case)
        return reading_json(bench, session, case, table, reading, names_of(session))


@router.get("/cases/{case_id}/agreement", **gives(review_answers.ReadersAgreementJson))
def get_agreement(bench: Bench, who: Viewer, case_id: int) -> dict[str, Any]:
    """Return how the last finished second reading agrees with the case's own.

    What one person labelled in both readings is compared apart.
    """
    with bench.database.read() as session:
        found = access(session, case_id, who)
        found.refuse_blind()
        saw(bench.database, session, found.case, who)
        table = bench.tables.of(session, found.case)
        told = agreement_of(bench, session, found.case, table)
    if told is None:
        raise RefusalError(404, "unknown-reading", "No second reading of this case is finished.")
    return told
