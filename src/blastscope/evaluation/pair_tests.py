"""Tests between two models on the same cells, and a correction for many tests at once.

Both tests take cells for independent draws. Cells of one subject are not: if subjects are few, the
paired interval over subjects (:mod:`blastscope.evaluation.bootstrap`) is the one to trust.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided p of McNemar's exact test (Q. McNemar, Psychometrika 12:153-157, 1947).

    Args:
        only_first: cells that only the first model calls right.
        only_second: cells that only the second model calls right.
    """
    cells = only_first + only_second
    if cells == 0:
        return 1.0
    return float(stats.binomtest(min(only_first, only_second), cells, 0.5).pvalue)


def delong(is_all: NDArray[np.bool_], first: Floats, second: Floats) -> tuple[float, float]:
    """DeLong's test of two AUCs on the same cells, two-sided.

    The variance is that of DeLong, DeLong and Clarke-Pearson (Biometrics 44:837-845, 1988), by
    midranks as Sun and Xu compute it (IEEE Signal Processing Letters 21:1389-1393, 2014). All
    arrays have shape (cells,).

    Returns:
        AUC of the first minus that of the second, and the p-value. The p-value is 1 if both rank
        alike, and NaN if there is no variance (a class of one cell, or no spread at all between
        unequal models); both are NaN if a class is absent.
    """
    n_all, n_hem = int(is_all.sum()), int((~is_all).sum())
    if not n_all or not n_hem:
        return np.nan, np.nan
    of_all, of_hem = components(is_all, first)
    other_all, other_hem = components(is_all, second)
    # The components are whole or half numbers until here, so equal models differ by exactly 0.
    by_all, by_hem = (of_all - other_all) / n_hem, (of_hem - other_hem) / n_all
    difference = float(by_all.mean())
    if not by_all.any() and not by_hem.any():
        return 0.0, 1.0
    if min(n_all, n_hem) < 2 or (np.ptp(by_all) == 0 and np.ptp(by_hem) == 0):
        return difference, np.nan
    variance = by_all.var(ddof=1) / n_all + by_hem.var(ddof=1) / n_hem
    return difference, float(2 * stats.norm.sf(abs(difference) / np.sqrt(variance)))


def components(is_all: NDArray[np.bool_], p_all: Floats) -> tuple[Floats, Floats]:
    """Count, for each ALL cell, the normal cells below it, and for each normal the ALL above.

    A tie counts half. These are DeLong's structural components, before the division.
    """
    ranks = stats.rankdata(p_all)
    below = ranks[is_all] - stats.rankdata(p_all[is_all])
    above = is_all.sum() - (ranks[~is_all] - stats.rankdata(p_all[~is_all]))
    return below, above


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number (S. Holm, Scandinavian J. of Statistics 6:65-70, 1979).

    NaN is that of a test that could not be made: it stays NaN, and does not count.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # NaN sorts last
    stepped = p[order] * np.arange(len(order), 0, -1)
    corrected = np.full(len(p), np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return corrected.tolist()
