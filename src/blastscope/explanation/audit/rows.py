"""Average over the cells of an audit, with confidence intervals by subject."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.evaluation.bootstrap import Resampling, resampling
from blastscope.evaluation.confidence_intervals import BootstrapDraws, Estimate, draw

Floats = NDArray[np.float64]

RESAMPLES = 2000
FEWEST = 5
"""A mean of fewer cells than this has no interval, and no verdict."""
CHANCE = 0.5
"""The AUC of guessing."""


@dataclass(frozen=True)
class Rows:
    """Cells of one model of an audit."""

    frame: pl.DataFrame  # rows of ``audit.parquet``
    seed: int = 24  # of the resamples; the same for every model, so that their draws are paired

    @cached_property
    def draws(self) -> Resampling:
        """The resamples of these cells."""
        return plan_draws(self.frame["label"].to_list(), self.frame["subject"].to_list(), self.seed)

    @property
    def labelled(self) -> Rows:
        """The cells that have a label."""
        if not self.frame["label"].null_count():
            return self
        return Rows(self.frame.filter(pl.col("label").is_not_null()), self.seed)

    @property
    def is_all(self) -> NDArray[np.bool_]:
        """Which cells are labelled ALL, shape (cells,)."""
        return np.asarray((self.frame["label"] == "all").fill_null(False).to_numpy(), np.bool_)

    def column(self, name: str) -> Floats:
        """Return a column, shape (cells,); NaN for null."""
        return self.frame[name].cast(pl.Float64).fill_null(math.nan).to_numpy()

    def lists(self, name: str) -> Floats:
        """Return a column of lists, shape (cells, length); NaN for a list or a number that is null.

        Raises:
            ValueError: if the lists are of different lengths.
        """
        return stacked(self.frame[name].to_list())

    def estimate(self, values: Floats) -> Estimate:
        """Return the mean of the known values of (cells,), with its interval."""
        return self.estimates(values[:, None])[0]

    def estimates(self, values: Floats) -> tuple[Estimate, ...]:
        """Return the mean of each column of values (cells, columns), with its interval."""
        return drawn_means(values, self.draws).estimates()


def plan_draws(
    labels: Sequence[str | None], subjects: Sequence[str | None], seed: int
) -> Resampling:
    """Plan resamples by subject within each class; regardless of class if a cell has no label."""
    unlabelled = any(label is None for label in labels)
    is_all = np.array([label == "all" and not unlabelled for label in labels], np.bool_)
    return resampling(is_all, subjects, RESAMPLES, seed)


def stacked(lists: Sequence[Sequence[float | None] | None]) -> Floats:
    """Stack lists of one length as rows; NaN for None, (rows, 0) if every list is None.

    Raises:
        ValueError: if the lists are of different lengths.
    """
    widths = {len(row) for row in lists if row is not None}
    if len(widths) > 1:
        raise ValueError(f"lists of different lengths: {sorted(widths)}")
    found = np.full((len(lists), widths.pop() if widths else 0), np.nan)
    for k, row in enumerate(lists):
        if row is not None:
            found[k] = [math.nan if value is None else value for value in row]
    return found


def means(values: Floats) -> Floats:
    """Return the mean of the known values of each column; NaN if there is none."""
    known = ~np.isnan(values)
    return _divided(np.where(known, values, 0).sum(axis=0), known.sum(axis=0))


def drawn_means(values: Floats, draws: Resampling) -> BootstrapDraws:
    """Return the mean of the known values of each column, for all cells and every resample.

    ``values`` are of shape (cells, columns), NaN if a cell has no value; the means of shape (rows,
    columns). If fewer than ``FEWEST`` cells have a value, those of the resamples are NaN, and the
    mean has no interval.
    """
    known = ~np.isnan(values)
    marked = np.hstack([np.where(known, values, 0), known.astype(np.float64)])

    def of(weights: NDArray[np.uint16]) -> Floats:
        above, below = np.hsplit(weights.astype(np.float64) @ marked, 2)
        return _divided(above, below)

    found = draw(of, draws)
    enough = known.sum(axis=0) >= FEWEST
    return replace(found, resamples=np.where(enough, found.resamples, np.nan))


def ratio(above: Floats, below: Floats, draws: Resampling) -> Estimate:
    """Return the ratio of two means over the cells that have both values; NaN for 0/0."""
    both = np.isnan(above) | np.isnan(below)
    pair = np.where(both[:, None], np.nan, np.column_stack([above, below]))
    parts = drawn_means(pair, draws).of(lambda found: _divided(found[:, 0], found[:, 1]))
    return parts.estimates()[0]


def _divided(above: Floats, below: Floats | NDArray[np.int64]) -> Floats:
    found = np.full(above.shape, np.nan)
    np.divide(above, below, out=found, where=np.asarray(below) > 0)
    return found
