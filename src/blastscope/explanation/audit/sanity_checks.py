"""Whether a map follows the weights: what is left of it as they are scrambled, from the head down.

The test is that of J. Adebayo and others, Sanity checks for saliency maps (NeurIPS 2018): a map
that stays what it was when the network has forgotten all it learned cannot show what it learned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from blastscope.evaluation.confidence_intervals import Estimate
from blastscope.explanation.audit.means import FEWEST, Rows, means
from blastscope.explanation.audit.words import change, figure

BETWEEN = -1
"""The stage of the rows that hold a cell's map against another cell's."""
HALF = 0.5
"""A map that keeps half of its likeness, beyond that of two cells, does not follow the weights; and
one whose correlation with what it was is still above this has not changed enough to say so."""
ALIKE = 0.8
"""Where the maps of two cells are as alike as this, a map that stays as alike as they are has had
no room to become another. One that ends clearly less alike has changed all the same."""
MOSTLY_ONE = 0.5
"""Where the maps of two cells are as alike as this, they are mostly one pattern, and not to exceed
their likeness is easy."""

FOLLOWS, IN_PART = "follows the weights", "follows the weights in part"
STAYS, UNTOLD = "does not follow the weights", "cannot be told"


@dataclass(frozen=True)
class Stage:
    """The mean |correlation| with the trained network's maps; NaN where no cell has one.

    Attributes:
        stage: 0 as trained, then a further group of layers scrambled each.
        layer: the group's name.
        cells: how many have a map to compare.
        correlation: the mean of |Spearman's correlation|, over a cell's scrambles and then over
            the cells.
    """

    stage: int
    layer: str
    cells: int
    correlation: float


@dataclass(frozen=True)
class Randomised:
    """The randomisation test of one model.

    Attributes:
        stages: from the trained network to one with all its weights scrambled.
        between: the same between the trained network's maps of different cells.
        excess: what the last stage has beyond that, cell by cell.
        kept: that excess as a share of the way from ``between`` to 1; NaN where undefined.
        drawn: the last stage's mean of each scramble by itself.
        verdict: in a few words.
        sentence: the verdict with its reasons.
    """

    stages: tuple[Stage, ...]
    between: Stage
    excess: Estimate
    kept: float
    drawn: tuple[float, ...]
    verdict: str
    sentence: str

    @property
    def easy(self) -> bool:
        """Whether the maps of different cells are so alike that the test is easy to pass."""
        return self.between.correlation >= MOSTLY_ONE


def judge_randomisation(randomisation: pl.DataFrame, cells: Rows) -> Randomised | None:
    """Sum up one model's rows of ``randomisation.parquet``; None without any.

    Args:
        randomisation: the model's rows.
        cells: the model's rows of the study, which say whose the cells are.
    """
    steps = sorted(set(randomisation["stage"]) - {BETWEEN})
    if not steps:
        return None
    by_cell = _by_cell(randomisation)
    stages = tuple(_stage(by_cell, step) for step in steps)
    between = _stage(by_cell, BETWEEN)
    sample = _paired(by_cell, steps[-1], cells)
    excess = sample.estimate(sample.column("last") - sample.column("between"))
    room = 1 - between.correlation
    kept = excess.value / room if room > 0 else math.nan
    drawn = _of_draws(randomisation.filter(pl.col("stage") == steps[-1]))
    verdict, why = _judged(stages[-1], between, excess)
    if between.correlation >= MOSTLY_ONE and verdict != UNTOLD:
        why += (
            " The maps of different cells are much alike here, mostly one pattern, so that this "
            "test is easy to pass."
        )
    if len(drawn) > 1:
        why += _spread(drawn, sample.draws.unit)
    return Randomised(stages, between, excess, kept, drawn, verdict, why)


def _by_cell(rows: pl.DataFrame) -> pl.DataFrame:
    """Average |correlation| over the draws: a row a stage and cell, null where no draw has one."""
    mean = pl.col("correlation").fill_nan(None).abs().mean()
    # sorted, because sums in another order differ by a hair
    ordered = rows.sort("stage", "cell", "draw")
    return ordered.group_by("stage", "layer", "cell", maintain_order=True).agg(mean)


def _stage(by_cell: pl.DataFrame, stage: int) -> Stage:
    mine = by_cell.filter(pl.col("stage") == stage)
    values = mine["correlation"].drop_nulls().to_numpy()
    layer = str(mine["layer"][0]) if mine.height else ""
    return Stage(stage, layer, len(values), float(means(values[:, None])[0]))


def _paired(by_cell: pl.DataFrame, last: int, cells: Rows) -> Rows:
    """Put each cell's |correlation| at the last stage beside that with another cell's map."""
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


def _spread(drawn: tuple[float, ...], unit: str) -> str:
    low, high = figure(min(drawn)), figure(max(drawn))
    return (
        f" Each of {len(drawn)} scrambles by itself ends between {low} and {high}; the interval is "
        f"over {unit}s, not over scrambles."
    )


def _judged(last: Stage, between: Stage, excess: Estimate) -> tuple[str, str]:
    """Return the verdict and a sentence.

    That a map follows the weights is said only where the interval also leaves out that it keeps
    half, for a wide interval around zero tells nothing; and where it has changed in itself: where
    the maps of two cells are alike, to be no more alike than they are is easy.
    """
    if np.isnan(excess.low):
        return UNTOLD, (
            f"Whether the map follows the weights cannot be told: fewer than {FEWEST} cells have a "
            "map that is not flat once all weights are scrambled."
        )
    levels = (
        "with all weights scrambled its mean |correlation| with the trained network's map is "
        f"{last.correlation:.2f}, that between different cells' maps {between.correlation:.2f} "
        f"(difference {change(excess)})"
    )
    if between.correlation >= ALIKE and not excess.negated().above_zero:
        return UNTOLD, (
            f"Whether the map follows the weights cannot be told: {levels}; the maps of different "
            "cells are so alike that a map has no room to change."
        )
    less = excess.negated().above_zero
    half = HALF * (1 - between.correlation)
    if excess.above_zero:
        unlearned = (
            "that much of it comes from the picture and the layers' build, and not from what was "
            "learned"
        )
        if excess.value < half:
            return IN_PART, f"The map follows the weights in part: {levels}; {unlearned}."
        return STAYS, f"The map does not follow the weights: {levels}; {unlearned}."
    if last.correlation > HALF:
        return UNTOLD, (
            f"Whether the map follows the weights cannot be told: {levels}; it is "
            f"{'clearly less' if less else 'no more'} alike than two cells' maps are, but those "
            "are alike, and it has changed little."
        )
    if excess.high <= half:
        return FOLLOWS, (
            f"The map follows the weights: {levels}; it is "
            f"{'clearly less' if less else 'not clearly more'} alike than two cells' maps are."
        )
    return UNTOLD, (
        f"Whether the map follows the weights cannot be told from {last.cells} cells: {levels}."
    )
