"""What a person may see of a case: which reading is theirs, and whether they read it blind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from blastscope.workbench.people import Who
from blastscope.workbench.refusal import RefusalError, conflict, unknown
from blastscope.workbench.store.tables import Case, Reading, ReviewEvent, Sighting, Upload

_READINGS = (
    select(Reading).where(Reading.case_id == bindparam("case")).order_by(Reading.number)
)  # fmt: skip


@dataclass(frozen=True)
class Access:
    """A case, the reading that a person works in, whether it is blind, and all readings."""

    case: Case
    reading: Reading
    blind: bool
    readings: Sequence[Reading] = ()

    def scope(self, random: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which cells the reading is about, by their ranks in the random order."""
        if self.reading.scope == "random":
            found: NDArray[np.bool_] = (random >= 1) & (random <= (self.reading.size or 0))
            return found
        return np.ones(len(random), bool)

    def refuse_blind(self) -> None:
        """Refuse what a blind reader may not have.

        Raises:
            RefusalError: if the reading is blind.
        """
        if self.blind:
            raise RefusalError(
                403, "blind", "You read this case blind: finish your reading to see this."
            )

    def refuse_signed(self) -> None:
        """Refuse a change of a signed case.

        Raises:
            RefusalError: if the case is signed.
        """
        if self.case.state == "signed":
            raise conflict("signed", "The case is signed: reopen it, with a reason, to change it.")


def find_case(session: Session, case_id: int) -> Case:
    """Return a case.

    Raises:
        RefusalError: if there is none of this number.
    """
    case = session.get(Case, case_id)
    if case is None:
        raise unknown("case", case_id)
    return case


def access(session: Session, case_id: int, who: Who, reading_id: int | None = None) -> Access:
    """Return a case as a person may see it.

    A person with an open blind reading of the case is blind in all of it. In a case that is read
    blind first, everybody is blind until they reveal the model's output. Whoever is blind sees
    their own reading only; an open second reading is seen by its reader only.

    Args:
        reading_id: the reading to see; by default the person's own open one, else the case's.

    Raises:
        RefusalError: if there is no such case or reading, or a blind reader may not see it.
    """
    case = find_case(session, case_id)
    readings = session.scalars(_READINGS, {"case": case_id}).all()
    own = next((r for r in readings if r.person_id == who.id and r.finished_at is None), None)
    chosen = own or readings[0]
    if own is not None:
        blind = own.blind
    else:
        blind = case.blind_first and not has_revealed(session, case_id, who)
    if reading_id is not None and reading_id != chosen.id:
        chosen = _other(readings, reading_id, who, blind)
    return Access(case, chosen, blind, readings)


def _other(readings: Sequence[Reading], reading_id: int, who: Who, blind: bool) -> Reading:
    """Return a reading that is not the one a person works in, if they may see it."""
    if blind:  # before it is looked for: not even whether there is one is told
        raise RefusalError(
            403, "blind", "You read this case blind: finish your reading to see others'."
        )
    found = next((one for one in readings if one.id == reading_id), None)
    if found is None:
        raise unknown("reading", reading_id)
    if found.id in hidden_readings(readings, who):
        raise RefusalError(
            403, "open-reading", "Only its reader sees a second reading until it is finished: wait."
        )
    return found


def hidden_readings(readings: Sequence[Reading], who: Who) -> list[int]:
    """Return the readings that a person may not see yet: open second ones of other people."""
    return [
        one.id
        for one in readings
        if one.number > 1 and one.finished_at is None and one.person_id != who.id
    ]


def without_names(session: Session, case_id: int, text: str | None) -> str | None:
    """Return a sentence without the names of a case's files, which may hold the label."""
    if not text:
        return text
    rows = session.execute(select(Upload.id, Upload.name).where(Upload.case_id == case_id))
    for number, name in sorted(rows.tuples(), key=lambda row: -len(row[1])):
        text = text.replace(name, f"file {number}")
        text = text.replace(PurePosixPath(name).name, f"file {number}")
    return text


def has_revealed(session: Session, case_id: int, who: Who) -> bool:
    """Say whether a person has asked to see the model's output of a case that is blind first."""
    found = select(ReviewEvent.seq).where(
        ReviewEvent.case_id == case_id,
        ReviewEvent.person_id == who.id,
        ReviewEvent.kind == "reveal",
    )
    return session.scalar(found.limit(1)) is not None


def has_seen(session: Session, case_id: int, person_id: int) -> bool:
    """Say whether a person was shown the model's output, sent a file or has acted in a case."""
    if session.get(Sighting, (case_id, person_id)) is not None:
        return True
    sent = select(Upload.id).where(Upload.case_id == case_id, Upload.sent_by == person_id)
    acted = select(ReviewEvent.seq).where(
        ReviewEvent.case_id == case_id, ReviewEvent.person_id == person_id
    )
    return any(session.scalar(one.limit(1)) is not None for one in (sent, acted))
