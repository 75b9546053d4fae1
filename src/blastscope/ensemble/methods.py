"""One door to every way of finding an ensemble's weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blastscope.ensemble.combination import Combination
from blastscope.ensemble.exact import exact_weights
from blastscope.ensemble.genetic import GeneticSettings, genetic_weights
from blastscope.ensemble.greedy import greedy_weights
from blastscope.ensemble.objective import Floats
from blastscope.ensemble.simplex import grid_weights
from blastscope.ensemble.stacking import auc_weights, stacked
from blastscope.errors import BlastscopeError

METHODS = ("mean", "vote", "auc", "genetic", "grid", "exact", "caruana", "stacking")

UNFITTED = ("mean", "vote")
"""The methods that look at no label."""

Truth = NDArray[np.bool_]
Found = tuple[Floats, dict[str, Any]]


@dataclass(frozen=True)
class FittedWeights:
    """A combination, and what is worth knowing of how it was found.

    Attributes:
        combination: the rule.
        notes: empty where nothing was searched. Otherwise ``weighted_f1`` on the fitting cells, and
            of "genetic" ``settings``, ``runs`` (each one's ``score`` and ``generation``) and
            ``history`` (best so far, an array of shape (runs, generations)); of "grid" ``steps``;
            of "exact" ``bound``, ``proven``, ``regions`` and ``genetic_weighted_f1``, its start's;
            of "caruana" ``rounds``.
    """

    combination: Combination
    notes: dict[str, Any]


def fit(
    method: str, p: Floats, is_all: Truth, genetic: GeneticSettings | None = None
) -> FittedWeights:
    """Find how to combine models, by one of ``METHODS``.

    The order of the models does not matter: other weights come out in their order and are the same.
    Models that give the same probabilities share their weight equally.

    Args:
        method: "mean" and "vote" fit nothing; "auc" weighs by AUC - .5; "genetic" is the paper's
            search, "grid" and "exact" look for the best weighted F1 there is ("exact" proves it and
            never scores below "genetic"); "caruana" selects greedily; "stacking" is a regression.
        p: probabilities of ALL, shape (cells, models).
        is_all: truth, shape (cells,).
        genetic: settings of "genetic", and of the search from which "exact" starts, where the
            authors' unnormalised mutation is left out.

    Raises:
        BlastscopeError: where the method is unknown, there are no models or cells, or the cells
            are of one class only and the method needs both.
    """
    if method not in METHODS:
        raise BlastscopeError(f"'{method}' combines no models: choose {', '.join(METHODS)}.")
    cells, models = p.shape
    if not cells or not models:
        raise BlastscopeError(
            f"An ensemble is made of models and cells: there are {models} models and {cells} cells."
        )
    if method in UNFITTED:
        kind = "weights" if method == "mean" else "votes"
        return FittedWeights(Combination(method, kind, (1 / models,) * models), {})  # type: ignore[arg-type]
    _refuse_one_class(method, is_all)
    order = np.lexsort(np.round(p, 12)[::-1])
    columns = np.ascontiguousarray(p[:, order])
    if method == "stacking":
        combination = stacked(columns, is_all)
        weights = np.array(combination.weights)
        return FittedWeights(replace(combination, weights=_restored(weights, columns, order)), {})
    if models == 1:
        return FittedWeights(Combination(method, "weights", (1.0,)), {})
    weights, notes = _SEARCHES[method](columns, is_all, genetic or GeneticSettings())
    return FittedWeights(Combination(method, "weights", _restored(weights, columns, order)), notes)


def _restored(weights: Floats, columns: Floats, order: NDArray[np.intp]) -> tuple[float, ...]:
    """Share the weights of equal models between them, and return to the order that was given."""
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
            f"All {len(is_all)} cells to fit on are {which}, but '{method}' learns from both "
            "classes: fit on a part that has both, or take mean or vote."
        )


def _auc(p: Floats, is_all: Truth, _: GeneticSettings) -> Found:
    return auc_weights(p, is_all), {}


def _genetic(p: Floats, is_all: Truth, settings: GeneticSettings) -> Found:
    found = genetic_weights(p, is_all, settings)
    notes = {
        "weighted_f1": found.score,
        "settings": asdict(settings),
        "runs": [asdict(run) for run in found.runs],
        "history": found.history,
    }
    return found.weights, notes


def _grid(p: Floats, is_all: Truth, _: GeneticSettings) -> Found:
    found = grid_weights(p, is_all)
    return found.weights, {"weighted_f1": found.score, "steps": found.steps}


def _exact(p: Floats, is_all: Truth, settings: GeneticSettings) -> Found:
    start = genetic_weights(p, is_all, replace(settings, as_published=False))
    found = exact_weights(p, is_all, start.weights)
    notes = {
        "weighted_f1": found.score,
        "bound": found.bound,
        "proven": found.proven,
        "regions": found.regions,
        "genetic_weighted_f1": start.score,
    }
    return found.weights, notes


def _caruana(p: Floats, is_all: Truth, _: GeneticSettings) -> Found:
    found = greedy_weights(p, is_all)
    return found.weights, {"weighted_f1": found.score, "rounds": found.rounds}


_SEARCHES: dict[str, Callable[[Floats, Truth, GeneticSettings], Found]] = {
    "auc": _auc,
    "genetic": _genetic,
    "grid": _grid,
    "exact": _exact,
    "caruana": _caruana,
}
