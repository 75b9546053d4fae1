"""Sign a case, with what stands open in sight, and reopen it with a reason."""

from __future__ import annotations

from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from blastscope.workbench.access import Access
from blastscope.workbench.cases import bump, names_of
from blastscope.workbench.cell_table import CellTable
from blastscope.workbench.context import Workbench
from blastscope.workbench.jobs import not_ready, work_stopped
from blastscope.workbench.models import find_model, model_json
from blastscope.workbench.people import Who
from blastscope.workbench.random_order import refuse_early
from blastscope.workbench.refusal import conflict, invalid
from blastscope.workbench.reviews import CODES, last_event, record
from blastscope.workbench.shares import neither
from blastscope.workbench.store.tables import Case, Reading, Reopening, Signature
from blastscope.workbench.summaries import Reviewed, case_lines, reviewed
from blastscope.workbench.to_come import counted, to_come

SIZES = (100, 200, 500)
"""The sizes of a random sample."""
LEAST_REASON = 5
WHY_NOT = {
    "not-ready": "The case is still being prepared or scored: wait, or cancel its work.",
    "no-labels": "No cell has a label.",
    "open-reading": "A second reading is not finished.",
    "signed": "The case is signed already.",
}


def draw_sample(session: Session, found: Access, table: CellTable, size: int, who: Who) -> None:
    """Take the first cells of the random order as the sample; it can grow, and that is said.

    Raises:
        RefusalError: if the size is none of ``SIZES``, is smaller than before or more than all
            cells, the case's cells were chosen by somebody, or files are not prepared yet.
    """
    case = found.case
    found.refuse_signed()
    if size not in SIZES:
        raise invalid("size", f"Choose one of {', '.join(map(str, SIZES))}.")
    if case.sampling == "selected":
        raise conflict("selected", "The cells were chosen, so no sample of them means anything.")
    usable = int((table.usable & (table.random > 0)).sum())
    if not usable or case.state in ("receiving", "preparing"):
        raise not_ready(session, case)
    refuse_early(session, case)
    if size > usable:
        raise conflict("too-few", f"The case has {usable:,} usable cells: label them all instead.")
    if case.sample_size is not None and size < case.sample_size:
        raise conflict("smaller", f"The sample has {case.sample_size} cells: it can only grow.")
    if size == case.sample_size:
        return
    record(session, case.id, who, "sample", {"size": size, "before": case.sample_size})
    case.sample_size = size
    bump(case)


def sign_json(bench: Workbench, session: Session, case: Case, who: Who) -> dict[str, Any]:
    """Return what a person must see before they sign."""
    table = bench.tables.of(session, case)
    together = reviewed(bench, session, case, table)
    why_not = _why_not(session, case, table, together)
    missing = to_come(session, case, table)
    return {
        "rev": last_event(session, case.id),
        "can_sign": not why_not and who.may("signer"),
        "why_not": [{"code": code, "message": WHY_NOT[code]} for code in why_not],
        **_open(table, together),
        **missing.as_json(),
        "without": str(missing),
        "model": model_json(find_model(session, case.model_id)),
        "password_needed": who.has_password,
        "signatures": signatures(session, case.id),
    }


def _open(table: CellTable, together: Reviewed) -> dict[str, Any]:
    label, usable = together.label, table.usable

    def numbers(mask: np.ndarray) -> list[int]:
        found: list[int] = (np.flatnonzero(mask) + 1).tolist()
        return found

    return {
        "unlabelled_referred": numbers(usable & (label == 0) & table.refer),
        "unsure": numbers(usable & (label == CODES["U"])),
        "open_disagreements": sorted(together.open),
        "unlabelled": int((usable & (label == 0)).sum()),
        "neither": neither(table, label, usable),
    }


def _why_not(session: Session, case: Case, table: CellTable, together: Reviewed) -> list[str]:
    found = []
    if case.state == "signed":
        found.append("signed")
    elif case.state not in ("review", "reopened") and not work_stopped(session, case):
        found.append("not-ready")
    if not (table.usable & (together.label > 0)).any():
        found.append("no-labels")
    open_ = select(Reading.id).where(
        Reading.case_id == case.id, Reading.number > 1, Reading.finished_at.is_(None)
    )
    if session.scalar(open_.limit(1)) is not None:
        found.append("open-reading")
    return found


