"""Append events to a review, and keep what they say now at hand.

The states are folded once and then follow the events; no table holds them, so nothing can
contradict the events.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, bindparam, func, insert, select
from sqlalchemy.orm import Session

from blastscope.workbench.people import Who
from blastscope.workbench.refusal import conflict, invalid
from blastscope.workbench.review_state import ACTIONS, LABELS, ReviewState, Value
from blastscope.workbench.store.tables import Case, ReviewEvent

MOST_EVENTS = 100
MOST_NOTE = 2000
_KEPT = 64
"""Readings whose states are kept in memory."""
CODES: dict[Value, int] = {None: 0, **{label: k + 1 for k, label in enumerate(LABELS)}}
"""Numbers for labels in arrays: 0 is none."""


# Written once: to put a statement together takes longer than to run it.
_AFTER = (
    select(
        ReviewEvent.seq, ReviewEvent.id, ReviewEvent.kind, ReviewEvent.cells, ReviewEvent.value,
        ReviewEvent.person_id,
    )
    .where(
        ReviewEvent.reading_id == bindparam("reading"), ReviewEvent.seq > bindparam("seq")
    )
    .order_by(ReviewEvent.seq)
)  # fmt: skip
_KNOWN = select(*ReviewEvent.__table__.columns).where(ReviewEvent.id == bindparam("id"))
_LAST = select(func.max(ReviewEvent.seq)).where(ReviewEvent.case_id == bindparam("case"))
_INSERT = insert(ReviewEvent.__table__)  # type: ignore[arg-type]


@dataclass(frozen=True)
class NewEvent:
    """An event that a client sends."""

    id: str
    kind: str
    cells: tuple[int, ...] = ()
    value: Value = None
    shown: dict[str, Any] = field(default_factory=dict)
    at: str | None = None


@dataclass
class ReadingView:
    """The state of a reading, and its labels as arrays; place ``n - 1`` is cell ``n``."""

    state: ReviewState
    label: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))
    final: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))
    flag: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    noted: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    changed: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """The last event that touched each cell."""

    def grow(self, cells: int) -> None:
        """Make room for more cells."""
        more = cells - len(self.label)
        if more > 0:
            for name in ("label", "final", "flag", "noted", "changed"):
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.zeros(more, old.dtype)]))

    def touch(self, cells: Sequence[int]) -> None:
        """Look again what stands at cells."""
        if not cells:
            return
        self.grow(max(cells))
        for n in cells:
            self.label[n - 1] = CODES[self.state.value("label", n)]
            self.final[n - 1] = CODES[self.state.value("adjudicate", n)]
            self.flag[n - 1] = self.state.value("flag", n) is True
            self.noted[n - 1] = self.state.value("note", n) is not None
            self.changed[n - 1] = self.state.seq

    def own(self, person: int) -> ReadingView:
        """Return it as if only one person had read: what a blind reader may see."""
        found = ReadingView(self.state)
        found.grow(len(self.label))
        for kind, codes in (("label", found.label), ("adjudicate", found.final)):
            for n, value in self.state.values(kind, person).items():
                codes[n - 1] = CODES[value]
        for n, value in self.state.values("flag", person).items():
            found.flag[n - 1] = value is True
        for n in self.state.values("note", person):
            found.noted[n - 1] = True
        found.changed = self.changed
        return found


class Reviews:
    """The reviews of all cases."""

    def __init__(self) -> None:
        self._views: dict[int, ReadingView] = {}
        self._held: set[int] | None = None  # readings that changed and are not on disk
        self._lock = threading.RLock()

    @contextmanager
    def view(self, session: Session, reading_id: int, cells: int) -> Iterator[ReadingView]:
        """Give the state of a reading of so many cells; it stays still while the block runs."""
        with self._lock:
            known = self._views.pop(reading_id, None)
            view = known or ReadingView(ReviewState())
            # While one writes, nobody else does: what was looked at once stays as it is.
            if known is None or self._held is None or reading_id not in self._held:
                self._follow(session, reading_id, view)
            view.grow(cells)
            if self._held is not None:
                self._held.add(reading_id)
            yield view
            # Only if the block raised nothing: what is half changed is folded again.
            self._views[reading_id] = view
            while len(self._views) > _KEPT:
                self._views.pop(next(iter(self._views)))

    def _follow(self, session: Session, reading_id: int, view: ReadingView) -> None:
        found = session.execute(_AFTER, {"reading": reading_id, "seq": view.state.seq})
        for seq, id, kind, cells, value, person in found:
            view.touch(view.state.apply(seq, id, kind, cells, value.get("of"), person))

    def append(
        self,
        session: Session,
        case: Case,
        reading_id: int,
        usable: Sequence[bool] | NDArray[np.bool_],
        who: Who,
        events: Sequence[NewEvent],
        blind: bool,
    ) -> tuple[list[dict[str, Any]], dict[int, dict[str, Any]]]:
        """Append events of one person, all or none, inside a writing transaction.

        The lock on the states must not be let go before the transaction has ended: call it within
        :meth:`holding`, and :meth:`forget` the reading if what it stored is taken back.

        Args:
            usable: whether each cell can be labelled, shape (cells,).

        Returns:
            What was stored of each event, and what stands at the cells that changed.

        Raises:
            RefusalError: if an event does not do; nothing is stored then.
        """
        told: list[dict[str, Any]] = []
        touched: set[int] = set()
        with self.view(session, reading_id, len(usable)) as view:
            for event in events:
                known = session.execute(_KNOWN, {"id": event.id}).one_or_none()
                if known is not None:
                    _refuse_other(known, event, case.id, who)
                    told.append(
                        {"id": known.id, "seq": known.seq, "again": True, "target": known.target}
                    )
                    continue
                _refuse_invalid(event, usable)
                target = _target(view.state, event, who)
                row = {
                    "id": event.id, "case_id": case.id, "reading_id": reading_id,
                    "person_id": who.id, "kind": event.kind, "cells": list(event.cells) or None,
                    "value": {"of": event.value}, "target": target, "shown": event.shown,
                    "blind": blind, "client_at": event.at,
                }  # fmt: skip
                seq = _insert(session, row)
                cells = view.state.apply(
                    seq, event.id, event.kind, event.cells, event.value, who.id
                )
                view.touch(cells)
                touched.update(cells)
                told.append({"id": event.id, "seq": seq, "again": False, "target": target})
            person = who.id if blind else None
            changed = {n: standing(view.state, n, person) for n in sorted(touched)}
        return told, changed

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Keep readers from states that are not yet on disk; forget them if the block fails."""
        with self._lock:
            self._held = set()
            try:
                yield
            except BaseException:
                for reading_id in self._held:
                    self._views.pop(reading_id, None)
                raise
            finally:
                self._held = None

    def forget(self, reading_id: int) -> None:
        """Fold a reading again from its events when it is asked for next."""
        with self._lock:
            self._views.pop(reading_id, None)


