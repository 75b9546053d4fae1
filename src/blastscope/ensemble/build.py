"""Fit an ensemble on one split part and apply it to another, with every other method beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blastscope.ensemble.genetic import GeneticSettings
from blastscope.ensemble.methods import ARBITER, CHOICES, METHODS, UNFITTED, FittedWeights, fit
from blastscope.ensemble.nested import Nested, cross_fitted
from blastscope.errors import BlastscopeError
from blastscope.evaluation.aligned_predictions import AlignedPredictions, ModelSource
from blastscope.evaluation.overlap import CUT_BY_CELL
from blastscope.io.predictions import SYNTHETIC_MARK

METHOD_NAMES = {
    "mean": "mean",
    "vote": "majority vote",
    "auc": "weights by AUC",
    "genetic": "genetic search",
    "grid": "grid search",
    "caruana": "greedy selection",
    "stacking": "logistic stacking",
    "arbiter": "a third model as arbiter",
}


@dataclass(frozen=True)
class EnsembleSettings:
    """The options of an ensemble.

    ``votes``: how many members must call a cell ALL, with the method vote; the majority if None.
    ``nested``: fit and report on one part, in folds, so that no cell is judged by weights that have
    seen it.
    """

    method: str = "genetic"
    fit: str = "validation"
    apply: str = "test"
    nested: bool = False
    genetic: GeneticSettings = field(default_factory=GeneticSettings)
    seed: int = 24
    votes: int | None = None

    def __post_init__(self) -> None:
        """Refuse to report weights on the cells that chose them."""
        if self.method not in CHOICES:
            raise BlastscopeError(
                f"{self.method!r} is not a method of an ensemble: choose {', '.join(CHOICES)}."
            )
        if self.votes is not None and self.method != "vote":
            raise BlastscopeError(
                f"`votes` is a setting of the method vote, and not of {self.method}: leave it out."
            )
        if self.nested and self.method in UNFITTED:
            raise BlastscopeError(f"{self.method} has no weights to fit: leave `nested` out.")
        if self.nested and self.fit != self.apply:
            raise BlastscopeError(
                f"`nested` needs one part to fit and report on, not {self.fit} and {self.apply}: "
                f"fit on {self.apply}."
            )
        if self.fit == self.apply and not self.nested and self.method not in UNFITTED:
            raise BlastscopeError(
                f"The weights would be fitted and reported on the same {self.fit} cells: choose "
                "another part to fit on, or `nested`, which fits in folds."
            )

    @property
    def fits(self) -> bool:
        """Whether fitting on the fit part leaves the reported part untouched."""
        return self.fit != self.apply or self.nested


@dataclass(frozen=True)
class Built:
    """An ensemble, with the outcome of every other method on the same members.

    Attributes:
        name: the ensemble's, in its prediction table.
        fitted: every method's outcome on the whole fit part, the chosen one's among them.
        nested: every fitted method's outcome in folds, if nested.
        fit_cells: labelled cells that weights were fitted on; 0 if nothing was fitted.
        scores: the members, then every method, on all cells; NaN if a member does not know a cell.
            Where nested, labelled cells of the reported part are cross-fitted, and other parts,
            whose weights would know those labels, have NaN.
    """

    plan: EnsembleSettings
    name: str
    fitted: Mapping[str, FittedWeights]
    nested: Mapping[str, Nested]
    fit_cells: int
    scores: AlignedPredictions

    @property
    def members(self) -> tuple[str, ...]:
        """The members' names."""
        return self.scores.models[: -len(self.fitted)]

    @property
    def model(self) -> str:
        """The chosen method's name among ``scores.models``."""
        return self.name_of(self.plan.method)

    def name_of(self, method: str) -> str:
        """Return a method's name among ``scores.models``."""
        return self.scores.models[len(self.members) + list(self.fitted).index(method)]

    @property
    def p_all(self) -> NDArray[np.float64]:
        """The chosen method's probabilities, shape (cells,)."""
        return self.scores.p_all[:, self.scores.models.index(self.model)]

    @property
    def chosen(self) -> FittedWeights:
        """The outcome of the method that was asked for."""
        return self.fitted[self.plan.method]


