"""The methods that find how to combine models: searches of weights, and statistics."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from blastscope.ensemble.combination import Combination, Kind, clipped_logit
from blastscope.ensemble.genetic import GeneticSettings, genetic_weights
from blastscope.ensemble.objective import Floats, Objective
from blastscope.errors import BlastscopeError

METHODS = ("mean", "vote", "auc", "genetic", "grid", "caruana", "stacking")
"""The methods that an ensemble is compared with; the order of the models does not matter."""
ARBITER = "arbiter"
"""A further one, for three models in their order."""
CHOICES = (*METHODS, ARBITER)

UNFITTED = ("mean", "vote", ARBITER)
"""The methods that use no labels."""

_MOST_POINTS = 200_000
_FINEST = 100  # hundredths: finer weights gain nothing that can be measured
_CHOICES = 100

Truth = NDArray[np.bool_]
Found = tuple[Floats, dict[str, Any]]


@dataclass(frozen=True)
class FittedWeights:
    """A combination, and what its search recorded.

    Attributes:
        notes: empty if nothing was searched. Otherwise ``weighted_f1`` on the fitting cells, and
            for "genetic" ``settings``, ``runs`` (each one's ``score`` and ``generation``) and
            ``history`` (best so far, an array of shape (runs, generations)); for "grid" ``steps``;
            for "caruana" ``rounds`` and ``history``.
    """

    combination: Combination
    notes: dict[str, Any]


def fit(
    method: str,
    p: Floats,
    is_all: Truth,
    genetic: GeneticSettings | None = None,
    votes: int | None = None,
) -> FittedWeights:
    """Find how to combine models, by one of ``CHOICES``.

    The order of the models does not matter, but for "arbiter". Models with the same probabilities
    share their weight equally.

    Args:
        method: "mean" and "vote" fit nothing, nor does "arbiter", whose third model decides where
            the first two disagree (Y. Liu and F. Long, in: ISBI 2019 C-NMC Challenge); "auc" weighs
            by AUC - .5; "genetic" is the paper's search and "grid" an exhaustive one, both for the
            best weighted F1; "caruana" selects greedily; "stacking" is a logistic regression.
        p: probabilities of ALL, shape (cells, models).
        is_all: truth, shape (cells,).
        genetic: settings of "genetic"; the paper's if None.
        votes: of "vote", how many models must call a cell ALL; the majority if None.

    Raises:
        BlastscopeError: if the method is unknown, there are no models or cells, the method needs
            another number of models, or the cells are of one class only and the method needs both.
    """
    if method not in CHOICES:
        raise BlastscopeError(f"'{method}' is not a method: choose {', '.join(CHOICES)}.")
    cells, models = p.shape
    if not cells or not models:
        raise BlastscopeError(
            f"An ensemble needs models and cells: there are {models} models and {cells} cells."
        )
    if method in UNFITTED:
        return FittedWeights(fit_nothing(method, models, votes), {})
    _refuse_one_class(method, is_all)
    order = np.lexsort(np.round(p, 12)[::-1])
    columns = np.ascontiguousarray(p[:, order])
    if method == "stacking":
        combination = _stacked(columns, is_all)
        weights = np.array(combination.weights)
        return FittedWeights(replace(combination, weights=_restored(weights, columns, order)), {})
    if models == 1:
        return FittedWeights(Combination(method, "weights", (1.0,)), {})
    weights, notes = _SEARCHES[method](columns, is_all, genetic or GeneticSettings())
    return FittedWeights(Combination(method, "weights", _restored(weights, columns, order)), notes)


def fit_nothing(method: str, models: int, votes: int | None = None) -> Combination:
    """Return the rule of one of ``UNFITTED`` for so many models.

    Raises:
        BlastscopeError: if so many models cannot follow it.
    """
    kinds: dict[str, Kind] = {"mean": "weights", "vote": "votes", ARBITER: "arbiter"}
    needed = votes if method == "vote" else None
    try:
        return Combination(method, kinds[method], (1 / models,) * models, needed=needed)
    except ValueError as error:
        raise BlastscopeError(f"The method {method} does not fit: {error}.") from error


def _restored(weights: Floats, columns: Floats, order: NDArray[np.intp]) -> tuple[float, ...]:
    """Share the weights of equal models between them, and undo the sorting of the models."""
    _, same = np.unique(columns, axis=1, return_inverse=True)
    same = same.ravel()
    shared = np.bincount(same, weights)[same] / np.bincount(same)[same]
    restored = np.empty_like(weights)
    restored[order] = shared
    return tuple(float(weight) for weight in restored)


def _refuse_one_class(method: str, is_all: Truth) -> None:
    ill = int(is_all.sum())
    if ill in (0, len(is_all)):
        which = "ALL" if ill else "normal"
        raise BlastscopeError(
            f"The {len(is_all)} cells to fit on are {which} only, but '{method}' needs both: "
            "fit on a part that has both classes, or choose mean or vote."
        )


def grid_weights(p: Floats, is_all: Truth) -> Found:
    """Try every weighting of a grid; of equal weighted F1 the lowest log loss wins.

    Its step is .01, or the finest with which it has at most 200,000 points.

    Args:
        p: probabilities of ALL, shape (cells, models).
        is_all: truth, shape (cells,), with both classes.

    Returns:
        The weights, shape (models,), and their ``weighted_f1`` and ``steps``, into how many 1 was
        divided.
    """
    models, steps = p.shape[1], 1
    while steps < _FINEST and math.comb(steps + models, models - 1) <= _MOST_POINTS:
        steps += 1
    grid = simplex_grid(models, steps)
    objective = Objective(p, is_all)
    scores = objective.scores(grid)
    best = objective.best_of(grid, scores)
    return grid[best], {"weighted_f1": float(scores[best]), "steps": steps}


def simplex_grid(models: int, steps: int) -> Floats:
    """Return every ``(k_1, ..., k_m) / K`` with whole ``k_i >= 0`` that sum to K.

    Returns:
        Shape (C(K + m - 1, m - 1), m), in lexical order.
    """
    left = np.array([steps])
    columns: list[NDArray[np.int_]] = []
    for _ in range(models - 1):
        # Each row so far continues with 0, 1, ... up to all that it has left.
        repeats = left + 1
        starts = np.repeat(np.cumsum(repeats) - repeats, repeats)
        taken = np.arange(repeats.sum()) - starts
        columns = [np.repeat(column, repeats) for column in columns] + [taken]
        left = np.repeat(left, repeats) - taken
    return np.column_stack([*columns, left]) / steps


def greedy_weights(p: Floats, is_all: Truth) -> Found:
    """Select models one at a time for weighted F1, of equal ones the lowest log loss.

    R. Caruana, A. Niculescu-Mizil, G. Crew and A. Ksikes, Ensemble selection from libraries of
    models, ICML 2004, with replacement (section 2.1): a model that is chosen twice weighs twice.
    The first choice is the best single model. The shortest prefix of the best score is kept.

    Args:
        p: probabilities of ALL, shape (cells, models).
        is_all: truth, shape (cells,), with both classes.

    Returns:
        How often each model was chosen, divided by the choices, shape (models,); their
        ``weighted_f1``, ``rounds`` (choices kept) and ``history`` (the weighted F1 after each
        choice, an array).
    """
    models = p.shape[1]
    objective = Objective(p, is_all)
    counts = np.zeros(models)
    every, history = [], np.empty(_CHOICES)
    for turn in range(_CHOICES):
        candidates = (counts + np.eye(models)) / (turn + 1)
        scores = objective.scores(candidates)
        chosen = objective.best_of(candidates, scores)
        counts[chosen] += 1
        every.append(candidates[chosen])
        history[turn] = scores[chosen]
    best = int(history.argmax())
    notes = {"weighted_f1": float(history[best]), "rounds": best + 1, "history": history}
    return every[best], notes


def _auc(p: Floats, is_all: Truth, _: GeneticSettings) -> Found:
    """Weigh each model by its AUC minus one half; equally if none is better than chance."""
    gains = np.array([max(roc_auc_score(is_all, column) - 0.5, 0.0) for column in p.T])
    total = gains.sum()
    return gains / total if total > 0 else np.full(len(gains), 1 / len(gains)), {}


def _genetic(p: Floats, is_all: Truth, settings: GeneticSettings) -> Found:
    found = genetic_weights(p, is_all, settings)
    notes = {"weighted_f1": found.score, "settings": asdict(settings), "history": found.history}
    return found.weights, {**notes, "runs": [asdict(run) for run in found.runs]}


def _stacked(p: Floats, is_all: Truth) -> Combination:
    """Fit a logistic regression on the models' log odds (stacking: D. H. Wolpert, 1992).

    It is scikit-learn's, with its usual L2 penalty (C = 1); weights may be negative.
    """
    model = LogisticRegression(max_iter=1000, tol=1e-8).fit(clipped_logit(p), is_all)
    weights = tuple(float(weight) for weight in model.coef_[0])
    return Combination("stacking", "logistic", weights, float(model.intercept_[0]))


_SEARCHES: dict[str, Callable[[Floats, Truth, GeneticSettings], Found]] = {
    "auc": _auc,
    "genetic": _genetic,
    "grid": lambda p, is_all, _: grid_weights(p, is_all),
    "caruana": lambda p, is_all, _: greedy_weights(p, is_all),
}