def standing(state: ReviewState, n: int, person: int | None) -> dict[str, Any]:
    """Return what stands at a cell; of one person's events only, if one is given."""
    told: dict[str, Any] = {
        "label": state.value("label", n, person),
        "flag": state.value("flag", n, person) is True,
        "note": state.value("note", n, person),
    }
    return told if person is not None else {**told, "final": state.value("adjudicate", n)}


def record(
    session: Session, case_id: int, who: Who, kind: str, about: dict[str, Any], blind: bool = False
) -> ReviewEvent:
    """Record what the server itself did in a case, in the same history."""
    row = ReviewEvent(
        id=str(uuid4()), case_id=case_id, reading_id=None, person_id=who.id, kind=kind, cells=None,
        value={"of": about}, target=None, shown={}, blind=blind, client_at=None,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def last_event(session: Session, case_id: int) -> int:
    """Return the number of the last event of a case."""
    return session.scalar(_LAST, {"case": case_id}) or 0


def _insert(session: Session, row: dict[str, Any]) -> int:
    """Store an event, past the mapper, which takes longer than the database; return its number."""
    key = session.connection().execute(_INSERT, row).inserted_primary_key
    assert key is not None
    return int(key[0])


def are_stored(session: Session, case_id: int, who: Who, events: Sequence[NewEvent]) -> bool:
    """Say whether all of a person's events are stored already.

    Raises:
        RefusalError: if another event has the identifier of one of them.
    """
    for event in events:
        known = session.execute(_KNOWN, {"id": event.id}).one_or_none()
        if known is None:
            return False
        _refuse_other(known, event, case_id, who)
    return True


def _refuse_other(known: Row[Any], event: NewEvent, case_id: int, who: Who) -> None:
    """Refuse an identifier that stands for another event already."""
    same = (known.case_id, known.person_id, known.kind) == (case_id, who.id, event.kind)
    same &= (known.cells or []) == list(event.cells) and known.value.get("of") == event.value
    if not same:
        raise conflict(
            "other-content",
            "An event with this identifier and another content is stored: make a new identifier.",
        )


def _refuse_invalid(event: NewEvent, usable: Sequence[bool] | NDArray[np.bool_]) -> None:
    try:
        right = UUID(event.id).version == 4 and str(UUID(event.id)) == event.id
    except ValueError:
        right = False
    if not right:
        raise invalid("id", "An event needs a UUID of version 4, in lower case.")
    if event.kind not in (*ACTIONS, "undo", "redo", "reveal"):
        raise invalid("kind", f"{event.kind[:20]!r} is not a kind of event.")
    if (event.kind in ACTIONS) != bool(event.cells):
        raise invalid("cells", "A label, flag, note or adjudication names cells, and no other.")
    for n in event.cells:
        if not 1 <= n <= len(usable):
            raise invalid("cells", f"There is no cell {n} in this case.")
        if not usable[n - 1] and event.kind in ("label", "adjudicate"):
            raise conflict(
                "unusable",
                f"Cell {n} is not in this reading, or its image cannot be used: leave it out.",
            )
    if len(set(event.cells)) != len(event.cells):
        raise invalid("cells", "An event names each cell once.")
    _refuse_value(event)


def _refuse_value(event: NewEvent) -> None:
    value = event.value
    match event.kind:
        case "label" | "adjudicate":
            right = value is None or value in LABELS
        case "flag":
            right = isinstance(value, bool)
        case "note":
            right = value is None or (isinstance(value, str) and 0 < len(value) <= MOST_NOTE)
        case _:
            right = value is None
    if not right:
        raise invalid("value", f"This is not a value of a {event.kind}.")


def _target(state: ReviewState, event: NewEvent, who: Who) -> str | None:
    """Return the action that an undo or redo is about."""
    if event.kind == "undo":
        found = state.undoable(who.id)
        if found is None:
            raise conflict("nothing-to-undo", "There is nothing of yours to undo in this case.")
        return found.id
    if event.kind == "redo":
        found = state.redoable(who.id)
        if found is None:
            raise conflict("nothing-to-redo", "There is nothing of yours to redo in this case.")
        return found.id
    return None
