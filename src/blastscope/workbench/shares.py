"""The share of blasts: by the model, by people and model together, and counted.

Only the third line is a count. It needs labels of all cells, or of all cells of the random sample:
cells that were labelled because they were doubtful are no sample of the others. Rogan and Gladen's
correction is for the model's calls, never for people's labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from blastscope.decision.blast_share import LINE
from blastscope.report.fields_text import MOSTLY
from blastscope.workbench.cell_table import Bools, CellTable
from blastscope.workbench.reviews import CODES

DOUBLES = "doubles"
"""In a row of a model's subjects: how many cells are left out, as they may be counted already."""
FEWEST = 10
"""Below so many cells no share is given."""
REASONS = {
    "selected": "The cells were chosen, so their share says nothing of the specimen.",
    "few-cells": f"There are fewer than {FEWEST} cells to count.",
    "not-a-sample": "Cells without a label are left, and those with one were not drawn at random: "
    "label all cells, or draw a random sample.",
    "sample-incomplete": "Cells of the random sample are left without a label.",
    "no-decision": "The model has no decision, so it calls no cells.",
    "several-subjects": "The cells are of several subjects: see each subject's own share.",
    "not-scored": "The model has not scored all cells yet.",
    "not-estimable": "The model's errors differ too much between known subjects for an estimate.",
    "mostly-ood": "Most of these cells are out of distribution: the model does not know this "
    "stain, camera or magnification, and its calls of the others say nothing of the specimen.",
    "no-labels": "No cell has a label of ALL or normal yet.",
    "not-opened": "Open the case to see its share. Whoever sees it can't read the case blind.",
}


@dataclass(frozen=True)
class Line:
    """A share of blasts, or why there is none."""

    code: str  # model, mixed, counted
    basis: str  # model, people+model, all, sample
    share: float | None = None
    low: float | None = None
    high: float | None = None
    of: int | None = None  # cells that it is a share of
    blasts: int | None = None
    against: str | None = None  # below, above or open: the 20 to 25 % line
    reason: str | None = None
    left: int | None = None  # cells without a label that stand in its way
    share_if_unsure_are: tuple[float, float] | None = None  # all normal; all ALL
    uncounted: int | None = None  # cells without a call, and a label if it counts: in no share
    doubles: int | None = None  # of the model alone: cells left out as they may be counted already

    def as_json(self) -> dict[str, Any]:
        """Return it with the sentence of its reason."""
        return {**asdict(self), "message": REASONS.get(self.reason or "")}


NOT_OPENED = Line("model", "model", reason="not-opened")
"""What the list of cases has instead of the share of a case that a person has not opened."""


def clopper_pearson(hits: int, of: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a share (Clopper and Pearson, Biometrika 26:404-413, 1934)."""
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, of - hits + 1, tail))
    high = 1.0 if hits == of else float(betaincinv(hits + 1, of - hits, 1 - tail))
    return low, high


def against(low: float, high: float) -> str:
    """Say on which side of the 20 to 25 % line a whole interval lies."""
    return "below" if high < LINE[0] else "above" if low > LINE[1] else "open"


def lines(
    table: CellTable,
    label: NDArray[np.int8],
    here: Bools,
    sampling: str,
    model: Mapping[str, Any] | str,
) -> list[Line]:
    """Return the three lines of some cells.

    The model alone counts a cell once if two fields may hold it. People decide that for the other
    lines, by the label X.

    Args:
        label: the labels that count, shape (cells,), as ``reviews.CODES``.
        here: which cells, shape (cells,).
        sampling: of the case: all, random or selected.
        model: the row of ``LoadedModel.subjects`` for these cells, or why there is none.
    """
    here = here & table.usable
    once = here & table.once
    alone = _model("mostly-ood" if _mostly(table.ood, once) else model, int(once.sum()), sampling)
    mixed = _mixed(table, label, here, sampling)
    return [
        replace(alone, uncounted=neither(table, np.zeros_like(label), once)),
        replace(mixed, uncounted=neither(table, label, here)),
        _counted(table, label, here, sampling),
    ]


def neither(table: CellTable, label: NDArray[np.int8], here: Bools) -> int:
    """Count the usable cells that have neither a label nor a call of the model."""
    return int((here & table.usable & (label == 0) & (table.called == 0)).sum())


def _mostly(some: Bools, here: Bools) -> bool:
    return bool(here.any()) and float(some[here].mean()) > MOSTLY


def _model(row: Mapping[str, Any] | str, cells: int, sampling: str) -> Line:
    if sampling == "selected":
        return Line("model", "model", reason="selected")
    if cells < FEWEST:
        return Line("model", "model", reason="few-cells", of=cells)
    if isinstance(row, str):
        return Line("model", "model", reason=row)
    of = int(row["cells"])
    blasts = round(row["called"] * of)
    doubles = row.get(DOUBLES, 0)
    if row["share"] is None:
        return Line("model", "model", of=of, blasts=blasts, reason="not-estimable", doubles=doubles)
    return Line(
        "model", "model", row["share"], row["low"], row["high"], of, blasts, row["line"],
        doubles=doubles,
    )  # fmt: skip


def _mixed(table: CellTable, label: NDArray[np.int8], here: Bools, sampling: str) -> Line:
    """People's labels, and the model's calls elsewhere; no interval, as nobody knows how right."""
    basis = "people+model"
    if sampling == "selected":
        return Line("mixed", basis, reason="selected")
    if not (here & (label > 0)).any():
        return Line("mixed", basis, reason="no-labels")
    if (here & ~table.scored).any():
        return Line("mixed", basis, reason="not-scored")
    if _mostly(table.ood & (label == 0), here):
        return Line("mixed", basis, reason="mostly-ood")
    said = np.where(label > 0, label, table.called)
    blasts, normal = (int((here & (said == CODES[name])).sum()) for name in ("A", "N"))
    if blasts + normal < FEWEST:
        return Line("mixed", basis, of=blasts + normal, reason="few-cells")
    of = blasts + normal
    return Line("mixed", basis, blasts / of, of=of, blasts=blasts)


def _counted(table: CellTable, label: NDArray[np.int8], here: Bools, sampling: str) -> Line:
    left = here & (label == 0)
    sampled = table.sample_size is not None and bool(left.any())
    basis = "sample" if sampled else "all"
    if sampling == "selected":
        return Line("counted", basis, reason="selected")
    if sampled:
        here = here & table.in_sample
        missing = int((here & (label == 0)).sum())
        if missing:
            return Line("counted", basis, reason="sample-incomplete", left=missing)
    elif left.any():
        return Line("counted", basis, reason="not-a-sample", left=int(left.sum()))
    blasts, normal, unsure = (int((here & (label == CODES[name])).sum()) for name in "ANU")
    of = blasts + normal
    if of < FEWEST:
        return Line("counted", basis, of=of, blasts=blasts, reason="few-cells")
    low, high = clopper_pearson(blasts, of)
    whole = of + unsure
    unsure_are = (blasts / whole, (blasts + unsure) / whole) if unsure else None
    return Line(
        "counted", basis, blasts / of, low, high, of, blasts, against(low, high),
        share_if_unsure_are=unsure_are,
    )  # fmt: skip
