"""Means over a study's cells with intervals by subject; cells without a figure are left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.evaluate.bootstrap import (
    FEW_SUBJECTS,
    Resampling,
    percentile_interval,
    resampling,
)
from blastscope.evaluate.intervals import Estimate

Floats = NDArray[np.float64]

RESAMPLES = 2000
FEWEST = 5
"""A mean over fewer cells than this is given without an interval, and judged by nobody."""


@dataclass(frozen=True)
class Rows:
    """Some cells of one model of a study.

    Attributes:
        frame: rows of ``study.parquet``.
        seed: of the resamples; the same for every model, so that models see the same draws.
    """

    frame: pl.DataFrame
    seed: int = 24

    @cached_property
    def draws(self) -> Resampling:
        """The resamples of these cells."""
        return plan_draws(self.frame["label"].to_list(), self.frame["subject"].to_list(), self.seed)

    @property
    def labelled(self) -> Rows:
        """The cells whose label is known."""
        if not self.frame["label"].null_count():
            return self
        return Rows(self.frame.filter(pl.col("label").is_not_null()), self.seed)

    @property
    def is_all(self) -> NDArray[np.bool_]:
        """Which cells are labelled ALL, shape (cells,)."""
        return np.asarray((self.frame["label"] == "all").fill_null(False).to_numpy(), np.bool_)

    def column(self, name: str) -> Floats:
        """Return a column, shape (cells,); NaN where it is null."""
        return self.frame[name].cast(pl.Float64).fill_null(math.nan).to_numpy()

    def lists(self, name: str) -> Floats:
        """Return a column of lists, shape (cells, length); NaN where a list or a number is null.

        Raises:
            ValueError: where the lists are of different lengths.
        """
        return stacked(self.frame[name].to_list())

    def estimate(self, values: Floats) -> Estimate:
        """Return the mean of the values (cells,) that are known, with its interval."""
        return self.estimates(values[:, None])[0]

    def estimates(self, values: Floats) -> tuple[Estimate, ...]:
        """Return the mean of each column of values (cells, columns), with its interval."""
        return with_intervals(means(values), resampled_means(values, self.draws))


def plan_draws(
    labels: Sequence[str | None], subjects: Sequence[str | None], seed: int
) -> Resampling:
    """Plan resamples by subject within each class; whatever their class where one has no label."""
    unlabelled = sum(label is None for label in labels)
    is_all = np.array([label == "all" and not unlabelled for label in labels], np.bool_)
    draws = resampling(is_all, subjects, RESAMPLES, seed)
    if not unlabelled:
        return draws
    n = len(labels)
    why = "no cell has a label"
    if unlabelled < n:
        why = f"{unlabelled:,} of the {n:,} cells {'has' if unlabelled == 1 else 'have'} no label"
    return replace(draws, sentence=_whatever_class(draws, why))


def _whatever_class(draws: Resampling, why: str) -> str:
    """Say what was drawn, and what is not in the intervals, as ``compare.bootstrap`` does."""
    start = f"{RESAMPLES:,} resamples of the"
    end = f"whatever their class, because {why}."
    if draws.unit == "cell":
        return (
            f"{start} cells, {end} Subjects are not known either: how persons differ is not in "
            "these intervals, which are too narrow for it."
        )
    if draws.fewest == 1:
        return (
            f"{start} cells, {end} They are all of one subject: how persons differ is not in the "
            "intervals, which are too narrow for it."
        )
    said = f"{start} {draws.fewest} subjects, each with all its cells; {end}"
    if draws.fewest is not None and draws.fewest <= FEW_SUBJECTS:
        said += " From so few the intervals come out too narrow."
    return said


def stacked(lists: Sequence[Sequence[float | None] | None]) -> Floats:
    """Stack lists of one length as rows; NaN for what is None, (rows, 0) where all of it is.

    Raises:
        ValueError: where the lists are of different lengths.
    """
    widths = {len(row) for row in lists if row is not None}
    if len(widths) > 1:
        raise ValueError(f"lists of different lengths: {sorted(widths)}")
    found = np.full((len(lists), widths.pop() if widths else 0), np.nan)
    for place, row in enumerate(lists):
        if row is not None:
            found[place] = [math.nan if value is None else value for value in row]
    return found


def means(values: Floats) -> Floats:
    """Return the mean of what is known of each column; NaN where nothing is."""
    known = ~np.isnan(values)
    return _divided(np.where(known, values, 0).sum(axis=0), known.sum(axis=0))


def resampled_means(values: Floats, draws: Resampling) -> Floats:
    """Return the same of every resample.

    Args:
        values: shape (cells, columns); NaN where a cell has no figure.
        draws: of the same cells.

    Returns:
        Shape (resamples, columns); NaN throughout where fewer than ``FEWEST`` cells have a figure.
    """
    known = ~np.isnan(values)
    marked = np.hstack([np.where(known, values, 0), known.astype(np.float64)])
    sums = np.concatenate([weights.astype(np.float64) @ marked for weights in draws.chunks()])
    above, below = np.hsplit(sums, 2)
    found = _divided(above, below)
    found[:, known.sum(axis=0) < FEWEST] = np.nan
    return found


def with_intervals(values: Floats, resampled: Floats) -> tuple[Estimate, ...]:
    """Put figures (columns,) together with the intervals of their resamples (resamples, columns).

    The resamples of an undefined figure are not looked at.
    """
    low, high = percentile_interval(resampled)
    return tuple(
        Estimate(float(value), float(below), float(above))
        for value, below, above in zip(values, low, high, strict=True)
    )


def ratio(above: Floats, below: Floats, draws: Resampling) -> Estimate:
    """Return the ratio of two means over the cells that have both figures; NaN where it is 0/0."""
    both = np.isnan(above) | np.isnan(below)
    pair = np.where(both[:, None], np.nan, np.column_stack([above, below]))
    value, drawn = means(pair), resampled_means(pair, draws)
    return with_intervals(_divided(value[:1], value[1:]), _divided(drawn[:, :1], drawn[:, 1:]))[0]


def _divided(above: Floats, below: Floats | NDArray[np.int64]) -> Floats:
    found = np.full(above.shape, np.nan)
    np.divide(above, below, out=found, where=np.asarray(below) > 0)
    return found