def sign(
    bench: Workbench,
    session: Session,
    case: Case,
    who: Who,
    rev: int,
    seen: dict[str, int],
    comment: str,
) -> Signature:
    """Sign a case.

    Files that are not prepared may wait for ever, if their job fails whenever it begins. So a case
    can be signed without them, and without cells that are not prepared or scored, but only by
    whoever says how many there are; the signature keeps the counts.

    Args:
        rev: the last event that the person saw.
        seen: how many unlabelled referred cells, unsure cells and open disagreements they saw, and
            the counts of ``ToCome`` if something is left out.

    Raises:
        RefusalError: if the case cannot be signed, has changed since the person looked, or they
            did not confirm what is left out.
    """
    table = bench.tables.of(session, case)
    together = reviewed(bench, session, case, table)
    why_not = _why_not(session, case, table, together)
    if why_not:
        raise conflict(why_not[0], f"The case cannot be signed: {WHY_NOT[why_not[0]]}")
    missing = to_come(session, case, table)
    if any(count and name not in seen for name, count in missing.as_json().items()):
        raise conflict(
            "files-wait",
            f"{missing}: wait until this is done, or confirm that you sign without it.",
        )
    open_ = _open(table, together)
    counted = {name: len(value) for name, value in open_.items() if isinstance(value, list)}
    left_out = missing.as_json()
    seen = dict.fromkeys(left_out, 0) | seen
    counted |= left_out
    if rev != last_event(session, case.id) or any(seen.get(k) != n for k, n in counted.items()):
        raise conflict("changed", "The case has changed since you looked: look again, then sign.")
    whole, subjects = case_lines(session, case, table, together.label)
    model = find_model(session, case.model_id)
    labels = {name: int((table.usable & (together.label == CODES[name])).sum()) for name in "ANUX"}
    content = {
        "model": model.name,
        "digest": model.digest,
        "scoring": case.scoring_id,
        "counts": {
            "cells": int(table.usable.sum()), "unlabelled": open_["unlabelled"],
            "neither": open_["neither"],
            "counted_already": int(table.counted_already(together.label).sum()),
            **labels, **counted,
        },
        "lines": [line.as_json() for line in whole],
        "subjects": {name: [one.as_json() for one in found] for name, found in subjects.items()},
    }  # fmt: skip
    row = Signature(
        case_id=case.id, person_id=who.id, rev=rev, content=content, comment=comment[:2000]
    )
    session.add(row)
    session.flush()
    about = {"signature": row.id, "rev": rev, **{k: n for k, n in left_out.items() if n}}
    record(session, case.id, who, "signed", about)
    case.state = "signed"
    bump(case)
    return row


def reopen(session: Session, case: Case, who: Who, reason: str) -> None:
    """Open a signed case again.

    Raises:
        RefusalError: if the case is not signed, or no reason is given.
    """
    reason = reason.strip()
    if case.state != "signed":
        raise conflict("not-signed", "The case is not signed, so it needs no reopening.")
    if not LEAST_REASON <= len(reason) <= 2000:
        raise invalid("reason", f"Give a reason of {LEAST_REASON} to 2,000 characters.")
    last = select(Signature).where(Signature.case_id == case.id).order_by(Signature.id.desc())
    signature = session.scalars(last.limit(1)).one()
    session.add(Reopening(signature_id=signature.id, person_id=who.id, reason=reason))
    record(session, case.id, who, "reopened", {"signature": signature.id, "reason": reason})
    case.state = "reopened"
    bump(case)


def signatures(session: Session, case_id: int) -> list[dict[str, Any]]:
    """Return the signatures of a case, the last first, with their reopenings."""
    names = names_of(session)
    rows = session.execute(
        select(Signature, Reopening)
        .outerjoin(Reopening, Reopening.signature_id == Signature.id)
        .where(Signature.case_id == case_id)
        .order_by(Signature.id.desc())
    )
    return [
        {
            "id": one.id,
            "person": names.get(one.person_id),
            "at": one.at.isoformat(),
            "rev": one.rev,
            **one.content,
            "without": str(counted(one.content["counts"])),
            "comment": one.comment,
            "reopened": None
            if again is None
            else {
                "person": names.get(again.person_id),
                "at": again.at.isoformat(),
                "reason": again.reason,
            },
        }
        for one, again in rows
    ]
