"""Metrics with their 95 % intervals: subjects are drawn, because the cells of one are alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from blastscope.evaluation.bca import corrected_interval, leave_out
from blastscope.evaluation.bootstrap import Resampling, SamplingUnits, resampling
from blastscope.evaluation.weighted_metrics import METRICS, WeightedMetrics
from blastscope.io.json_objects import NumberOrNull

Floats = NDArray[np.float64]
_MOST_WEIGHTS = 2**22  # of units left out, at a time: more would fill the memory with many cells


@dataclass(frozen=True)
class Estimate:
    """A metric and its 95 % interval; NaN if a class is absent."""

    value: NumberOrNull
    low: NumberOrNull
    high: NumberOrNull

    @property
    def known(self) -> bool:
        """Whether the metric is defined."""
        return not math.isnan(self.value)

    @property
    def above_zero(self) -> bool:
        """Whether the whole interval lies above zero, by as much as four places can show."""
        return self.low >= 0.00005

    def negated(self) -> Estimate:
        """The same difference, seen from the other model."""
        return Estimate(-self.value, -self.high, -self.low)


@dataclass(frozen=True)
class BootstrapDraws:
    """Metrics of all cells, of each resample and with each unit left out: an interval's makings.

    Attributes:
        value: of all cells, shape (1, ...).
        resamples: shape (resamples, ...); NaN if a metric is undefined.
        left_out: with each unit (a subject, or a cell if cells are drawn) left out, shape (units,
            ...).
        strata: the stratum of each unit, shape (units,).
        fewest: drawn units of the stratum that has the fewest.
    """

    value: Floats
    resamples: Floats
    left_out: Floats
    strata: NDArray[np.intp]
    fewest: int

    def of(self, function: Callable[[Floats], Floats]) -> BootstrapDraws:
        """Make other metrics of these, row by row; a difference's interval is then paired."""
        value, resamples, left_out = map(function, (self.value, self.resamples, self.left_out))
        return replace(self, value=value, resamples=resamples, left_out=left_out)

    def minus(self, other: BootstrapDraws) -> BootstrapDraws:
        """Return these metrics minus others of the same draws, whose interval is then paired."""
        return replace(
            self,
            value=self.value - other.value,
            resamples=self.resamples - other.resamples,
            left_out=self.left_out - other.left_out,
        )

    def estimates(self) -> tuple[Estimate, ...]:
        """Each metric, in the order of the axes, with its corrected 95 % interval."""
        bounds = corrected_interval(
            self.value[0], self.resamples, self.left_out, self.strata, self.fewest
        )
        columns = (np.ravel(column).tolist() for column in (self.value[0], *bounds))
        return tuple(Estimate(*metrics) for metrics in zip(*columns, strict=True))


def draw(metrics_of: Callable[[NDArray[np.uint16]], Floats], draws: Resampling) -> BootstrapDraws:
    """Compute metrics of all cells, of every resample and with each unit left out.

    ``metrics_of`` maps weights (rows, cells) to metrics (rows, ...), as ``WeightedMetrics.of``.
    """
    without, strata = leave_out(draws)
    blocks = np.array_split(without, 1 + without.size // _MOST_WEIGHTS)
    return BootstrapDraws(
        value=metrics_of(np.ones((1, draws.cells), np.uint16)),
        resamples=np.concatenate([metrics_of(weights) for weights in draws.chunks()]),
        left_out=np.concatenate([metrics_of(weights) for weights in blocks]),
        strata=strata,
        fewest=draws.units,
    )


@dataclass(frozen=True)
class Intervals:
    """The intervals of every metric of one part.

    Attributes:
        bounds: by metric (``weighted_metrics.METRICS``); one that is undefined has none.
        sampling: what was drawn, and how many of each class.
    """

    bounds: dict[str, tuple[float, float]]
    sampling: SamplingUnits


def intervals(
    is_all: NDArray[np.bool_],
    p_all: NDArray[np.float64],
    subjects: Sequence[str | None],
    resamples: int = 2000,
    seed: int = 24,
) -> Intervals:
    """Draw subjects, with all their cells, and compute every metric of each draw.

    If a cell names no subject, cells are drawn instead. All arrays have shape (cells,).
    """
    draws = resampling(is_all, subjects, resamples, seed)
    found = draw(WeightedMetrics(is_all, p_all[:, None]).of, draws).estimates()
    bounds = {
        name: (estimate.low, estimate.high)
        for name, estimate in zip(METRICS, found, strict=True)
        if not math.isnan(estimate.low)
    }
    return Intervals(bounds, draws.sampling)