def build(scores: AlignedPredictions, plan: EnsembleSettings) -> Built:
    """Fit every method on one part and apply it to another.

    The reported part may be unlabelled, unless nested. A mean or a vote needs no part to be fitted
    on; without one, the methods that do are left out.

    Raises:
        BlastscopeError: if a part is missing or what is fitted on has no labels, there is only one
            member, or a member's own weights were fitted on the reported part.
    """
    _refuse_members(scores, plan)
    reported = scores.part(plan.apply) if plan.nested else scores.every(plan.apply)
    seen = _seen(scores, plan)
    # Which model is the arbiter follows from their order, so it is no rival unless asked for.
    methods = [name for name in (UNFITTED if seen is None else METHODS) if name != ARBITER]
    methods += [ARBITER] * (plan.method == ARBITER)
    cells = reported if seen is None else seen
    # What was asked for comes first, so that a refusal names it and not one of its rivals.
    order = sorted(methods, key=lambda name: name != plan.method)
    found = {
        name: fit(
            name, cells.p_all, cells.is_all, plan.genetic, plan.votes if name == "vote" else None
        )
        for name in order
    }
    nested = _nested(reported, plan) if plan.nested else {}
    columns = [_column(name, scores, plan, found[name], nested) for name in methods]
    return Built(
        plan,
        f"ensemble of {len(scores.members)}: {METHOD_NAMES[plan.method]}"
        + SYNTHETIC_MARK * scores.synthetic,
        {name: found[name] for name in methods},
        nested,
        0 if seen is None else seen.cells.height,
        scores.with_models([_member(name, scores) for name in methods], np.column_stack(columns)),
    )


def _refuse_members(scores: AlignedPredictions, plan: EnsembleSettings) -> None:
    if len(scores.members) < 2:
        raise BlastscopeError(
            f"An ensemble needs two members, and {scores.members[0].where} has one model: give "
            "further runs or prediction tables."
        )
    ours = {_member(name, scores).name for name in CHOICES}
    for member in scores.members:
        if member.name in ours:
            raise BlastscopeError(
                f"{member.where} has a model called '{member.name}', the name of a method's "
                f"result: rename it, A={member.where}."
            )
    known = scores.fitted_on(plan.apply)
    if known:
        raise BlastscopeError(
            f"The member '{known[0]}' is an ensemble with weights fitted on the {plan.apply} "
            "cells: give its members instead, or report another part."
        )


def _seen(scores: AlignedPredictions, plan: EnsembleSettings) -> AlignedPredictions | None:
    """Return the cells to fit on; None if these tables allow only a mean or a vote."""
    if plan.method not in UNFITTED:
        return scores.part(plan.fit)
    try:
        seen = scores.part(plan.fit)
    except BlastscopeError:
        return None
    both = bool(seen.is_all.any() and not seen.is_all.all())
    return seen if both and plan.fits else None


def _column(
    method: str,
    scores: AlignedPredictions,
    plan: EnsembleSettings,
    fitted: FittedWeights,
    nested: Mapping[str, Nested],
) -> NDArray[np.float64]:
    known = ~np.isnan(scores.p_all).any(axis=1)
    p_all = np.full(scores.cells.height, np.nan)
    if method in nested:
        # The weights of all the part know its labels, so other parts do not test them either.
        known &= ((scores.cells["part"] == plan.apply) & scores.cells["label"].is_null()).to_numpy()
    p_all[known] = fitted.combination.apply(scores.p_all[known])
    if method in nested:
        part = scores.cells["part"] == plan.apply
        rows = (part & scores.cells["label"].is_not_null()).to_numpy()
        p_all[rows] = nested[method].p_all
    return p_all


def _nested(reported: AlignedPredictions, plan: EnsembleSettings) -> dict[str, Nested]:
    """Cross-fit every method that has weights, the chosen one first."""
    methods = [name for name in METHODS if name not in UNFITTED]
    methods.sort(key=lambda name: name != plan.method)
    known = (reported.p_all, reported.is_all, reported.subjects)
    return {name: cross_fitted(name, *known, plan.seed, plan.genetic) for name in methods}


def _member(method: str, scores: AlignedPredictions) -> ModelSource:
    """Name a method as a model beside its members, with folds if they have some."""
    name = f"ensemble: {METHOD_NAMES[method]}" + SYNTHETIC_MARK * scores.synthetic
    about = {"protocol": scores.protocol, "synthetic": scores.synthetic, "derived": True}
    by = out_of_fold(scores)
    return ModelSource(name, Path(name), about if by is None else {**about, "out_of_fold": by})


def out_of_fold(scores: AlignedPredictions) -> str | None:
    """Return how the folds of the members were cut; None if they have none.

    Of several ways it is one that leaves subjects in training, if there is one: what the ensemble
    knows of a subject is all that its members know.
    """
    found = {member.out_of_fold for member in scores.members if not member.derived} - {None}
    return next((by for by in (*CUT_BY_CELL, *sorted(filter(None, found))) if by in found), None)
