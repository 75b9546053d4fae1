"""Test two groups of cells: each test gives the size of its effect, not only a p-value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import asin, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from blastscope.evaluation.pair_tests import components

Z95 = 1.959963984540054
SIMULATIONS = 9_999
_AT_ONCE = 2**22
"""How many simulated counts are in memory at a time: 32 MiB."""
_SEED = 24


@dataclass(frozen=True)
class Difference:
    """The difference of a value between hard and right cells.

    Attributes:
        delta: Cliff's delta, -1 to 1, above 0 if the values of the hard cells are higher.
        low: its 95 % interval's lower bound, None if the groups do not overlap at all.
        high: the upper bound, None likewise.
        p: two-sided p of the Mann-Whitney U test.
    """

    delta: float
    low: float | None
    high: float | None
    p: float


def difference(hard: NDArray[np.float64], right: NDArray[np.float64]) -> Difference:
    """Compare two groups of values, shapes (m,) and (n,): at least two in each, not all equal.

    Delta is N. Cliff's (Psychological Bulletin 114:494-509, 1993), 2 U / (m n) - 1. Its variance is
    that of the area under the ROC curve by E. R. DeLong and others (Biometrics 44:837-845, 1988),
    times four.
    """
    test = stats.mannwhitneyu(hard, right)
    m, n = len(hard), len(right)
    above, below = components(np.arange(m + n) < m, np.concatenate([hard, right]))
    variance = 4 * ((above / n).var(ddof=1) / m + (below / m).var(ddof=1) / n)
    delta = float(2 * test.statistic / (m * n) - 1)
    if variance < 1e-12:  # the groups do not overlap, so their spread cannot be estimated
        return Difference(delta, None, None, float(test.pvalue))
    half = Z95 * sqrt(variance)
    return Difference(delta, max(-1.0, delta - half), min(1.0, delta + half), float(test.pvalue))


def delta_within(
    values: NDArray[np.float64], hard: NDArray[np.bool_], subjects: Sequence[str | None]
) -> tuple[float | None, int]:
    """Average Cliff's delta over the subjects that have both hard and right cells.

    A subject's weight is m n / (m + n + 1), with which P. van Elteren (Bulletin de l'Institut
    International de Statistique 37:351-361, 1960) adds up Wilcoxon's test over strata. All arrays
    have shape (cells,); a cell without a known subject is left out.

    Returns:
        The mean, None if no subject has both, and the number of subjects that have both.
    """
    names = np.array(["" if name is None else name for name in subjects])
    deltas, weights = [], []
    for name in np.unique(names[names != ""]):
        mine = names == name
        ours, theirs = values[mine & hard], values[mine & ~hard]
        m, n = len(ours), len(theirs)
        if m and n:
            deltas.append(float(np.sign(ours[:, None] - theirs[None]).mean()))
            weights.append(m * n / (m + n + 1))
    mean = float(np.average(deltas, weights=weights)) if deltas else None
    return mean, len(deltas)


@dataclass(frozen=True)
class Association:
    """How often cells with a flag are hard, compared with cells without it.

    Attributes:
        risk_difference: share of hard cells among the flagged minus that among the others.
        odds_ratio: None if a count of 0 makes it undefined or unbounded.
        h: Cohen's effect size h of the two shares.
        p: two-sided p of Fisher's exact test.
    """

    risk_difference: float
    odds_ratio: float | None
    h: float
    p: float


def association(flag: NDArray[np.bool_], hard: NDArray[np.bool_]) -> Association:
    """Relate a flag to being hard, both of shape (cells,); some but not all cells have the flag.

    h is J. Cohen's (Statistical Power Analysis, 2nd ed., 1988, chapter 6).
    """
    a, b = int((flag & hard).sum()), int((flag & ~hard).sum())
    c, d = int((~flag & hard).sum()), int((~flag & ~hard).sum())
    with_flag, without = a / (a + b), c / (c + d)
    return Association(
        with_flag - without,
        a * d / (b * c) if b and c else None,
        2 * asin(sqrt(with_flag)) - 2 * asin(sqrt(without)),
        float(stats.fisher_exact([[a, b], [c, d]]).pvalue),
    )


@dataclass(frozen=True)
class Heterogeneity:
    """How unevenly hard cells are spread over subjects.

    Attributes:
        chi2: Pearson's statistic of subjects against hard and right.
        p: of the hypothesis that every subject has the same share.
        simulated: whether p is from simulated tables, because the counts are too small.
        v: Cramér's V, 0 to 1, corrected for its value under chance alone.
    """

    chi2: float
    p: float
    simulated: bool
    v: float


def heterogeneity(hard: NDArray[np.int_], cells: NDArray[np.int_]) -> Heterogeneity:
    """Test whether all subjects have the same rate of hard cells, of counts of shape (subjects,).

    If more than a fifth of the expected counts lie below 5 (W. G. Cochran, Biometrics 10:417-451,
    1954), p is from 9,999 random tables with the same margins. The correction of V is W. Bergsma's
    (Journal of the Korean Statistical Society 42:323-328, 2013). There must be two subjects or
    more, and hard cells neither none nor all.
    """
    found = stats.chi2_contingency(np.column_stack([hard, cells - hard]), correction=False)
    expected = found.expected_freq
    sparse = bool((expected < 5).mean() > 0.2 or (expected < 1).any())
    chi2, p = float(found.statistic), float(found.pvalue)
    if sparse:
        p = _simulated_p(cells, int(hard.sum()), expected, chi2)
    n, rows = int(cells.sum()), len(cells)
    phi2 = max(0.0, chi2 / n - (rows - 1) / (n - 1))
    narrow = min(rows - (rows - 1) ** 2 / (n - 1), 2 - 1 / (n - 1)) - 1
    return Heterogeneity(chi2, p, sparse, sqrt(phi2 / narrow) if narrow > 0 else 0.0)


def _simulated_p(
    cells: NDArray[np.int_], hard: int, expected: NDArray[np.float64], chi2: float
) -> float:
    rng = np.random.default_rng(_SEED)
    step = max(1, _AT_ONCE // len(cells))
    as_far = 0
    for done in range(0, SIMULATIONS, step):
        drawn = rng.multivariate_hypergeometric(cells, hard, size=min(step, SIMULATIONS - done))
        # The deviations of the two columns are opposite numbers.
        off = (drawn - expected[:, 0]) ** 2
        simulated = (off * (1 / expected[:, 0] + 1 / expected[:, 1])).sum(axis=1)
        as_far += int((simulated >= chi2 * (1 - 1e-9)).sum())
    return (1 + as_far) / (SIMULATIONS + 1)
