"""Second readings: a person reads all or a random part of a case again, blind."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from blastscope.workbench.access import Access, has_seen
from blastscope.workbench.agreement import agreement_json, confusion
from blastscope.workbench.cases import bump, names_of
from blastscope.workbench.cell_table import CellTable
from blastscope.workbench.context import Workbench
from blastscope.workbench.jobs import not_ready, work_stopped
from blastscope.workbench.people import Who
from blastscope.workbench.random_order import refuse_early
from blastscope.workbench.refusal import RefusalError, conflict, invalid, unknown
from blastscope.workbench.review_state import Standing
from blastscope.workbench.reviews import record
from blastscope.workbench.store.tables import Case, Reading, ReviewEvent, User, now
from blastscope.workbench.summaries import readings_of, reviewed


def start_reading(
    session: Session,
    found: Access,
    table: CellTable,
    who: Who,
    person_id: int,
    scope: str,
    size: int | None,
    blind: bool,
) -> Reading:
    """Give a case to a second reader.

    Raises:
        RefusalError: if the person may not read, has a reading open, or should read blind and has
            seen the case; if the size of a random part does not do, or files are not prepared yet.
    """
    found.refuse_signed()
    case = found.case
    person = session.get(User, person_id)
    if person is None or not person.active or person.role == "viewer":
        raise unknown("reader", person_id)
    if case.state not in ("review", "reopened") and not work_stopped(session, case):
        raise not_ready(session, case)
    for reading in readings_of(session, case.id)[1:]:
        if reading.finished_at is None:
            raise conflict("open-reading", "A second reading of this case is open: finish it.")
    if blind and has_seen(session, case.id, person_id):
        raise conflict(
            "has-seen",
            f"{person.name} has seen the model's output, labels or files of this case: choose "
            "another reader, or a reading that is not blind.",
        )
    if scope not in ("all", "random"):
        raise invalid("scope", "Choose all or random.")
    if scope == "random":
        refuse_early(session, case)
    usable = int((table.usable & (table.random > 0)).sum())
    if scope == "random" and not 1 <= (size or 0) <= usable:
        raise invalid("size", f"Give a number of cells from 1 to {usable:,}.")
    last = session.scalar(select(func.max(Reading.number)).where(Reading.case_id == case.id))
    reading = Reading(
        case_id=case.id, number=(last or 1) + 1, person_id=person_id, blind=blind, scope=scope,
        size=size if scope == "random" else None,
    )  # fmt: skip
    session.add(reading)
    session.flush()
    about = {"reading": reading.number, "person": person.name, "scope": scope, "size": size}
    record(session, case.id, who, "reading-started", {**about, "blind": blind})
    bump(case)
    return reading


def finish_reading(session: Session, reading_id: int, who: Who) -> Reading:
    """End a second reading; its reader is not blind from here, and its labels stay as they are.

    Raises:
        RefusalError: if there is none of this number, it is finished, or it is another person's.
    """
    reading = session.get(Reading, reading_id)
    if reading is None or reading.number == 1:
        raise unknown("reading", reading_id)
    if reading.finished_at is not None:
        raise conflict("finished", "This reading is finished already.")
    if reading.person_id != who.id and not who.may("signer"):
        raise RefusalError(403, "not-allowed", "This is another person's reading: ask a signer.")
    reading.finished_at = now()
    record(session, reading.case_id, who, "reading-finished", {"reading": reading.number})
    bump(session.get_one(Case, reading.case_id))
    return reading


def agreement_of(
    bench: Workbench, session: Session, case: Case, table: CellTable
) -> dict[str, Any] | None:
    """Return how the last finished second reading agrees with the case's own; None without one.

    Agreement needs two people. Cells that one person labelled in both readings tell how far that
    person agrees with themselves, which is another thing: they are compared apart, as
    ``intra_observer``, which is None if there are none.

    ``open`` are the cells on which any finished second reading differs and nobody has decided;
    ``late`` counts the compared cells that got their label in the case's own reading when the
    other one was finished and in sight.
    """
    first, *others = readings_of(session, case.id)
    finished = [reading for reading in others if reading.finished_at is not None]
    if not finished:
        return None
    second = finished[-1]
    own, given = _labels(bench, session, first, len(table))
    other, theirs = _labels(bench, session, second, len(table))
    end = _end_of(session, second)
    both = table.usable & (own > 0) & (other > 0)
    late = both & np.array([one is not None and one.seq > end for one in given], bool)
    oneself = both & np.array(
        [
            one is not None and two is not None and one.person == two.person
            for one, two in zip(given, theirs, strict=True)
        ],
        bool,
    )

    def compared(here: NDArray[np.bool_]) -> dict[str, Any]:
        table = confusion(own[here], other[here])
        return {**agreement_json(table), "late": int((late & here).sum())}

    person = names_of(session).get(second.person_id or 0)
    return {
        "reading": second.id,
        "number": second.number,
        **compared(both & ~oneself),
        "intra_observer": {"person": person, **compared(oneself)} if oneself.any() else None,
        "disagreements": (np.flatnonzero(both & (own != other)) + 1).tolist(),
        "open": sorted(reviewed(bench, session, case, table).open),
    }


def _labels(
    bench: Workbench, session: Session, reading: Reading, cells: int
) -> tuple[NDArray[np.int8], list[Standing | None]]:
    """Return the labels of a reading, shape (cells,), and who gave each and when."""
    with bench.reviews.view(session, reading.id, cells) as view:
        stands = [view.state.standing("label", n) for n in range(1, cells + 1)]
        return view.label[:cells].copy(), stands


def _end_of(session: Session, reading: Reading) -> int:
    """Return the event by which a reading was finished."""
    ends = session.scalars(
        select(ReviewEvent).where(
            ReviewEvent.case_id == reading.case_id, ReviewEvent.kind == "reading-finished"
        )
    )
    return max(one.seq for one in ends if one.value["of"]["reading"] == reading.number)
