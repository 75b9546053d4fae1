"""Means over a study's cells with intervals by subject; cells without a figure are left out."""

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
from blastscope.evaluation.few_subjects import FEW_SUBJECTS, held

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
        return drawn_means(values, self.draws).estimates()


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
        said += f" They are few: {held(draws.fewest)}."
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


def drawn_means(values: Floats, draws: Resampling) -> BootstrapDraws:
    """Return the mean of what is known of each column, for all cells and every resample.

    Args:
        values: shape (cells, columns); NaN where a cell has no figure.
        draws: of the same cells.

    Returns:
        Figures of shape (rows, columns); those of the resamples are NaN throughout, which leaves
        the mean without an interval, where fewer than ``FEWEST`` cells have a figure.
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
    """Return the ratio of two means over the cells that have both figures; NaN where it is 0/0."""
    both = np.isnan(above) | np.isnan(below)
    pair = np.where(both[:, None], np.nan, np.column_stack([above, below]))
    parts = drawn_means(pair, draws).of(lambda found: _divided(found[:, 0], found[:, 1]))
    return parts.estimates()[0]


def _divided(above: Floats, below: Floats | NDArray[np.int64]) -> Floats:
    found = np.full(above.shape, np.nan)
    np.divide(above, below, out=found, where=np.asarray(below) > 0)
    return found
