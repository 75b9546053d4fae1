"""What the API says of a whole case: where it stands, counts, shares, what can be signed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from blastscope.workbench.access import Access, without_names
from blastscope.workbench.agreement import agreement_json, confusion
from blastscope.workbench.cases import case_facts, file_progress, names_of
from blastscope.workbench.cell_table import CellTable, counts
from blastscope.workbench.context import Workbench
from blastscope.workbench.jobs import job_json, of_case, seconds_left, why_stopped
from blastscope.workbench.models import find_model, model_json
from blastscope.workbench.people import Who
from blastscope.workbench.reviews import CODES, ReadingView, last_event
from blastscope.workbench.shares import NOT_OPENED, Line, lines, neither
from blastscope.workbench.store.tables import Case, Reading, ReviewEvent, Scoring
from blastscope.workbench.uploads import senders_of

_PLOT_STEPS = 20


@dataclass(frozen=True)
class Reviewed:
    """The labels of a case: its own reading's, adjudicated, and where others disagree.

    Attributes:
        label: what counts, shape (cells,): adjudicated, else of the case's own reading; none where
            the image cannot be used.
        open: usable cells on which a finished second reading differs and nobody has adjudicated.
    """

    label: NDArray[np.int8]
    open: set[int]


def visible(view: ReadingView, who: Who, blind: bool) -> ReadingView:
    """Return a reading as a person may see it."""
    return view.own(who.id) if blind else view


def revision(session: Session, found: Access, who: Who) -> int:
    """Return the last event of a case; of a blind reader's own, so that it tells of no other's."""
    if not found.blind:
        return last_event(session, found.case.id)
    own = select(func.max(ReviewEvent.seq)).where(
        ReviewEvent.case_id == found.case.id,
        ReviewEvent.reading_id == found.reading.id,
        ReviewEvent.person_id == who.id,
    )
    return session.scalar(own) or 0


def readings_of(session: Session, case_id: int) -> list[Reading]:
    """Return the readings of a case, its own first."""
    found = select(Reading).where(Reading.case_id == case_id).order_by(Reading.number)
    return list(session.scalars(found))


def reviewed(
    bench: Workbench, session: Session, case: Case, table: CellTable,
    readings: Sequence[Reading] | None = None,
) -> Reviewed:  # fmt: skip
    """Put the readings of a case together; they are looked up if they are not given."""
    first, *others = readings or readings_of(session, case.id)
    with bench.reviews.view(session, first.id, len(table)) as view:
        final = view.final[: len(table)].copy()
        own = view.label[: len(table)].copy()
    open_: set[int] = set()
    for reading in others:
        if reading.finished_at is None:
            continue
        with bench.reviews.view(session, reading.id, len(table)) as view:
            other = view.label[: len(table)]
            differ = table.usable & (own > 0) & (other > 0) & (own != other) & (final == 0)
            open_.update((np.flatnonzero(differ) + 1).tolist())
    label = np.where(final > 0, final, own)
    return Reviewed(np.where(table.usable, label, 0).astype(np.int8), open_)


def as_counted(found: Access, seen: ReadingView, together: Reviewed) -> ReadingView:
    """Return a reading by the labels that count, as filters, shares and exports have them.

    In the case's own reading, what a signer decided counts instead of the label there. A blind
    reader and a second reading have their own labels only.
    """
    if found.blind or found.reading.number > 1:
        return seen
    return replace(seen, label=together.label)


def second_label(
    bench: Workbench, session: Session, case: Case, table: CellTable
) -> NDArray[np.int8] | None:
    """Return the labels of finished second readings, shape (cells,); None without one.

    Of several it is the last one that differs from the case's own reading: that is what a signer
    decides on. If none differs, it is the last one that has a label.
    """
    first, *others = readings_of(session, case.id)
    finished = [reading for reading in others if reading.finished_at is not None]
    if not finished:
        return None
    with bench.reviews.view(session, first.id, len(table)) as view:
        own = view.label[: len(table)].copy()
    told = np.zeros(len(table), np.int8)
    for reading in finished:
        with bench.reviews.view(session, reading.id, len(table)) as view:
            here = view.label[: len(table)]
            told = np.where((here > 0) & ((here != own) | (told == own) | (told == 0)), here, told)
    return told


def case_lines(
    session: Session, case: Case, table: CellTable, label: NDArray[np.int8]
) -> tuple[list[Line], dict[str, list[Line]]]:
    """Return the lines of a case, and those of each subject if it has several.

    Then the case has no share itself: cells of several subjects together are of no specimen.
    """
    subjects = sorted({name for name, can in zip(table.subject, table.usable, strict=True) if can})
    scoring = None if case.scoring_id is None else session.get(Scoring, case.scoring_id)
    rows = None if scoring is None else scoring.subjects
    decides = find_model(session, case.model_id).facts.get("decides", False)
    known = {row["subject"]: row for row in rows or []}

    def of(subject: str) -> Any:
        if not decides:
            return "no-decision"
        return known.get(subject, "not-scored" if rows is None else "few-cells")

    everywhere = np.ones(len(table), bool)
    whole = of(subjects[0]) if len(subjects) == 1 else "several-subjects"
    if rows is None and decides:
        whole = "not-scored"
    found = lines(table, label, everywhere, case.sampling, whole)
    if len(subjects) < 2:
        return found, {}
    names = np.array(table.subject, dtype=object)
    together = [
        one if one.reason is not None else Line(one.code, one.basis, reason="several-subjects")
        for one in found
    ]
    return together, {
        subject: lines(table, label, names == subject, case.sampling, of(subject))
        for subject in subjects
    }


def shown_share(found: list[Line]) -> Line | None:
    """Return the best line for a list of cases: counted, else by people and model, else model.

    Without a share it is one that says that the case has several subjects, or None.
    """
    for code in ("counted", "mixed", "model"):
        for line in found:
            if line.code == code and line.share is not None:
                return line
    return next((line for line in found if line.reason == "several-subjects"), None)


def reading_json(
    bench: Workbench, session: Session, case: Case, table: CellTable, reading: Reading,
    names: dict[int, str], alone: Who | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return what a page shows of a reading; by one person's labels only, if one is given."""
    scope = Access(case, reading, False).scope(table.random) & table.usable
    with bench.reviews.view(session, reading.id, len(table)) as view:
        seen = view if alone is None else view.own(alone.id)
        left = int((scope & (seen.label[: len(table)] == 0)).sum())
    return {
        "id": reading.id,
        "number": reading.number,
        "person": None if reading.person_id is None else names.get(reading.person_id),
        "blind": reading.blind,
        "scope": reading.scope,
        "cells": int(scope.sum()),
        "left": left,
        "state": "open" if reading.finished_at is None else "finished",
    }


