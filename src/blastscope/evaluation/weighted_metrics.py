"""Every metric of ``compute_metrics`` for thousands of resamples at once.

A resample is a weight for each cell, so the cells are sorted by probability once for a model and
every resample is a matter of sums: of weights for the calls, of running weights for the areas.
"""

from __future__ import annotations

from copy import copy

import numpy as np
from numpy.typing import NDArray

from blastscope.evaluation.metrics import THRESHOLD

Floats = NDArray[np.float64]
Counts = NDArray[np.unsignedinteger]

_BLOCK = 2**16  # weights to work on at a time

METRICS = (
    "weighted_f1",
    "accuracy",
    "balanced_accuracy",
    "auc",
    "average_precision",
    "mcc",
    "precision_all",
    "recall_all",
    "precision_hem",
    "recall_hem",
)
"""The metrics, in the order of the last axis of what is returned here."""


class WeightedMetrics:
    """What does not depend on the weights: each model's calls, and its cells in order.

    Args:
        is_all: truth, shape (cells,).
        p_all: probability of ALL, shape (cells, models).
    """

    def __init__(self, is_all: NDArray[np.bool_], p_all: Floats) -> None:
        called = p_all > THRESHOLD
        truth = is_all[:, None]
        marks = (np.ones_like(truth), truth, truth & called, ~truth & called)
        self._marks = np.column_stack(marks).astype(np.float64)
        self._models = p_all.shape[1]
        self._rankings = [_Ranking(is_all, p) for p in p_all.T]

    def of(self, weights: Counts) -> Floats:
        """Compute the metrics under weights of shape (resamples, cells).

        Returns:
            Shape (resamples, models, ``len(METRICS)``).
        """
        sums = weights.astype(np.float64) @ self._marks
        total, n_all = sums[:, :1], sums[:, 1:2]
        tp, fp = sums[:, 2 : 2 + self._models], sums[:, 2 + self._models :]
        areas = np.stack([ranking.areas(weights) for ranking in self._rankings], axis=1)
        metrics = _of_counts(total - n_all - fp, fp, n_all - tp, tp)
        metrics["auc"] = _ratio(areas[..., 0], n_all * (total - n_all), np.nan)
        both = (n_all > 0) & (n_all < total)
        average = _ratio(areas[..., 1], np.broadcast_to(n_all, tp.shape), np.nan)
        metrics["average_precision"] = np.where(both, average, np.nan)
        return np.stack([metrics[name] for name in METRICS], axis=-1)


class _Ranking:
    """One model's cells, the most probable ALL first; cells of equal probability are a tie."""

    def __init__(self, is_all: NDArray[np.bool_], p_all: Floats) -> None:
        self._order = np.argsort(-p_all, kind="stable")
        ordered = p_all[self._order]
        self._ends = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True])
        self._is_all = is_all[self._order].astype(np.uint16)

    def areas(self, weights: Counts) -> Floats:
        """Sum up what AUC and average precision are shares of, shape (resamples, 2).

        The first is the number of pairs of an ALL and a normal cell that are in order, a tie
        counting half (Mann and Whitney); the second the sum, over the ALL cells, of the precision
        down to each cell's tie.
        """
        rows = max(1, _BLOCK // weights.shape[1])
        room = _Room(rows, weights.shape[1], len(self._ends))
        blocks = [weights[start : start + rows] for start in range(0, len(weights), rows)]
        return np.concatenate([self._areas(block, room.rows(len(block))) for block in blocks])

    def _areas(self, weights: Counts, room: _Room) -> Floats:
        weights.take(self._order, axis=1, out=room.drawn, mode="clip")
        self._running_sum(room, out=room.called)
        np.multiply(room.drawn, self._is_all, out=room.drawn)
        self._running_sum(room, out=room.right)
        of_all = _steps(room.right, out=room.of_all)
        of_normal = _steps(room.called - room.right, out=room.of_normal)
        pairs = np.einsum("rt,rt->r", of_normal, room.right)
        pairs -= np.einsum("rt,rt->r", of_normal, of_all) / 2
        np.maximum(room.called, 1, out=room.called)  # where nothing was drawn so far, 0 of 1
        precision = np.divide(room.right, room.called, out=room.right)
        return np.stack([pairs, np.einsum("rt,rt->r", of_all, precision)], axis=1)

    def _running_sum(self, room: _Room, out: Floats) -> None:
        """Sum up ``room.drawn`` to the end of each tie: whole numbers are exact, and quicker."""
        room.drawn.cumsum(axis=1, dtype=np.int32, out=room.running)
        out[:] = room.running.take(self._ends, axis=1, out=room.at_ends, mode="clip")


class _Room:
    """Arrays to work in: to ask the system for such large ones anew costs more than the sums."""

    def __init__(self, rows: int, cells: int, ties: int) -> None:
        self.drawn = np.empty((rows, cells), dtype=np.uint16)
        self.running = np.empty((rows, cells), dtype=np.int32)
        self.at_ends = np.empty((rows, ties), dtype=np.int32)
        self.called, self.right, self.of_all, self.of_normal = np.empty((4, rows, ties))

    def rows(self, count: int) -> _Room:
        """The first rows of every array."""
        room = copy(self)
        for name, array in vars(self).items():
            setattr(room, name, array[:count])
        return room


def _steps(running: Floats, out: Floats) -> Floats:
    """Undo a running sum along the last axis."""
    out[:, :1] = running[:, :1]
    np.subtract(running[:, 1:], running[:, :-1], out=out[:, 1:])
    return out


def _of_counts(tn: Floats, fp: Floats, fn: Floats, tp: Floats) -> dict[str, Floats]:
    """The metrics that follow from the calls; each count is of shape (resamples, models)."""
    n_all, n_hem = tp + fn, tn + fp
    total = n_all + n_hem
    wrong = fp + fn
    recall_all, recall_hem = _ratio(tp, n_all, np.nan), _ratio(tn, n_hem, np.nan)
    f1_all, f1_hem = _ratio(2 * tp, 2 * tp + wrong, 0), _ratio(2 * tn, 2 * tn + wrong, 0)
    spread = np.sqrt((tp + fp) * (tn + fn)) * np.sqrt(n_all * n_hem)
    mcc = _ratio(tp * tn - fp * fn, spread, 0)
    return {
        "weighted_f1": _ratio(n_all * f1_all + n_hem * f1_hem, total, np.nan),
        "accuracy": _ratio(tp + tn, total, np.nan),
        "balanced_accuracy": (recall_all + recall_hem) / 2,
        "mcc": np.where((n_all > 0) & (n_hem > 0), mcc, np.nan),
        "precision_all": _ratio(tp, tp + fp, 0),
        "recall_all": recall_all,
        "precision_hem": _ratio(tn, tn + fn, 0),
        "recall_hem": recall_hem,
    }


def _ratio(above: Floats, below: Floats, otherwise: float) -> Floats:
    """Divide, with ``otherwise`` if there is nothing to divide by."""
    shape = np.broadcast_shapes(above.shape, below.shape)
    out: Floats = np.full(shape, float(otherwise))
    np.divide(above, below, out=out, where=below > 0)
    return out
