"""What of a case is still to come: a count, an export or a signature of now is without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from blastscope.workbench.cell_table import CellTable
from blastscope.workbench.jobs import work_stopped
from blastscope.workbench.refusal import conflict
from blastscope.workbench.store.tables import Case, Upload


@dataclass(frozen=True)
class ToCome:
    """Counts of what is not done; no file and no cell is in two of them.

    Attributes:
        files_waiting: files that were sent and are not prepared; a zip is one, whatever it holds.
        unprepared: cells whose image was not looked at.
        unscored: other usable cells that the case's model has not scored.
    """

    files_waiting: int
    unprepared: int
    unscored: int

    def __bool__(self) -> bool:
        return any(self.as_json().values())

    def __str__(self) -> str:
        all_ = (
            (self.files_waiting, "file that was sent is", "files that were sent are", "prepared"),
            (self.unprepared, "cell is", "cells are", "prepared"),
            (self.unscored, "cell is", "cells are", "scored"),
        )
        told = [f"{n:,} {one if n == 1 else many} not {done}" for n, one, many, done in all_ if n]
        return ", ".join(told[:-1]) + " and " * (len(told) > 1) + "".join(told[-1:])

    def as_json(self) -> dict[str, int]:
        """Return the counts by their names."""
        return asdict(self)


def counted(counts: Mapping[str, int]) -> ToCome:
    """Return what a signature was given without, of its counts; those of before have none."""
    return ToCome(**{one.name: counts.get(one.name, 0) for one in fields(ToCome)})


def to_come(session: Session, case: Case, table: CellTable) -> ToCome:
    """Count what of a case is not prepared or not scored."""
    stored = select(func.count()).where(Upload.case_id == case.id, Upload.state == "stored")
    here = table.usable & table.prepared
    return ToCome(
        files_waiting=session.scalar(stored) or 0,
        unprepared=int((table.usable & ~table.prepared).sum()),
        unscored=int((here & ~table.scored).sum()),
    )


def why_partial(session: Session, case: Case, missing: ToCome) -> str | None:
    """Say why an export of now would be partial, or None: it is complete, or was signed so."""
    if case.state == "signed" or (case.state in ("review", "reopened") and not missing):
        return None
    nothing = "no usable file was sent" if case.state == "receiving" else "nothing is summed up yet"
    under_way = case.state in ("preparing", "scoring") and not work_stopped(session, case)
    then = "wait until this is done" if under_way else "have this done, or sign the case without it"
    return f"An export of now would be partial, because {str(missing) or nothing}: {then}."


def refuse_partial(session: Session, case: Case, table: CellTable) -> None:
    """Refuse an export of a case that is not complete, unless it is signed so.

    Raises:
        RefusalError: if files or cells are still to come.
    """
    why = why_partial(session, case, to_come(session, case, table))
    if why is not None:
        raise conflict("not-complete", why)
