"""The cells of a case as columns: what they are, what the model said, and counts over them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from blastscope.evaluation.metrics import THRESHOLD
from blastscope.workbench.refusal import invalid
from blastscope.workbench.review_state import LABELS
from blastscope.workbench.reviews import CODES, ReadingView
from blastscope.workbench.store.tables import DOUBLE_OF, Case, Cell, Score, StoredModel

NEAR = 0.1
"""How far from the threshold a probability still is near it."""
CALLS = {"all": "A", "hem": "N"}
"""The model's calls in the letters of labels."""
_KEPT = 32
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class CellTable:
    """The cells of a case in the order of their numbers, arrays of shape (cells,).

    Where the model says nothing, ``p`` is NaN and ``called`` 0.
    """

    ids: list[int]
    sha: list[str]
    file: list[str]
    name: list[str]
    subject: list[str]
    problem: list[str | None]
    usable: Bools  # whether the image is a cell that can be judged
    prepared: Bools
    random: NDArray[np.int64]  # rank in the random order; 0 while there is none
    scored: Bools
    p: NDArray[np.float64]
    called: NDArray[np.int8]  # as ``reviews.CODES``
    refer: Bools
    ood: Bools
    ood_score: NDArray[np.float64]
    confidence: NDArray[np.float64]
    threshold: float
    sample_size: int | None
    # The cell of another field that a cell may be; 0 if none. Empty if the case has no fields.
    double_of: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def near(self) -> Bools:
        """Whether the probability is near the threshold."""
        with np.errstate(invalid="ignore"):
            return np.abs(self.p - self.threshold) < NEAR

    @property
    def in_sample(self) -> Bools:
        """Whether a cell is in the random sample."""
        size = self.sample_size or 0
        found: Bools = (self.random >= 1) & (self.random <= size)
        return found

    @property
    def needs(self) -> NDArray[np.int64]:
        """The rank of each cell by how doubtful its call is, the most doubtful first, from 1."""
        distance = np.nan_to_num(np.abs(self.p - self.threshold), nan=2.0)
        order = np.lexsort((distance, ~self.refer, ~self.ood, ~self.usable))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(1, len(order) + 1)
        return rank

    @property
    def once(self) -> Bools:
        """Which cells to count so that each that two fields may hold is counted once."""
        if not len(self.double_of):
            return np.ones(len(self), bool)
        return count_once(np.arange(1, len(self) + 1), self.double_of, self.called > 0)

    def doubles(self, label: NDArray[np.int8]) -> Bools:
        """Say for each cell whether it may be counted twice: neither of two has the label X."""
        found = np.zeros(len(self), bool)
        here = np.flatnonzero(self.double_of)
        not_x = label[: len(self)] != CODES["X"]
        found[here] = not_x[here] & not_x[self.double_of[here] - 1]
        return found & self.usable

    def counted_already(self, label: NDArray[np.int8]) -> Bools:
        """Say which cells have the label X because another, which may be the same, is counted.

        Without it, a cell that two fields hold would look as if it were not a cell.
        """
        if not len(self.double_of):
            return np.zeros(len(self), bool)
        is_x = label[: len(self)] == CODES["X"]
        one = np.where(self.double_of > 0, self.double_of, np.arange(1, len(self) + 1))
        counts = np.zeros(len(self) + 1, bool)
        counts[one[~is_x & self.usable]] = True
        found: Bools = is_x & counts[one] & self.usable
        return found

    def disagrees(self, label: NDArray[np.int8]) -> Bools:
        """Say for each cell whether a label of ALL or normal and the model's call differ."""
        decided = (label == CODES["A"]) | (label == CODES["N"])
        found: Bools = decided & (self.called > 0) & (label != self.called)
        return found


def count_once(n: NDArray[np.int64], double_of: NDArray[np.int64], called: Bools) -> Bools:
    """Return which cells stand for themselves and their possible doubles, shape (cells,).

    Of cells that may be one, it is the first that the model calls, or the first if it calls none.

    Args:
        n: their numbers.
        double_of: the number of the cell that each may be; 0 if none.
        called: whether the model calls it ALL or normal.
    """
    one = np.where(double_of > 0, double_of, n)
    order = np.lexsort((n, ~called, one))
    found = np.zeros(len(n), bool)
    found[order[np.unique(one[order], return_index=True)[1]]] = True
    return found


