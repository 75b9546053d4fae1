"""What a reading says now, folded from its events; no database, no clock.

A cell's label is the value of the youngest *active* label event that names it. ``undo`` makes the
last action of the person who undoes inactive, ``redo`` makes it active again, as if it happened
then; a new action forgets what could be redone. So an undo never takes away what another person
did since.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

LABELS = ("A", "N", "U", "X")
"""ALL, normal, unsure, no cell."""
ACTIONS = ("label", "flag", "note", "adjudicate")
"""The kinds of events that can be undone."""
Value = str | bool | None


@dataclass(frozen=True)
class Action:
    """A label, flag, note or adjudication of one or more cells."""

    id: str
    kind: str
    cells: tuple[int, ...]
    value: Value
    person: int


@dataclass(frozen=True)
class Standing:
    """What stands at a cell: the value, who gave it, and when it was last made active.

    ``id`` is of the event that gave it.
    """

    value: Value
    person: int
    seq: int
    id: str


@dataclass
class ReviewState:
    """The state of one reading; :meth:`apply` takes its events in their order."""

    seq: int = 0  # of the last event
    _active: dict[tuple[str, int], dict[str, Standing]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    _done: dict[int, list[Action]] = field(default_factory=lambda: defaultdict(list))
    _undone: dict[int, list[Action]] = field(default_factory=lambda: defaultdict(list))

    def standing(self, kind: str, cell: int, person: int | None = None) -> Standing | None:
        """Return what stands at a cell, a taken-away label too; None if nothing ever stood.

        Args:
            person: whose events count; by default everybody's.
        """
        found = self._active.get((kind, cell), {}).values()
        mine = [one for one in found if person is None or one.person == person]
        return max(mine, key=lambda one: one.seq) if mine else None

    def value(self, kind: str, cell: int, person: int | None = None) -> Value:
        """Return the value that stands at a cell; None without one."""
        found = self.standing(kind, cell, person)
        return None if found is None else found.value

    def values(self, kind: str, person: int | None = None) -> dict[int, Value]:
        """Return the values of all cells that have one."""
        found = {n: self.value(k, n, person) for k, n in self._active if k == kind}
        return {n: value for n, value in found.items() if value is not None}

    def undoable(self, person: int) -> Action | None:
        """Return the action that ``undo`` of this person takes back."""
        return self._done[person][-1] if self._done.get(person) else None

    def redoable(self, person: int) -> Action | None:
        """Return the action that ``redo`` of this person repeats."""
        return self._undone[person][-1] if self._undone.get(person) else None

    def act(self, seq: int, action: Action) -> Sequence[int]:
        """Take an action; return the cells that it concerns."""
        self._done[action.person].append(action)
        self._undone[action.person].clear()
        return self._activate(seq, action)

    def undo(self, seq: int, person: int) -> Sequence[int]:
        """Take back the last action of a person; return the cells that it concerns."""
        action = self._done[person].pop()
        self._undone[person].append(action)
        for n in action.cells:
            self._active[action.kind, n].pop(action.id)
        self.seq = seq
        return action.cells

    def redo(self, seq: int, person: int) -> Sequence[int]:
        """Repeat what a person took back last; return the cells that it concerns."""
        action = self._undone[person].pop()
        self._done[person].append(action)
        return self._activate(seq, action)

    def _activate(self, seq: int, action: Action) -> Sequence[int]:
        for n in action.cells:
            stands = Standing(action.value, action.person, seq, action.id)
            self._active[action.kind, n][action.id] = stands
        self.seq = seq
        return action.cells

    def apply(
        self, seq: int, id: str, kind: str, cells: Iterable[int] | None, value: Any, person: int
    ) -> Sequence[int]:
        """Take an event of the database; return the cells that it concerns."""
        if kind == "undo":
            return self.undo(seq, person)
        if kind == "redo":
            return self.redo(seq, person)
        if kind in ACTIONS:
            return self.act(seq, Action(id, kind, tuple(cells or ()), value, person))
        self.seq = seq
        return ()
