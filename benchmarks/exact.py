"""The best weights: branch and bound over all weights >= 0 that sum to 1.

It proves how near the genetic search comes to the optimum.

Weighted F1 is a step function of the weights, so gradients do not lead to its maximum and samples
do not prove one. But a cell's combined score is linear in the weights: within a simplex of
weightings it lies between the lowest and the highest score of the corners. If the highest is at
most .5, the cell is normal in the whole region; if the lowest is more, it is ALL; counting the
cells in between as right bounds what any point of the region can reach. Regions that cannot beat
the best known weights are dropped and the others halved (bisection of the longest edge: R. Horst,
On generalized bisection of n-simplices, Math. Comp. 66:691-698, 1997).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from blastscope.ensemble.methods import grid_weights
from blastscope.ensemble.objective import CALL, Floats, Objective

_BATCH = 2048
_SAME = 1e-12  # two weighted F1s nearer than this are equal
_ROUNDING = 4e-15  # what halving and summing can put into a corner's score
_MOST_WORK = 6 * 10**7  # corners' scores, some seconds of them
_KEPT = 2000  # equally good weightings that are kept for the last word of the log loss


@dataclass(frozen=True)
class ExactResult:
    """The weights found, and whether they are proven to be the best.

    Attributes:
        weights: shape (models,).
        score: their weighted F1.
        bound: no weights have a higher one than this; equal to ``score`` if ``proven``.
        proven: whether the whole simplex was settled.
        regions: how many were looked at.
    """

    weights: Floats
    score: float
    bound: float
    proven: bool
    regions: int


@dataclass
class _Regions:
    """Sub-simplices side by side.

    Attributes:
        corners: shape (regions, models, models), a weighting a row.
        open: the contested rows that are undecided in each, shape (regions, width), padded with
            the number of an extra row that counts no cells.
        right: cells that are called ALL all over the region, rightly and wrongly, shape (regions,
            2).
        bound: the weighted F1 that no point of each can exceed, shape (regions,).
    """

    corners: Floats
    open: NDArray[np.int32]
    right: Floats
    bound: Floats

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> _Regions:
        return _Regions(*(getattr(self, field.name)[rows] for field in fields(self)))

    def with_others(self, others: _Regions, padding: int) -> _Regions:
        """Append ``others`` to these, no wider than the widest region needs."""
        rows = [own for own in (self.open, others.open) if len(own)]
        width = max((int((own < padding).sum(axis=1).max()) for own in rows), default=0)
        return _Regions(
            np.concatenate([self.corners, others.corners]),
            np.concatenate([_widened(own, width, padding) for own in (self.open, others.open)]),
            np.concatenate([self.right, others.right]),
            np.concatenate([self.bound, others.bound]),
        )


class _Search:
    """The best weightings so far, and the measuring of regions against them."""

    def __init__(self, objective: Objective, candidates: Floats) -> None:
        self.objective = objective
        models = candidates.shape[1]
        self.padding = len(objective.contested)
        self.rows = np.vstack([objective.contested, np.zeros((1, models))])
        self.counts = np.column_stack([objective.counts, np.zeros(2)])
        self.best, self.ties = -np.inf, np.empty((0, models))
        self.offer(candidates)

    def offer(self, weights: Floats) -> None:
        """Remember those of ``weights``, shape (k, models), that nothing known beats."""
        scores = self.objective.scores(weights)
        if scores.max() > self.best:
            self.best, self.ties = float(scores.max()), self.ties[:0]
        equal = weights[scores == self.best]
        self.ties = np.concatenate([self.ties, equal])[:_KEPT]

    def measured(self, corners: Floats, parents: _Regions) -> _Regions:
        """Settle what can be settled of the parents' undecided rows within ``corners``.

        Args:
            corners: shape (regions, models, models).
            parents: the region that each lies in.
        """
        scores = np.matmul(self.rows[parents.open], corners.transpose(0, 2, 1))
        above = scores.min(axis=2) > CALL + _ROUNDING
        undecided = ~above & (scores.max(axis=2) > CALL - _ROUNDING)
        ill, well = self.counts[:, parents.open]
        right = parents.right + np.stack([(ill * above).sum(1), (well * above).sum(1)], axis=1)
        # The best that could happen: of the undecided cells all are called as they should be.
        bound = self._bound(right, ill * undecided, well * undecided)
        first = np.argsort(~undecided, axis=1, kind="stable")[:, : undecided.sum(1).max()]
        remaining = np.where(undecided, parents.open, self.padding)
        rows = np.take_along_axis(remaining, first, axis=1).astype(np.int32)
        self._offer_centres(corners, scores, parents)
        return _Regions(corners, rows, right, bound)

    def _bound(self, right: Floats, ill: Floats, well: Floats) -> Floats:
        """Bound what regions can reach if undecided cells are called as they should be.

        Args:
            right: as in ``_Regions``.
            ill: undecided cells that are ALL, by row, shape (regions, width).
            well: undecided cells that are normal, likewise.
        """
        weighted_f1 = self.objective.weighted_f1
        true, false = right[:, 0] + ill.sum(axis=1), right[:, 1]
        bound = weighted_f1(true, false)
        # A row of cells of both classes is called one thing, so one or the other is wrong. Without
        # this no region that it crosses would ever be settled, however small.
        mixed = (ill > 0) & (well > 0)
        if not mixed.any():
            return bound
        one = np.flatnonzero(mixed.sum(axis=1) == 1)
        row = mixed[one].argmax(axis=1)
        called = weighted_f1(true[one], false[one] + well[one, row])
        uncalled = weighted_f1(true[one] - ill[one, row], false[one])
        bound[one] = np.maximum(called, uncalled)
        return bound

    def _offer_centres(self, corners: Floats, scores: Floats, parents: _Regions) -> None:
        """Try the middle of every region, from the scores of its corners."""
        called = scores.mean(axis=2) > CALL
        ill, well = self.counts[:, parents.open]
        true = parents.right[:, 0] + (ill * called).sum(1)
        false = parents.right[:, 1] + (well * called).sum(1)
        reached = self.objective.weighted_f1(true, false)
        good = np.flatnonzero(reached >= max(self.best, reached.max()) - _SAME)[:_KEPT]
        if len(good):
            self.offer(corners[good].mean(axis=1))


def exact_weights(
    p: Floats,
    is_all: NDArray[np.bool_],
    start: Floats | None = None,
    max_regions: int = 200_000,
) -> ExactResult:
    """Find the weights with the best weighted F1, and prove that none are better.

    It starts from the best of a grid, the single models, the plain mean and ``start``, so that it
    never scores below any of them. Of equally good weightings met on the way the one with the
    lowest log loss is returned. Hard calls, whose ties many cells share exactly, and more than four
    or five models may use up ``max_regions`` (or a bound on the work) before the proof is complete.

    Args:
        p: probabilities of ALL, shape (cells, models).
        is_all: truth, shape (cells,), with both classes.
        start: further weightings to start from, shape (models,) or (k, models).
        max_regions: how many regions to look at before giving up the proof.
    """
    models = p.shape[1]
    objective = Objective(p, is_all)
    corners = np.eye(models)
    known = [corners, np.full((1, models), 1 / models), grid_weights(p, is_all)[0][None]]
    known += [] if start is None else [np.atleast_2d(start)]
    search = _Search(objective, np.vstack(known))
    whole = _Regions(
        corners[None],
        np.arange(search.padding, dtype=np.int32)[None],
        objective.fixed[None],
        np.array([np.inf]),
    )
    frontier = search.measured(whole.corners, whole)
    frontier = frontier.take(frontier.bound > search.best + _SAME)
    looked_at, work = 1, 0
    while len(frontier.bound) and looked_at < max_regions and work < _MOST_WORK:
        size = min(_batch(frontier), (max_regions - looked_at + 1) // 2)
        chosen, frontier = _highest(frontier, size)
        middles, halves, parents = _halved(chosen)
        search.offer(middles)  # a tie on an edge may be better than all around it
        children = search.measured(halves, parents)
        looked_at += len(halves)
        work += parents.open.size * models
        frontier = frontier.with_others(
            children.take(children.bound > search.best + _SAME), search.padding
        )
        frontier = frontier.take(frontier.bound > search.best + _SAME)
    winner = search.ties[objective.best_of(search.ties, np.zeros(len(search.ties)))]
    bound = max(search.best, float(frontier.bound.max(initial=search.best)))
    return ExactResult(winner, search.best, bound, not len(frontier.bound), looked_at)


def _halved(regions: _Regions) -> tuple[Floats, Floats, _Regions]:
    """Halve each region at the middle of its longest edge.

    Returns:
        The middles, shape (regions, models); the corners of the halves, shape (2 regions, models,
        models), first halves first; and the region that each half lies in.
    """
    corners = regions.corners
    count, models = len(corners), corners.shape[1]
    edges = np.array(list(combinations(range(models), 2)))
    lengths = ((corners[:, edges[:, 0]] - corners[:, edges[:, 1]]) ** 2).sum(axis=2)
    one, other = edges[lengths.argmax(axis=1)].T
    every = np.arange(count)
    middles = (corners[every, one] + corners[every, other]) / 2
    halves = np.concatenate([corners, corners])
    halves[every, one] = middles
    halves[count + every, other] = middles
    return middles, halves, regions.take(np.concatenate([every, every]))


def _batch(frontier: _Regions) -> int:
    """Return how many regions to halve at once, for scores of about 32 MiB."""
    return int(
        np.clip(2**21 // max(1, frontier.open.shape[1] * frontier.corners.shape[1]), 1, _BATCH)
    )


def _highest(frontier: _Regions, size: int) -> tuple[_Regions, _Regions]:
    """Separate the ``size`` regions with the highest bounds from the others."""
    if len(frontier.bound) <= size:
        return frontier, frontier.take(np.zeros(len(frontier.bound), dtype=bool))
    order = np.argpartition(-frontier.bound, size - 1)
    return frontier.take(order[:size]), frontier.take(order[size:])


def _widened(rows: NDArray[np.int32], width: int, padding: int) -> NDArray[np.int32]:
    if rows.shape[1] >= width:
        return rows[:, :width]
    return np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=padding)
