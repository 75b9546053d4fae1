"""Keep the random order of a case's cells as it is once a sample or a reading rests on it."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from blastscope.workbench.refusal import conflict
from blastscope.workbench.store.tables import Case, Cell, Reading, Upload


def refuse_late(session: Session, case: Case) -> None:
    """Refuse cells that join a case whose random order is in use: its ranks would be others.

    Raises:
        RefusalError: if a random sample is drawn, or a second reading is of a random part.
    """
    if case.sample_size is not None:
        raise conflict(
            "sample-drawn",
            f"A random sample of the cells of {case.identifier} is drawn, and more cells would "
            "make it another: create a new case for them.",
        )
    if _has_random_reading(session, case.id):
        raise conflict(
            "random-reading",
            f"A second reading of {case.identifier} is of a random part of its cells, and more "
            "cells would make it another: create a new case for them.",
        )


def refuse_early(session: Session, case: Case) -> None:
    """Refuse a first use of a case's random order while cells can still join.

    Raises:
        RefusalError: if files of the case are not prepared yet.
    """
    if case.sample_size is not None or _has_random_reading(session, case.id):
        return  # no cell joins any more
    if cells_wait(session, case.id):
        raise conflict(
            "files-wait",
            f"Files that were sent to {case.identifier} are not prepared yet, and their cells "
            "belong in the random order: finish sending, and wait until they are prepared.",
        )


def cells_wait(session: Session, case_id: int) -> bool:
    """Say whether files of a case may still become cells, or cells have no rank yet."""
    stored = select(Upload.id).where(Upload.case_id == case_id, Upload.state == "stored")
    return session.scalar(stored.limit(1)) is not None or without_rank(session, case_id)


def without_rank(session: Session, case_id: int) -> bool:
    """Say whether a usable cell has no place in the random order yet."""
    query = select(Cell.id).where(
        Cell.case_id == case_id, Cell.problem.is_(None), Cell.random.is_(None)
    )
    return session.scalar(query.limit(1)) is not None


def close_ranks(session: Session, case: Case) -> None:
    """Let later cells take the ranks of cells that can't be used any more, in the same order.

    If a sample or a reading rests on the ranks, they stay, and it has fewer cells.
    """
    if case.sample_size is not None or _has_random_reading(session, case.id):
        return
    rank = 0
    ranked = select(Cell).where(Cell.case_id == case.id, Cell.random.is_not(None))
    for cell in session.scalars(ranked.order_by(Cell.random)):
        rank += cell.problem is None
        cell.random = rank if cell.problem is None else None


def _has_random_reading(session: Session, case_id: int) -> bool:
    found = select(Reading.id).where(Reading.case_id == case_id, Reading.scope == "random")
    return session.scalar(found.limit(1)) is not None
