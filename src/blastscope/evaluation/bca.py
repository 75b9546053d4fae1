"""Bootstrap intervals that contain the true value as often as promised, from forty subjects on.

Plain percentile intervals are too narrow with few subjects and off-centre if a metric is skewed.
Here their ends are moved twice: for bias and skewness (BC_a: Efron, Journal of the American
Statistical Association 82:171-185, 1987; acceleration for several strata after Davison and Hinkley,
Bootstrap Methods and their Application, 1997, section 5.3), and for the number of subjects (the
expanded percentiles of Hesterberg, The American Statistician 69:371-386, 2015).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from blastscope.evaluation.bootstrap import Resampling

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
"""The level of confidence of the intervals."""
_MOST_UNITS = 200
"""Of a stratum; more are left out by the handful: the skewness does not need each one."""


def leave_out(draws: Resampling) -> tuple[NDArray[np.uint16], NDArray[np.intp]]:
    """Leave each drawn unit (a subject, or a cell if cells are drawn) out once.

    Returns:
        Weights, 0 or 1, shape (units, cells), and the stratum of each unit, shape (units,).
    """
    every: list[NDArray[np.intp]] = []
    strata: list[int] = []
    for stratum, groups in enumerate(draws.strata):
        units = list(groups) if len(groups) > 1 else [np.array([cell]) for cell in groups[0]]
        if len(units) > _MOST_UNITS:
            order = np.random.default_rng(draws.seed).permutation(len(units))
            some = np.array_split(order, _MOST_UNITS)
            units = [np.concatenate([units[k] for k in handful]) for handful in some]
        every += units
        strata += [stratum] * len(units)
    weights = np.ones((len(every), draws.cells), np.uint16)
    for row, unit in zip(weights, every, strict=True):
        row[unit] = 0
    return weights, np.array(strata, np.intp)


def corrected_interval(
    value: Floats, drawn: Floats, left_out: Floats, strata: NDArray[np.intp], fewest: int
) -> tuple[Floats, Floats]:
    """The 95 % interval of each metric.

    Args:
        value: the metrics of all cells, shape (...).
        drawn: those of the resamples, shape (resamples, ...); one that is undefined is left out of
            its interval.
        left_out: those with each unit left out, shape (units, ...).
        strata: the stratum of each unit, shape (units,).
        fewest: drawn units of the stratum that has the fewest.

    Returns:
        The lower and the upper bounds, of the shape of ``value``; NaN if a metric is undefined.
    """
    shape = value.shape
    bounds = np.full((2, value.size), np.nan)
    columns = (value.ravel(), drawn.reshape(len(drawn), -1).T, left_out.reshape(len(strata), -1).T)
    for at, (metric, draws, without) in enumerate(zip(*columns, strict=True)):
        known = draws[~np.isnan(draws)]
        if known.size and not math.isnan(metric):
            shares = _shares(metric, known, _acceleration(without, strata), fewest)
            bounds[:, at] = np.quantile(known, shares)
    low, high = bounds.reshape(2, *shape)
    return low, high


def _shares(metric: float, drawn: Floats, acceleration: float, fewest: int) -> list[float]:
    """Return which shares of the resamples lie below the interval's two ends."""
    reach = -_expanded(fewest)
    level = np.isclose(drawn, metric, rtol=1e-12, atol=1e-12)  # but for the rounding of sums
    below = (drawn < metric) & ~level
    edge = 0.5 / len(drawn)
    share = below.mean() + level.mean() / 2  # a draw that equals the metric lies on neither side
    bias = float(norm.ppf(np.clip(share, edge, 1 - edge)))
    ends = []
    for end in (-reach, reach):
        at = bias + end
        ends.append(float(norm.cdf(bias + at / max(1 - acceleration * at, 1e-3))))
    return ends


def _expanded(fewest: int) -> float:
    """Return the lower end, in standard deviations, as Student's t has it for so few units."""
    if fewest < 2:
        return float(norm.ppf((1 - CONFIDENCE) / 2))
    return float(math.sqrt(fewest / (fewest - 1)) * t.ppf((1 - CONFIDENCE) / 2, fewest - 1))


def _acceleration(without: Floats, strata: NDArray[np.intp]) -> float:
    """Return the skewness of what each unit adds, over six; 0 if it cannot be told."""
    cubes = squares = 0.0
    for stratum in np.unique(strata):
        metrics = without[strata == stratum]
        metrics = metrics[~np.isnan(metrics)]
        n = len(metrics)
        if n < 2:
            continue
        added = (n - 1) * (metrics.mean() - metrics) / n
        cubes += float((added**3).sum())
        squares += float((added**2).sum())
    return cubes / (6 * squares**1.5) if squares > 0 else 0.0
