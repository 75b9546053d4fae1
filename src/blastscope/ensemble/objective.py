"""Weighted F1 of thousands of weightings at once: what every search of weights asks for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from blastscope.ensemble.combination import TIE
from blastscope.evaluation.metrics import THRESHOLD

Floats = NDArray[np.float64]

CALL = THRESHOLD + TIE
"""A combined score above this is called ALL, as it is after ``Combination.apply``."""

_CHUNK = 2**19  # scores at a time, 4 MiB: they stay near the processor, and memory bounded
_EPS = np.finfo(np.float64).eps


class Objective:
    """Weighted F1 of weightings of the same models on the same cells.

    Weights that are >= 0 and sum to 1 cannot change a cell on which all the models agree, so such
    cells are counted once; only the contested ones are scored. Cells with equal rows are one row.

    Attributes:
        contested: the distinct rows that weights decide, shape (rows, models).
        counts: how many cells with that row are ALL and how many normal, shape (2, rows).
        fixed: how many of the other cells are called ALL rightly and wrongly.
        totals: how many cells are ALL and how many normal.
    """

    def __init__(self, p: Floats, is_all: NDArray[np.bool_], *, simplex: bool = True) -> None:
        """Sort the cells into decided and contested ones.

        Args:
            p: probabilities of ALL, shape (cells, models).
            is_all: truth, shape (cells,).
            simplex: whether all weights that will be asked for are >= 0 and sum to 1. Where they
                are not, as the paper's are not, every cell is contested.
        """
        rows, place = np.unique(p, axis=0, return_inverse=True)
        counts = np.stack(
            [np.bincount(place.ravel(), truth, len(rows)) for truth in (is_all, ~is_all)]
        )
        called = (rows > THRESHOLD + 2 * TIE).all(axis=1)
        decided = (called | (rows <= THRESHOLD).all(axis=1)) & simplex
        self.fixed = counts[:, called & decided].sum(axis=1)
        self.contested = rows[~decided]
        self.counts = counts[:, ~decided]
        self.totals = counts.sum(axis=1)
        self._rows, self._all_counts = rows, counts

    def scores(self, weights: Floats) -> Floats:
        """Return the weighted F1 of each of ``weights``, shape (k, models), as shape (k,)."""
        found = np.empty(len(weights))
        # Counts below 2**24 are exact in single precision, which halves the work.
        counts = self.counts.astype(np.float32)
        for part in _parts(len(weights), len(self.contested)):
            called = self.contested @ weights[part].T > CALL
            true, false = self.fixed[:, None] + counts @ called.astype(np.float32)
            found[part] = self.weighted_f1(true, false)
        return found

    def weighted_f1(self, true: Floats, false: Floats) -> Floats:
        """Weighted F1 from the cells called ALL rightly and wrongly, both of one shape.

        It is the mean of the two classes' F1, weighted by their cells, as scikit-learn has it: 2 TP
        / (2 TP + FP + FN) with TP + FN and TN + FP known. It rises with ``true`` and falls with
        ``false``.
        """
        ill, well = self.totals
        n = ill + well
        called = true + false
        of_all = 2 * true / np.maximum(called + ill, 1)
        of_normal = 2 * (well - false) / np.maximum(n - called + well, 1)
        return np.asarray((ill * of_all + well * of_normal) / n)

    def log_loss(self, weights: Floats) -> Floats:
        """Return the mean negative log likelihood of each of ``weights``, shape (k,)."""
        found = np.empty(len(weights))
        ill, well = self._all_counts
        for part in _parts(len(weights), len(self._rows)):
            p = np.clip(weights[part] @ self._rows.T, _EPS, 1 - _EPS)
            found[part] = -(np.log(p) @ ill + np.log1p(-p) @ well) / self.totals.sum()
        return found

    def best_of(self, weights: Floats, scores: Floats) -> int:
        """Return the row of the highest score and, among equals, of the lowest log loss."""
        ties = np.flatnonzero(scores == scores.max())
        if len(ties) == 1:
            return int(ties[0])
        # Rounded, so that what is equal but for the order of a sum keeps the order of the rows.
        return int(ties[np.argmin(self.log_loss(weights[ties]).round(12))])


def _parts(k: int, rows: int) -> Iterator[slice]:
    size = max(1, _CHUNK // max(1, rows))
    for start in range(0, k, size):
        yield slice(start, start + size)
