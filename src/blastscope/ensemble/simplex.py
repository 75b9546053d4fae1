"""The best weights of a grid: every way to share K equal portions among the models."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blastscope.ensemble.objective import Floats, Objective

_MOST = 200_000
_FINEST = 100  # hundredths: finer weights than people publish gain nothing that can be told


@dataclass(frozen=True)
class GridResult:
    """The best point of a grid.

    Attributes:
        weights: shape (models,).
        score: its weighted F1.
        steps: K, into how many steps 1 was divided.
    """

    weights: Floats
    score: float
    steps: int


def grid_weights(p: Floats, is_all: NDArray[np.bool_], step: float | None = None) -> GridResult:
    """Try every weighting of a grid; of equal weighted F1 the lowest log loss wins.

    Args:
        p: probabilities of ALL, shape (cells, models).
        is_all: truth, shape (cells,), with both classes.
        step: the distance between neighbouring weights; where None, .01 or the finest with which
            the grid has at most 200,000 points.
    """
    models = p.shape[1]
    steps = _steps(models) if step is None else round(1 / step)
    grid = simplex_grid(models, steps)
    objective = Objective(p, is_all)
    scores = objective.scores(grid)
    best = objective.best_of(grid, scores)
    return GridResult(grid[best], float(scores[best]), steps)


def simplex_grid(models: int, steps: int) -> Floats:
    """Return every ``(k_1, ..., k_m) / K`` with whole ``k_i >= 0`` that sum to K.

    Returns:
        Shape (C(K + m - 1, m - 1), m), in lexical order.
    """
    left = np.array([steps])
    columns: list[NDArray[np.int_]] = []
    for _ in range(models - 1):
        # Each row so far goes on with 0, 1, ... up to all that it has left.
        repeats = left + 1
        starts = np.repeat(np.cumsum(repeats) - repeats, repeats)
        taken = np.arange(repeats.sum()) - starts
        columns = [np.repeat(column, repeats) for column in columns] + [taken]
        left = np.repeat(left, repeats) - taken
    return np.column_stack([*columns, left]) / steps


def _steps(models: int) -> int:
    steps = 1
    while steps < _FINEST and math.comb(steps + models, models - 1) <= _MOST:
        steps += 1
    return steps
