"""Judge the randomization test: does a map change when the weights are randomized?

The test is that of J. Adebayo and others, Sanity checks for saliency maps (NeurIPS 2018): a map
that stays the same when the network has lost all that it learned cannot show what it learned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import polars as pl

from blastscope.evaluation.confidence_intervals import Estimate
from blastscope.explanation.audit.rows import Rows, means

BETWEEN = -1
"""The stage of the rows that compare a cell's map with another cell's."""
HALF = 0.5
"""A map that keeps half of its similarity, beyond that of two cells, does not follow the weights;
and a map whose correlation with the original is still above this has not changed enough to say."""
ALIKE = 0.8
"""If the maps of two cells are as similar as this, a map that stays as similar has had no room to
change. A map that ends clearly less similar has changed all the same."""
MOSTLY_ONE = 0.5
"""If the maps of two cells are as similar as this, they are mostly one pattern, and the test is
easy to pass."""


class WeightsVerdict(StrEnum):
    """Whether a map follows the weights."""

    FOLLOWS = "follows"
    IN_PART = "in-part"
    STAYS = "does-not-follow"
    UNDECIDED = "undecided"


class Undecided(StrEnum):
    """Why the randomization test has no verdict."""

    TOO_FEW_CELLS = "too-few-cells"
    MAPS_ALIKE = "maps-alike"
    LITTLE_CHANGE = "little-change"
    WIDE_INTERVAL = "wide-interval"


@dataclass(frozen=True)
class Stage:
    """The mean |correlation| with the maps of the trained network; NaN if no cell has one."""

    stage: int  # 0 as trained; each further stage randomizes one more group of layers
    layer: str  # the group's name
    cells: int  # how many have a map to compare
    # The mean of |Spearman's correlation|, over the draws of a cell and then over the cells.
    correlation: float


@dataclass(frozen=True)
class Randomized:
    """The randomization test of one model."""

    stages: tuple[Stage, ...]  # from the trained network to one with all its weights randomized
    between: Stage  # the same between the trained network's maps of different cells
    excess: Estimate  # the last stage minus ``between``, cell by cell
    kept: float  # that excess as a share of the way from ``between`` to 1; NaN if undefined
    drawn: tuple[float, ...]  # the mean of the last stage, one per draw of random weights
    unit: str  # what the interval of ``excess`` is over: ``subject`` or ``cell``
    verdict: WeightsVerdict  # whether the map follows the weights
    undecided: Undecided | None  # why the verdict is undecided; None if it is not

    @property
    def easy(self) -> bool:
        """Whether the maps of different cells are so similar that the test is easy to pass."""
        return self.between.correlation >= MOSTLY_ONE


def judge_randomization(randomization: pl.DataFrame, cells: Rows) -> Randomized | None:
    """Sum up one model's rows of ``randomization.parquet``; None without any.

    ``cells`` are the model's rows in the audit, which give the subjects of the cells.
    """
    steps = sorted(set(randomization["stage"]) - {BETWEEN})
    if not steps:
        return None
    by_cell = _by_cell(randomization)
    stages = tuple(_stage(by_cell, step) for step in steps)
    between = _stage(by_cell, BETWEEN)
    sample = _paired(by_cell, steps[-1], cells)
    excess = sample.estimate(sample.column("last") - sample.column("between"))
    room = 1 - between.correlation
    kept = excess.value / room if room > 0 else math.nan
    drawn = _of_draws(randomization.filter(pl.col("stage") == steps[-1]))
    verdict, undecided = _judge(stages[-1], between, excess)
    unit = sample.draws.sampling.unit
    return Randomized(stages, between, excess, kept, drawn, unit, verdict, undecided)


def _by_cell(rows: pl.DataFrame) -> pl.DataFrame:
    """Average |correlation| over the draws: a row per stage and cell, null if no draw has one."""
    mean = pl.col("correlation").fill_nan(None).abs().mean()
    # sorted, because sums in another order differ in the last digit
    ordered = rows.sort("stage", "cell", "draw")
    return ordered.group_by("stage", "layer", "cell", maintain_order=True).agg(mean)


def _stage(by_cell: pl.DataFrame, stage: int) -> Stage:
    mine = by_cell.filter(pl.col("stage") == stage)
    values = mine["correlation"].drop_nulls().to_numpy()
    layer = str(mine["layer"][0]) if mine.height else ""
    return Stage(stage, layer, len(values), float(means(values[:, None])[0]))


def _paired(by_cell: pl.DataFrame, last: int, cells: Rows) -> Rows:
    """Pair each cell's |correlation| at the last stage with that to another cell's map."""
    ends, between = (
        by_cell.filter(pl.col("stage") == stage).select("cell", pl.col("correlation").alias(name))
        for stage, name in ((last, "last"), (BETWEEN, "between"))
    )
    known = cells.frame.select("cell", "label", "subject")
    paired = ends.join(between, on="cell", how="left", maintain_order="left")
    return Rows(paired.join(known, on="cell", how="left", maintain_order="left"), cells.seed)


def _of_draws(rows: pl.DataFrame) -> tuple[float, ...]:
    """Return the mean |correlation| of each draw; a draw without any is left out."""
    found = rows.with_columns(pl.col("correlation").fill_nan(None).abs()).sort("draw", "cell")
    mean = found.group_by("draw", maintain_order=True).agg(pl.col("correlation").mean())
    return tuple(mean["correlation"].drop_nulls().to_list())


def _judge(
    last: Stage, between: Stage, excess: Estimate
) -> tuple[WeightsVerdict, Undecided | None]:
    """Return the verdict, and the reason if there is none.

    A map follows the weights only if the interval also excludes that it keeps half, because a wide
    interval around zero decides nothing; and only if it has changed in itself: if the maps of two
    cells are similar, to be no more similar than they are is easy.
    """
    undecided = WeightsVerdict.UNDECIDED
    if np.isnan(excess.low):
        return undecided, Undecided.TOO_FEW_CELLS
    if between.correlation >= ALIKE and not excess.negated().above_zero:
        return undecided, Undecided.MAPS_ALIKE
    half = HALF * (1 - between.correlation)
    if excess.above_zero:
        part = excess.value < half
        return WeightsVerdict.IN_PART if part else WeightsVerdict.STAYS, None
    if last.correlation > HALF:
        return undecided, Undecided.LITTLE_CHANGE
    if excess.high <= half:
        return WeightsVerdict.FOLLOWS, None
    return undecided, Undecided.WIDE_INTERVAL
