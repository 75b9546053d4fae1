"""Score the cells of a case as ``blastscope predict`` does, to the last digit.

The rows are made by the same functions, in batches that are stored as they come; a killed worker
goes on with the cells that have no score yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from blastscope.data.images import read_image
from blastscope.data.layouts import Problem
from blastscope.io.files import without_nan
from blastscope.prediction.decisions import decide, tally
from blastscope.prediction.images import InputImage
from blastscope.prediction.models import PredictionModel
from blastscope.prediction.pipeline import BATCH, PreparedCell, read_cell
from blastscope.prediction.table import SCHEMA, PredictionRow, rows_frame, stacked
from blastscope.workbench.cases import bump
from blastscope.workbench.cell_table import count_once
from blastscope.workbench.image_store import ImageStore
from blastscope.workbench.jobs import add_job
from blastscope.workbench.models import open_again
from blastscope.workbench.preparation import Advance, refuse_cell
from blastscope.workbench.random_order import close_ranks
from blastscope.workbench.shares import DOUBLES
from blastscope.workbench.store.database import Database
from blastscope.workbench.store.tables import (
    DOUBLE_OF,
    Case,
    Cell,
    Score,
    Scoring,
    Signature,
    StoredModel,
)

_COLUMNS = ("p_all", "p_raw", "ood_score", "called", "confidence", "refer", "flags")


def score(database: Database, images: ImageStore, scoring_id: int, advance: Advance) -> None:
    """Score all cells of a case that have no score yet, then sum up its subjects.

    Raises:
        BlastscopeError: if the model can't be opened any more, or fails.
    """
    with database.read() as session:
        scoring = session.get_one(Scoring, scoring_id)
        model_row = session.get_one(StoredModel, scoring.model_id)
        synthetic = session.get_one(Case, scoring.case_id).synthetic
        left = _unscored(session, scoring)
        total = _usable(session, scoring.case_id)
    model = open_again(model_row).marked(synthetic)
    done = total - len(left)
    for first in range(0, len(left), BATCH):
        batch = left[first : first + BATCH]
        rows = score_batch(model, images, batch)
        with database.write() as session:
            case = session.get_one(Case, scoring.case_id)
            broken = False
            for cell, row in zip(batch, rows, strict=True):
                problem = row.pop("problem")
                if problem is None:
                    session.add(Score(scoring_id=scoring_id, cell_id=cell.id, **row))
                else:  # it could be read when it was prepared
                    refuse_cell(session, session.get_one(Cell, cell.id), problem)
                    broken = True
            if broken:
                close_ranks(session, case)
            bump(case)
        done += len(batch)
        if not advance(done, total):
            return
    with database.write() as session:
        _sum_up(session, session.get_one(Scoring, scoring_id), model)


def _usable(session: Session, case_id: int) -> int:
    found = select(func.count()).where(Cell.case_id == case_id, Cell.problem.is_(None))
    return session.scalar(found) or 0


def _unscored(session: Session, scoring: Scoring) -> Sequence[Cell]:
    scored = select(Score.cell_id).where(Score.scoring_id == scoring.id)
    return session.scalars(
        select(Cell)
        .where(
            Cell.case_id == scoring.case_id, Cell.problem.is_(None), Cell.id.not_in(scored)
        )
        .order_by(Cell.n)
    ).all()  # fmt: skip


def score_batch(
    model: PredictionModel, images: ImageStore, cells: Sequence[Cell]
) -> list[dict[str, Any]]:
    """Return the scores of some cells, each with the probabilities of the single networks.

    The score of a cell whose image cannot be read any more has its ``problem``; others have None.
    """
    predictor = model.predictor
    rows, prepared = [], []
    for cell in cells:
        image = InputImage(
            cell.file, cell.name, partial(read_image, images.path(cell.sha)), cell.subject,
            flags=tuple(cell.about.get("outline", ())),
        )  # fmt: skip
        found = read_cell(image, predictor.settings, predictor.ood_scores)
        if isinstance(found, Problem):  # it was usable when it was prepared
            rows.append(PredictionRow(cell.file, cell.name, cell.subject, None, found.message))
        else:
            rows.append(_row(cell, found))
            prepared.append(found.pixels)
    made = predictor.probabilities(stacked(prepared)) if prepared else None
    frame = decide(rows_frame(rows, made, model.name), model.decision)
    networks = iter([] if made is None else made.networks.tolist())
    return [
        {
            **{name: one.get(name) for name in (*_COLUMNS, "problem")},
            "ood": one["out_of_distribution"],
            "networks": [] if one["p_all"] is None else next(networks),
        }
        for one in frame.iter_rows(named=True)
    ]


def _row(cell: Cell, found: PreparedCell) -> PredictionRow:
    return PredictionRow(
        cell.file, cell.name, cell.subject, None, flags=found.flags, ood_score=found.ood_score
    )


def prediction_frame(session: Session, scoring: Scoring, model_name: str) -> pl.DataFrame:
    """Return the scores of a scoring as the table that ``blastscope predict`` returns."""
    rows = session.execute(
        select(Cell, Score)
        .join(Score, Score.cell_id == Cell.id)
        .where(Score.scoring_id == scoring.id)
        .order_by(Cell.n)
    ).all()
    columns: dict[str, list[Any]] = {name: [] for name in (*SCHEMA, "p_raw", "called",
                                                           "confidence", "refer")}  # fmt: skip
    for cell, one in rows:
        known = {
            "file": cell.file, "cell": cell.name, "subject": cell.subject, "label": None,
            "part": "test", "model": model_name, "p_all": one.p_all, "ood_score": one.ood_score,
            "out_of_distribution": one.ood, "flags": one.flags, "problem": None,
            "p_raw": one.p_raw, "called": one.called, "confidence": one.confidence,
            "refer": one.refer,
        }  # fmt: skip
        for name, values in columns.items():
            values.append(known[name])
    types = {"called": pl.String(), "refer": pl.Boolean()}
    schema = {name: SCHEMA.get(name, types.get(name, pl.Float64())) for name in columns}
    frame = pl.DataFrame(columns, schema)
    return frame.select(pl.exclude("problem"), "problem")


def _once(session: Session, scoring: Scoring) -> pl.Series:
    """Return which rows of ``prediction_frame`` to count."""
    rows = session.execute(
        select(Cell.n, Cell.about, Score.called)
        .join(Score, Score.cell_id == Cell.id)
        .where(Score.scoring_id == scoring.id)
        .order_by(Cell.n)
    ).all()
    return pl.Series(
        count_once(
            np.array([n for n, _, _ in rows], np.int64),
            np.array([about.get(DOUBLE_OF) or 0 for _, about, _ in rows], np.int64),
            np.array([called is not None for _, _, called in rows], bool),
        )
    )


def _sum_up(session: Session, scoring: Scoring, model: PredictionModel) -> None:
    """Keep what ``LoadedModel.subjects`` says, and give the case to its readers.

    A cell that two fields may hold is counted once.
    """
    frame = prediction_frame(session, scoring, model.name)
    once = _once(session, scoring)
    found = tally(frame.filter(once), model.decision).subjects
    left_out = Counter(frame.filter(~once)["subject"])
    rows = [] if found is None else found.to_dicts()
    rows = [{**row, DOUBLES: left_out[row["subject"]]} for row in rows]
    scoring.subjects = without_nan(rows)
    case = session.get_one(Case, scoring.case_id)
    if case.state == "scoring" and case.scoring_id == scoring.id:
        signed = select(Signature.id).where(Signature.case_id == case.id).limit(1)
        case.state = "review" if session.scalar(signed) is None else "reopened"
        if len(session.get_one(StoredModel, scoring.model_id).facts.get("networks", [])) == 1:
            add_job(session, "similar", case.id)
    bump(case)
