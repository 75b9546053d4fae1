"""AUC at equal size: what a model knows beside the size of a cell.

Lymphoblasts are larger than normal cells, and a model that only measures them has a high AUC on
subjects whose normal cells are small. Two ways to ask for more: count only pairs of an ALL and a
normal cell of about the same size (a caliper, as in matching), and weigh cells so that both classes
have the same mean size (overlap weights: Li, Morgan and Zaslavsky, Journal of the American
Statistical Association 113:390-400, 2018). Size alone reaches about one half by the
second, and by the first a little more, because a caliper leaves small differences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from blastscope.evaluation.bootstrap import Resampling, resampling
from blastscope.evaluation.cell_pairs import PairSums, ScoredCells, add_up_pairs, units_of
from blastscope.evaluation.confidence_intervals import BootstrapDraws, Estimate, draw

CALIPER = 0.05
"""The sizes of a pair differ by no more than this share of their mean."""


@dataclass(frozen=True)
class EqualSizeAuc:
    """AUC at equal size, with 95 % intervals by subject.

    Attributes:
        matched: over pairs of about the same size; NaN if there is none.
        weighted: over all pairs, with overlap weights; the weights are not fitted anew in each
            resample.
        size: of size itself over the same pairs as ``matched``: what is left of it.
        pairs: how many pairs are of about the same size.
        share: of all pairs.
    """

    matched: Estimate
    weighted: Estimate
    size: Estimate
    pairs: int
    share: float

    @property
    def known(self) -> bool:
        """Whether there are pairs of about the same size, and an interval."""
        return self.matched.known and not math.isnan(self.matched.low)

    @property
    def beyond_size(self) -> bool:
        """Whether the interval lies above one half, and above what size itself has there."""
        return self.known and self.matched.low > max(0.5, self.size.value)


def equal_size_auc(
    cells: ScoredCells,
    subjects: Sequence[str | None],
    resamples: int = 2000,
    seed: int = 24,
) -> EqualSizeAuc:
    """Compute the AUC at equal size of cells whose size is known.

    Pairs are of the same fold if there are folds; ``subjects`` has shape (cells,).
    """
    assert cells.size is not None
    draws = resampling(cells.is_all, subjects, resamples, seed)
    codes, first = units_of(draws)
    by_size = ScoredCells(cells.is_all, cells.size, cells.size, cells.fold)
    sums = (
        add_up_pairs(cells, codes, CALIPER),
        add_up_pairs(cells, codes, weight=overlap_weights(cells.is_all, cells.size)),
        add_up_pairs(by_size, codes, CALIPER),
    )

    matched, weighted, size = _drawn(sums, first, draws).estimates()
    total = add_up_pairs(cells, codes).pairs.sum()
    pairs = sums[0].pairs.sum()
    return EqualSizeAuc(matched, weighted, size, int(pairs), float(pairs / total) if total else 0.0)


def _drawn(sums: Sequence[PairSums], first: NDArray[np.intp], draws: Resampling) -> BootstrapDraws:
    """Draw the AUC of each sum; ``first`` has a cell of each unit, as ``units_of`` returns it."""

    def metrics_of(weights: NDArray[np.uint16]) -> NDArray[np.float64]:
        drawn = weights[:, first].astype(np.float64)
        return np.column_stack([one.auc(drawn) for one in sums])

    return draw(metrics_of, draws)


def equal_size_differences(
    models: Sequence[ScoredCells], pairs: Sequence[tuple[int, int]], draws: Resampling
) -> list[Estimate]:
    """Compute the difference in AUC at equal size of pairs of models, with paired intervals.

    Both are computed over the same pairs of cells: if the models have folds, over pairs that are of
    the same fold in both.

    Args:
        models: the same cells in the same order, with their sizes.
        pairs: places of two of the models; the difference is that of the first minus the second.
        draws: of these cells.
    """
    codes, first = units_of(draws)
    known: dict[tuple[int, bytes], BootstrapDraws] = {}

    def drawn(place: int, fold: NDArray[np.int64] | None) -> BootstrapDraws:
        key = place, b"" if fold is None else fold.tobytes()
        if key not in known:
            sums = add_up_pairs(replace(models[place], fold=fold), codes, CALIPER)
            known[key] = _drawn([sums], first, draws)
        return known[key]

    found: list[Estimate] = []
    for a, b in pairs:
        fold = _shared_fold(models[a], models[b])
        found += drawn(a, fold).minus(drawn(b, fold)).estimates()
    return found


def _shared_fold(one: ScoredCells, other: ScoredCells) -> NDArray[np.int64] | None:
    """Number the cells that share a fold in both; None if neither has folds."""
    folds = [cells.fold for cells in (one, other) if cells.fold is not None]
    if not folds:
        return None
    _, shared = np.unique(np.column_stack(folds), axis=0, return_inverse=True)
    return shared.reshape(-1).astype(np.int64)


def overlap_weights(is_all: NDArray[np.bool_], size: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weigh each cell by the probability of the other class at its size, shape (cells,).

    The probability is a logistic regression on size and its square, without a penalty: the weighted
    means of both are then equal in the two classes.
    """
    from sklearn.linear_model import LogisticRegression

    spread = size.std() or 1.0
    z = (size - size.mean()) / spread
    model = LogisticRegression(C=np.inf, max_iter=1000, tol=1e-8)
    p = model.fit(np.column_stack([z, z**2]), is_all).predict_proba(np.column_stack([z, z**2]))
    found: NDArray[np.float64] = np.where(is_all, p[:, 0], p[:, 1])
    return found