def case_json(
    bench: Workbench, session: Session, found: Access, who: Who,
    names: dict[int, str] | None = None, opened: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Return what a page shows of a case; without anything of the model's for a blind reader.

    Args:
        opened: whether the person has opened it. If not, they may still become its blind reader,
            and no share is told, nor how many cells have which label or call.
    """
    case, blind = found.case, found.blind
    names = names_of(session) if names is None else names
    table = bench.tables.of(session, case)
    job = of_case(session, case.id)
    stopped = why_stopped(session, case, bench.worker.running, bool(table.usable.any()))
    scope = found.scope(table.random)
    together = reviewed(bench, session, case, table)
    with bench.reviews.view(session, found.reading.id, len(table)) as view:
        seen = as_counted(found, visible(view, who, blind), together)
        counted = counts(table, seen, scope, blind, len(together.open))
        left = int((table.in_sample & table.usable & (seen.label[: len(table)] == 0)).sum())
    if not blind and not opened:
        counted = {name: counted[name] for name in ("cells", "unlabelled", "unusable")}
    share = None
    if not blind:
        line: Line | None = NOT_OPENED
        if opened:
            line = shown_share(case_lines(session, case, table, together.label)[0])
        share = None if line is None else line.as_json()
    readings = [
        reading_json(bench, session, case, table, reading, names, who if blind else None)
        for reading in readings_of(session, case.id)
        if not blind or reading.id == found.reading.id
    ]
    return {
        **case_facts(case, names.get(case.created_by, "")),
        "model": model_json(find_model(session, case.model_id), blind),
        "counts": counted,
        "progress": {
            **file_progress(session, case),
            "scored": int((table.usable & table.scored).sum()),
            "seconds_left": seconds_left(job),
            "job": None if job is None else job_json(session, job, blind),
            "stopped": without_names(session, case.id, stopped) if blind else stopped,
        },
        "readers": [] if blind else _readers(session, case.id, names),
        "senders": [] if blind else senders_of(session, case.id),
        "blind": blind,
        "share": share,
        "rev": revision(session, found, who),
        "sample": _sample(session, case, table, left),
        "readings": readings,
    }


def _readers(session: Session, case_id: int, names: dict[int, str]) -> list[str]:
    found = session.scalars(
        select(ReviewEvent.person_id)
        .where(ReviewEvent.case_id == case_id, ReviewEvent.kind.in_(("label", "adjudicate")))
        .distinct()
    )
    return sorted(names.get(person, "") for person in found)


def _sample(session: Session, case: Case, table: CellTable, left: int) -> dict[str, Any] | None:
    if case.sample_size is None:
        return None
    drawn = session.scalars(
        select(ReviewEvent)
        .where(ReviewEvent.case_id == case.id, ReviewEvent.kind == "sample")
        .order_by(ReviewEvent.seq)
    )
    grown = [{**(event.value["of"] or {}), "at": event.at.isoformat()} for event in drawn]
    unusable = int((table.in_sample & ~table.usable).sum())
    return {"size": case.sample_size, "left": left, "unusable": unusable, "enlarged": grown[1:]}


def shares_json(bench: Workbench, session: Session, case: Case) -> dict[str, Any]:
    """Return all that the page of a case says of shares and agreement with the model."""
    table = bench.tables.of(session, case)
    together = reviewed(bench, session, case, table)
    whole, subjects = case_lines(session, case, table, together.label)
    names = np.array(table.subject, dtype=object)
    decided = np.where(together.label <= CODES["N"], together.label, 0).astype(np.int8)
    compared = confusion(decided, table.called, 2)
    usable, already = table.usable, table.counted_already(together.label)
    return {
        "lines": [line.as_json() for line in whole],
        "subjects": [
            {
                "subject": subject,
                "cells": int(((names == subject) & usable).sum()),
                "lines": [line.as_json() for line in found],
            }
            for subject, found in subjects.items()
        ],
        "limits": [0.20, 0.25],
        "unsure": int((usable & (together.label == CODES["U"])).sum()),
        "no_cell": int((usable & ~already & (together.label == CODES["X"])).sum()),
        "counted_already": int(already.sum()),
        "doubles": int(table.doubles(together.label).sum()),
        "neither": neither(table, together.label, usable),
        "open_disagreements": len(together.open),
        "agreement": agreement_json(compared, ("A", "N")),
        "plots": {"p": _histogram(table)},
        **_seen_and_blind(bench, session, case, table),
    }


def _histogram(table: CellTable) -> dict[str, Any]:
    p = table.p[table.usable & ~np.isnan(table.p)]
    found, edges = np.histogram(p, bins=_PLOT_STEPS, range=(0, 1))
    return {"edges": edges.tolist(), "counts": found.tolist(), "threshold": table.threshold}


def _seen_and_blind(
    bench: Workbench, session: Session, case: Case, table: CellTable
) -> dict[str, int]:
    """Count the labels that count, by whether they were given blind or with the model in sight."""
    first = readings_of(session, case.id)[0]
    events = select(ReviewEvent.id, ReviewEvent.blind, ReviewEvent.shown).where(
        ReviewEvent.reading_id == first.id, ReviewEvent.kind.in_(("label", "adjudicate"))
    )
    hidden = {
        id: blind or shown.get("model") is False for id, blind, shown in session.execute(events)
    }
    told = {"blind_labels": 0, "seen_labels": 0}
    with bench.reviews.view(session, first.id, len(table)) as view:
        for n in (np.flatnonzero(table.usable) + 1).tolist():
            kind = "adjudicate" if view.final[n - 1] else "label"
            stands = view.state.standing(kind, n)
            if stands is not None and stands.value is not None:
                told["blind_labels" if hidden.get(stands.id) else "seen_labels"] += 1
    return told
