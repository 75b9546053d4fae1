"""The rows of a prediction table of new images, those that cannot be used among them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from blastscope.prediction.predictor import Answer, Prepared

SCHEMA = {
    "file": pl.String(),
    "cell": pl.String(),
    "subject": pl.String(),
    "label": pl.String(),
    "part": pl.String(),
    "model": pl.String(),
    "p_all": pl.Float64(),
    "ood_score": pl.Float64(),
    "out_of_distribution": pl.Boolean(),
    "flags": pl.String(),
    "problem": pl.String(),
}
"""The columns before anything is decided; ``spread`` comes before ``problem`` where asked for."""
NEW = "test"
"""The part that new cells are said to be of."""


@dataclass(frozen=True)
class PredictionRow:
    """An image: what it is called, why it cannot be used, if so, and what its looks tell."""

    file: str
    cell: str
    subject: str | None
    label: str | None
    problem: str | None = None
    flags: tuple[str, ...] = ()
    ood: float = math.nan


def rows_frame(
    rows: Sequence[PredictionRow], answer: Answer | None, model: str, *, spread: bool = False
) -> pl.DataFrame:
    """Make a table of rows, in their order.

    Args:
        rows: of images.
        answer: what the networks said of those without a problem; None where there are none.
        model: the name of what answered.
        spread: whether there is a column for it.
    """
    usable = [k for k, row in enumerate(rows) if row.problem is None]

    def placed(values: np.ndarray | None) -> list[float | None]:
        told = [] if values is None else values.tolist()
        known = dict(zip(usable, told, strict=True))
        return [known.get(k) for k in range(len(rows))]

    # Lists: of so few rows they cost a fraction of what expressions do.
    ood = [None if math.isnan(row.ood) else row.ood for row in rows]
    names = ("file", "cell", "subject", "label")
    columns = {
        **{name: [getattr(row, name) for row in rows] for name in names},
        "part": [NEW] * len(rows),
        "model": [model] * len(rows),
        "p_all": placed(answer.p_all if answer else None),
        "ood_score": ood,
        "out_of_distribution": [None if value is None else value > 1 for value in ood],
        "flags": [",".join(row.flags) or None for row in rows],
    }
    if spread:
        columns["spread"] = placed(answer.spread if answer else None)
    columns["problem"] = [row.problem for row in rows]
    return pl.DataFrame(columns, {name: SCHEMA.get(name, pl.Float64()) for name in columns})


def stacked(prepared: Sequence[Prepared]) -> Prepared:
    """Stack single prepared cells, (S, S, 3) each, into batches (N, S, S, 3)."""
    ways = prepared[0].keys() if prepared else ()
    return {way: np.stack([one[way] for one in prepared]) for way in ways}
