"""Figures with their 95 % intervals: subjects are drawn, because the cells of one are alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blastscope.evaluate.bootstrap import resampling
from blastscope.evaluate.corrected import corrected_figures, told
from blastscope.evaluate.resampled import FIGURES, WeightedFigures


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval; NaN where a class is absent."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether the figure is defined."""
        return not math.isnan(self.value)

    @property
    def above_zero(self) -> bool:
        """Whether the whole interval lies above zero, by as much as four places can show."""
        return self.low >= 0.00005

    def negated(self) -> Estimate:
        """The same difference, seen from the other model."""
        return Estimate(-self.value, -self.high, -self.low)


@dataclass(frozen=True)
class Intervals:
    """The intervals of every figure of one part.

    Attributes:
        bounds: by figure (``resampled.FIGURES``); a figure that is undefined has none.
        sentence: what was drawn, how many of each class, and what is not in the intervals.
    """

    bounds: dict[str, tuple[float, float]]
    sentence: str


def intervals(
    is_all: NDArray[np.bool_],
    p_all: NDArray[np.float64],
    subjects: Sequence[str | None],
    resamples: int = 2000,
    seed: int = 24,
) -> Intervals:
    """Draw subjects, with all their cells, and compute every figure of each draw.

    Where subjects are not known cells are drawn instead, and the sentence says what is missing.

    Args:
        is_all: truth, shape (n,).
        p_all: probability of ALL, shape (n,).
        subjects: each cell's subject; None where unknown.
        resamples: how many times to draw.
        seed: of the draws.
    """
    draws = resampling(is_all, subjects, resamples, seed)
    figures = WeightedFigures(is_all, p_all[:, None])
    _, low, high = corrected_figures(draws, lambda weights: figures.of(weights)[:, 0])
    bounds = {
        name: (float(low[at]), float(high[at]))
        for at, name in enumerate(FIGURES)
        if not math.isnan(low[at])
    }
    return Intervals(bounds, told(draws))