class CellTables:
    """The tables of cases that were asked for lately, read again when a case has changed."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[tuple[int, int | None], CellTable]] = {}
        self._lock = threading.Lock()

    def of(self, session: Session, case: Case) -> CellTable:
        """Return the table of a case."""
        key = (case.version, case.scoring_id)
        with self._lock:
            kept = self._kept.pop(case.id, None)
            if kept is None or kept[0] != key:
                kept = (key, read_cells(session, case))
            self._kept[case.id] = kept
            while len(self._kept) > _KEPT:
                self._kept.pop(next(iter(self._kept)))
        return kept[1]


def read_cells(session: Session, case: Case) -> CellTable:
    """Read the cells of a case and the scores in use."""
    rows = session.execute(
        select(
            Cell.id, Cell.sha, Cell.file, Cell.name, Cell.subject, Cell.problem, Cell.prepared,
            Cell.random, Score.cell_id, Score.p_all, Score.called, Score.refer, Score.ood,
            Score.ood_score, Score.confidence,
        )
        .outerjoin(
            Score, (Score.cell_id == Cell.id) & (Score.scoring_id == (case.scoring_id or -1))
        )
        .where(Cell.case_id == case.id)
        .order_by(Cell.n)
    ).all()  # fmt: skip
    columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)] or [
        [] for _ in range(15)
    ]
    (ids, sha, file, name, subject, problem, prepared, random, scored, p, called, refer, ood,
     ood_score, confidence) = columns  # fmt: skip
    facts = session.get_one(StoredModel, case.model_id).facts
    threshold = facts.get("threshold")
    return CellTable(
        ids=ids,
        sha=sha,
        file=file,
        name=name,
        subject=subject,
        problem=problem,
        usable=np.array([one is None for one in problem], bool),
        prepared=np.array(prepared, bool),
        random=np.array([rank or 0 for rank in random], np.int64),
        scored=np.array([one is not None for one in scored], bool),
        p=np.array(p, np.float64),
        called=np.array([CODES[CALLS.get(one)] for one in called], np.int8),
        refer=np.array([bool(one) for one in refer], bool),
        ood=np.array([bool(one) for one in ood], bool),
        ood_score=np.array(ood_score, np.float64),
        confidence=np.array(confidence, np.float64),
        threshold=THRESHOLD if threshold is None else threshold,
        sample_size=case.sample_size,
        double_of=_double_of(session, case, len(ids)),
    )


def _double_of(session: Session, case: Case, cells: int) -> NDArray[np.int64]:
    if case.content != "fields":
        return np.zeros(0, np.int64)
    found = np.zeros(cells, np.int64)
    for n, about in session.execute(select(Cell.n, Cell.about).where(Cell.case_id == case.id)):
        found[n - 1] = about.get(DOUBLE_OF) or 0
    return found


def counts(
    table: CellTable, view: ReadingView, scope: Bools, blind: bool, open_disagreements: int = 0
) -> dict[str, int]:
    """Count the cells of a reading; a blind reader gets no count that depends on the model.

    Images that cannot be used are ``unusable``, and in no other count.

    Args:
        scope: which cells the reading is about, shape (cells,).
    """
    here = table.usable & scope
    label = view.label[: len(table)]
    open_ = here & (label == 0)
    found = {
        "cells": here,
        "unlabelled": open_,
        **{name: here & (label == CODES[name]) for name in LABELS},
        "flagged": here & view.flag[: len(table)],
        "noted": here & view.noted[: len(table)],
        "doubles": here & table.doubles(label),
    }
    if not blind:
        found |= {
            "referred": here & table.refer,
            "referred_left": open_ & table.refer,
            "ood": here & table.ood,
            "near": here & table.near,
            "disagrees": here & table.disagrees(label),
        }
    told = {name: int(mask.sum()) for name, mask in found.items()}
    told["unusable"] = int((scope & ~table.usable).sum())
    if not blind:
        told["disagreements"] = open_disagreements
    return told


def chosen(
    table: CellTable, view: ReadingView, scope: Bools, names: str, blind: bool, open_: set[int]
) -> Bools:
    """Return the cells that pass all filters, shape (cells,).

    Args:
        names: filters with commas between.
        open_: cells on which readings disagree.

    Raises:
        RefusalError: if there is no such filter, or a blind reader asks for one of the model's.
    """
    label = view.label[: len(table)]
    known: dict[str, Any] = {
        "all": lambda: np.ones(len(table), bool),
        "unlabelled": lambda: label == 0,
        "flagged": lambda: view.flag[: len(table)],
        "noted": lambda: view.noted[: len(table)],
        "sample": lambda: table.in_sample,
        "doubles": lambda: table.doubles(label),
        **{name: lambda code=CODES[name]: label == code for name in LABELS},
    }
    if not blind:
        known |= {
            "referred": lambda: table.refer,
            "ood": lambda: table.ood,
            "near": lambda: table.near,
            "disagrees": lambda: table.disagrees(label),
            "disagreements": lambda: np.isin(np.arange(1, len(table) + 1), list(open_)),
        }
    found = table.usable & scope
    for name in filter(None, names.split(",")):
        if name not in known:
            raise invalid("filter", f"{name[:30]!r} is not a filter here: {', '.join(known)}.")
        found = found & known[name]()
    return found


def ordered(table: CellTable, chosen: Bools, order: str, blind: bool) -> list[int]:
    """Return the numbers of chosen cells in an order.

    Raises:
        RefusalError: if there is no such order, or a blind reader asks for one of the model's.
    """
    numbers = np.flatnonzero(chosen)
    keys: dict[str, Any] = {"n": numbers, "random": table.random[numbers]}
    if not blind:
        keys |= {
            "needs": table.needs[numbers],
            "p": table.p[numbers],
            "-p": -table.p[numbers],
            "file": np.argsort(np.argsort(np.array(table.file, dtype=object)[numbers]))
            if len(numbers)
            else numbers,
        }
    if order not in keys:
        raise invalid("order", f"{order[:30]!r} is not an order here: {', '.join(keys)}.")
    found: list[int] = (numbers[np.argsort(keys[order], kind="stable")] + 1).tolist()
    return found
