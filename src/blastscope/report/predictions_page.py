"""The page of predictions: what the model is worth, each subject, and pictures of the cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from blastscope.decision.neighbourhood import STATEMENT
from blastscope.evaluation.metrics import THRESHOLD
from blastscope.io.predictions import PROBLEM
from blastscope.prediction.predict import Predicted
from blastscope.prediction.table import altered
from blastscope.prediction.thumbnails import SIDE, thumbnails
from blastscope.report.decision_text import SHARE_ASSUMPTIONS, how_decided, intervals_held
from blastscope.report.generalization_text import doubt_text, generalization_text
from blastscope.report.html import render, small_uri
from blastscope.report.predictions_text import (
    FEW_CELLS,
    LINE_TEXT,
    NOT_ESTIMABLE,
    TRANSDUCTIVE_SHARES,
    altered_text,
    limits,
    training_subjects,
)
from blastscope.report.text import number

MOST_PICTURES = 200
"""Pictures of each group of cells."""
MOST_ROWS = 200
"""Rows of each table."""


@dataclass(frozen=True)
class CellGroup:
    """Cells that are shown together.

    Attributes:
        name: its key.
        rows: of the table of predictions, in the order of the page, as many as are shown.
        total: how many cells it has.
    """

    name: str
    rows: tuple[int, ...]
    total: int

    @property
    def hidden(self) -> int:
        """How many cells are not shown."""
        return self.total - len(self.rows)


def predictions_page(
    found: Predicted, made: date | None = None, fields: Mapping[str, Any] | None = None
) -> str:
    """Write the page of predictions, as HTML that needs no other file and no network.

    The images that it shows are read again, at most ``MOST_PICTURES`` of each group.

    Args:
        found: what was predicted.
        made: the day that the page names; today by default.
        fields: what is shown of whole fields (``fields_page``); None for single cells.
    """
    frame = _called(found.frame)
    groups = {group.name: group for group in _groups(frame)}
    shares = _shares(found)
    by = found.decision
    return render(
        "predictions.html",
        title=fields["title"] if fields else f"Predictions for {number(len(frame))} images",
        fields=fields,
        synthetic=found.synthetic_cells,
        model=found.model,
        worth=generalization_text(found.members.manifest, found.synthetic_model),
        doubt="" if found.synthetic_model else doubt_text(found.members.manifest),
        counts=_counts(frame, groups, "cells found" if fields else "images"),
        transductive=STATEMENT if found.transductive else "",
        no_shares=TRANSDUCTIVE_SHARES if found.transductive else "",
        decides=by is not None,
        detects=found.tally.out_of_distribution is not None,
        subjects=_subjects(frame, shares),
        most_rows=MOST_ROWS,
        has_shares=not shares.is_empty() and not (fields and fields["warning"]),
        few_cells=FEW_CELLS,
        share_notes=[] if fields and fields["warning"] else _share_notes(found, shares),
        share_assumptions=SHARE_ASSUMPTIONS,
        groups=groups,
        pictures=_pictures(found, groups),
        cells={row: _cell(frame, row) for group in groups.values() for row in group.rows},
        side=SIDE,
        problems=frame.filter(pl.col(PROBLEM).is_not_null()).select("file", "cell", PROBLEM).rows(),
        limits=limits(training_subjects(found)),
        notes=[f"{note}." for note in found.notes] + altered_text(altered(found.frame)),
        details=_details(found, made or date.today()),
    )


def _called(frame: pl.DataFrame) -> pl.DataFrame:
    """Give a table without a decision its calls, above one half, and every table its row numbers.

    ``group`` is the first of ``problem``, ``ood``, ``refer``, ``all`` and ``hem`` that is true.
    """
    above = pl.when(pl.col("p_all") > THRESHOLD).then(pl.lit("all")).otherwise(pl.lit("hem"))
    outside = pl.col("out_of_distribution").fill_null(False)
    added = []
    if "called" not in frame.columns:
        added.append(pl.when(pl.col("p_all").is_not_null() & ~outside).then(above).alias("called"))
    if "refer" not in frame.columns:
        added.append(pl.lit(False).alias("refer"))
    group = (
        pl.when(pl.col("p_all").is_null())
        .then(pl.lit("problem"))
        .when(outside)
        .then(pl.lit("ood"))
        .when(pl.col("refer").fill_null(False))
        .then(pl.lit("refer"))
        .otherwise(pl.col("called"))
    )
    return frame.with_columns(added).with_columns(group=group).with_row_index("row")


def _groups(frame: pl.DataFrame) -> Iterable[CellGroup]:
    """Sort the cells of each group, the highest probability first, and cut it."""
    ordered = frame.sort("p_all", "row", descending=[True, False], nulls_last=True)
    for name in ("refer", "ood", "all", "hem"):
        rows = ordered.filter(pl.col("group") == name)["row"]
        yield CellGroup(name, tuple(rows.head(MOST_PICTURES).to_list()), len(rows))


def _counts(
    frame: pl.DataFrame, groups: Mapping[str, CellGroup], what: str = "images"
) -> dict[str, int]:
    called = frame["called"]
    return {
        what: len(frame),
        "called ALL": int((called == "all").sum()),
        "called normal": int((called == "hem").sum()),
        "referred": groups["refer"].total,
        "out of distribution": groups["ood"].total,
        "not usable": int(frame["p_all"].is_null().sum()),
    }


def _cell(frame: pl.DataFrame, row: int) -> dict[str, Any]:
    """Return what a caption shows of a cell."""
    columns = ("cell", "subject", "p_all", "called", "ood_score")
    return {name: frame[name][row] for name in columns}


def _pictures(found: Predicted, groups: Mapping[str, CellGroup]) -> dict[int, str]:
    """Return the picture of each cell that is shown, as a data URI."""
    cells = [row for name in ("refer", "all", "hem") for row in groups[name].rows]
    read = thumbnails(found.inputs, cells, groups["ood"].rows)
    return {row: small_uri(picture) for row, picture in read}


def _shares(found: Predicted) -> pl.DataFrame:
    """Return the shares of blasts of subjects that have cells enough."""
    shares = found.tally.subjects
    if shares is None:
        return pl.DataFrame()
    known = shares.filter(pl.col("line").is_not_null() & (pl.col("cells") >= FEW_CELLS))
    return known.select("subject", "share", "low", "high", "line")


def _subjects(frame: pl.DataFrame, shares: pl.DataFrame) -> list[dict[str, Any]]:
    """Count the cells of each subject, the one with the largest share called ALL first."""
    table = frame.group_by("subject").agg(
        cells=(pl.col("called").is_not_null()).sum(),
        called_all=(pl.col("called") == "all").sum(),
        refer=(pl.col("group") == "refer").sum(),
        ood=(pl.col("group") == "ood").sum(),
        problem=(pl.col("group") == "problem").sum(),
    )
    table = table.with_columns(
        called=pl.when(pl.col("cells") > 0).then(pl.col("called_all") / pl.col("cells"))
    )
    if shares.is_empty():
        none = dict.fromkeys(("share", "low", "high"), pl.lit(None, pl.Float64))
        table = table.with_columns(**none, line=pl.lit(None, pl.String))
    else:
        table = table.join(shares, on="subject", how="left")
    order = {"called": True, "cells": True, "subject": False}
    return table.sort(*order, descending=list(order.values()), nulls_last=True).to_dicts()


def _share_notes(found: Predicted, shares: pl.DataFrame) -> list[str]:
    """Write what shares of blasts rest on; nothing if there are none."""
    if shares.is_empty() or found.decision is None:
        return []
    said = [
        "Blasts: the share called ALL, corrected for the errors of these calls on known subjects, "
        f"with its 95 % interval. {intervals_held(found.decision)}",
        LINE_TEXT,
    ]
    if (shares["line"] == "not estimable").any():
        said.append(NOT_ESTIMABLE)
    return said


def _details(found: Predicted, made: date) -> list[tuple[str, str]]:
    """Return pairs of a word and a text: what made the predictions, and when."""
    members, by = found.members, found.decision
    lines = [("Model", found.model)]
    if members.manifest is not None:
        lines.append(("Title", members.manifest.title))
    if members.bundle is not None:
        lines.append(("Bundle", members.bundle))
    if members.ensemble is not None:
        lines.append(("Ensemble", members.ensemble))
    lines += [("Weights", run.checkpoint) for run in members.runs]
    if by is None:
        decided = "Cells are called ALL above p = 0.5; the model has no decision."
    else:
        decided = how_decided(by, brief=members.bundle is not None)
    lines.append(("Decision", decided))
    if members.manifest is not None:
        lines.append(("Intended use", members.manifest.intended_use))
        if members.manifest.note:
            lines.append(("Note of its makers", members.manifest.note))
    return [*lines, ("Date", made.isoformat())]
