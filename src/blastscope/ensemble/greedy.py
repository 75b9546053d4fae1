"""Ensemble selection: models are added one at a time, as long as the ensemble gains.

R. Caruana, A. Niculescu-Mizil, G. Crew and A. Ksikes, Ensemble selection from libraries of models,
ICML 2004, with replacement (section 2.1): a model that is chosen twice weighs twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blastscope.ensemble.objective import Floats, Objective


@dataclass(frozen=True)
class GreedyResult:
    """What was selected.

    Attributes:
        weights: how often each model was chosen, over all choices, shape (models,).
        score: their weighted F1.
        rounds: after how many choices it was reached.
        history: the weighted F1 after each choice, shape (rounds tried,).
    """

    weights: Floats
    score: float
    rounds: int
    history: Floats


def greedy_weights(p: Floats, is_all: NDArray[np.bool_], rounds: int = 100) -> GreedyResult:
    """Select models forward for weighted F1, of equal ones the lowest log loss.

    The first choice is the best single model. The shortest prefix of the best score is kept.

    Args:
        p: probabilities of ALL, shape (cells, models).
        is_all: truth, shape (cells,), with both classes.
        rounds: how many choices to make.
    """
    models = p.shape[1]
    objective = Objective(p, is_all)
    counts = np.zeros(models)
    every, history = [], np.empty(rounds)
    for turn in range(rounds):
        candidates = (counts + np.eye(models)) / (turn + 1)
        scores = objective.scores(candidates)
        chosen = objective.best_of(candidates, scores)
        counts[chosen] += 1
        every.append(candidates[chosen])
        history[turn] = scores[chosen]
    best = int(history.argmax())
    return GreedyResult(every[best], float(history[best]), best + 1, history)
