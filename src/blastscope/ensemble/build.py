"""Fit an ensemble on one part of the cells and apply it to another, its rivals beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blastscope.ensemble.fit import METHODS, UNFITTED, Fitted, fit
from blastscope.ensemble.genetic import GeneticSettings
from blastscope.ensemble.nested import Nested, cross_fitted
from blastscope.errors import BlastscopeError
from blastscope.evaluate.scores import Member, Scores
from blastscope.predictions import SYNTHETIC_MARK

METHOD_NAMES = {
    "mean": "mean",
    "vote": "majority vote",
    "auc": "weights by AUC",
    "genetic": "genetic weights",
    "grid": "best weights of a grid",
    "exact": "exact best weights",
    "caruana": "greedy selection",
    "stacking": "logistic stacking",
}


@dataclass(frozen=True)
class Plan:
    """What is asked for.

    Attributes:
        method: one of ``METHODS``.
        fit: the part that weights are fitted on.
        apply: the part that is reported.
        nested: fit and report on one part, in folds, so that no cell is judged by weights that
            have seen it.
        genetic: the genetic search's settings.
        seed: of the folds.
    """

    method: str = "genetic"
    fit: str = "validation"
    apply: str = "test"
    nested: bool = False
    genetic: GeneticSettings = field(default_factory=GeneticSettings)
    seed: int = 24

    def __post_init__(self) -> None:
        """Refuse what would report weights on the cells that chose them.

        Raises:
            BlastscopeError: where the parts or the method do not go.
        """
        if self.method not in METHODS:
            raise BlastscopeError(
                f"{self.method!r} is no method of an ensemble: choose {', '.join(METHODS)}."
            )
        if self.nested and self.fit != self.apply:
            raise BlastscopeError(
                f"--nested fits and reports on one part, here {self.fit} and {self.apply}: give "
                f"--fit {self.apply}."
            )
        if self.fit == self.apply and not self.nested and self.method not in UNFITTED:
            raise BlastscopeError(
                f"Weights that were fitted on the {self.fit} cells cannot be reported on them: "
                "choose another part to --fit, or give --nested, which fits in folds."
            )

    @property
    def fits(self) -> bool:
        """Whether fitting on the fit part leaves the reported part untouched."""
        return self.fit != self.apply or self.nested


@dataclass(frozen=True)
class Built:
    """An ensemble, and what else could have been built of the same members.

    Attributes:
        plan: what was asked for.
        name: the ensemble's, in its prediction table.
        fitted: every method's outcome on the whole fit part, the chosen one's among them.
        nested: every fitted method's outcome in folds, where asked for.
        fit_cells: labelled cells that weights were fitted on; none where nothing was fitted.
        scores: the members, then every method, on all cells; NaN where a member does not know a
            cell. Labelled cells of the reported part are cross-fitted where nested.
    """

    plan: Plan
    name: str
    fitted: Mapping[str, Fitted]
    nested: Mapping[str, Nested]
    fit_cells: int
    scores: Scores

    @property
    def model(self) -> str:
        """The chosen method's name among ``scores.models``."""
        return self.scores.models[-len(self.fitted) + list(self.fitted).index(self.plan.method)]

    @property
    def p_all(self) -> NDArray[np.float64]:
        """The chosen method's probabilities, shape (cells,)."""
        return self.scores.p_all[:, self.scores.models.index(self.model)]

    @property
    def chosen(self) -> Fitted:
        """The outcome of the method that was asked for."""
        return self.fitted[self.plan.method]


def build(scores: Scores, plan: Plan) -> Built:
    """Fit every method on one part and apply it to another.

    Args:
        scores: the members' probabilities on all cells.
        plan: what is asked for.

    Raises:
        BlastscopeError: where a part is missing or unlabelled, or there is but one member.
    """
    if len(scores.members) < 2:
        raise BlastscopeError(
            f"An ensemble has two members or more, and {scores.members[0].path} holds one model: "
            "give further runs or prediction tables."
        )
    judged = scores.part(plan.apply)
    methods = METHODS if plan.fits else UNFITTED
    seen = scores.part(plan.fit) if plan.fits else judged
    fitted = {name: fit(name, seen.p_all, seen.is_all, plan.genetic) for name in methods}
    nested = _nested(judged, plan) if plan.nested else {}
    members = [_member(name, scores) for name in methods]
    columns = [_column(name, scores, plan, fitted[name], nested) for name in methods]
    return Built(
        plan,
        f"ensemble of {len(scores.members)}: {METHOD_NAMES[plan.method]}"
        + SYNTHETIC_MARK * scores.synthetic,
        fitted,
        nested,
        seen.cells.height if plan.fits else 0,
        scores.with_models(members, np.column_stack(columns)),
    )


def _column(
    method: str, scores: Scores, plan: Plan, fitted: Fitted, nested: Mapping[str, Nested]
) -> NDArray[np.float64]:
    known = ~np.isnan(scores.p_all).any(axis=1)
    p_all = np.full(scores.cells.height, np.nan)
    p_all[known] = fitted.combination.apply(scores.p_all[known])
    if method in nested:
        part = scores.cells["part"] == plan.apply
        rows = (part & scores.cells["label"].is_not_null()).to_numpy()
        p_all[rows] = nested[method].p_all
    return p_all


def _nested(judged: Scores, plan: Plan) -> dict[str, Nested]:
    """Cross-fit what has weights to fit."""
    methods = [name for name in METHODS if name not in UNFITTED]
    return {
        name: cross_fitted(
            name,
            judged.p_all,
            judged.is_all,
            judged.subjects,
            seed=plan.seed,
            genetic=plan.genetic,
        )
        for name in methods
    }


def _member(method: str, scores: Scores) -> Member:
    """Name a method as a model beside its members."""
    name = f"ensemble: {METHOD_NAMES[method]}" + SYNTHETIC_MARK * scores.synthetic
    return Member(name, Path(), {"protocol": scores.protocol, "synthetic": scores.synthetic})
