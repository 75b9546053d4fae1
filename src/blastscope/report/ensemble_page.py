"""The page of an ensemble: how it does, where its weights come from, where its members err."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blastscope.data.store import Store
from blastscope.ensemble.build import METHOD_NAMES, Built
from blastscope.ensemble.methods import UNFITTED, FittedWeights
from blastscope.error_analysis.analysis import ErrorAnalysis
from blastscope.evaluation.comparison_result import Comparison
from blastscope.evaluation.metrics import compute_metrics
from blastscope.report.comparison_plots import draw_comparison
from blastscope.report.comparison_sections import comparison_view
from blastscope.report.comparison_text import verdict
from blastscope.report.ensemble_plots import search_figure, weights_figure
from blastscope.report.errors_page import errors_view
from blastscope.report.errors_plots import draw_errors
from blastscope.report.html import render, svg_uri
from blastscope.report.plots import save
from blastscope.report.text import protocol_name


@dataclass(frozen=True)
class WeightsRow:
    """A method's weights, written out, and what they reach on the cells that they know."""

    name: str
    chosen: bool
    weights: tuple[str, ...]
    score: float
    remark: str


def ensemble_page(
    built: Built,
    comparison: Comparison,
    errors: ErrorAnalysis,
    store: Store | None,
    figures: Path,
    settings: str,
) -> str:
    """Write the page of an ensemble.

    Args:
        built: the ensemble and its rivals.
        comparison: of the members and every method, on the reported part.
        errors: of the members, on the reported part.
        store: the cells' store, for pictures; None without.
        figures: the folder that figures are drawn into.
        settings: the text of ``ensemble.json``.

    Returns:
        HTML that needs no other file and no network.
    """
    plan = built.plan
    rows = _weights(built)
    pictures = {name: svg_uri(path) for name, path in _draw(built, rows, figures).items()}
    return render(
        "ensemble.html",
        title=f"{built.name}: {plan.apply} cells, {protocol_name(comparison.protocol)}",
        synthetic=comparison.synthetic or errors.synthetic,
        built=built,
        members=built.members,
        cautions=cautions(built),
        verdicts=verdicts(built, comparison),
        comparison=comparison_view(comparison, draw_comparison(comparison, figures)),
        fitted_sentence=_fitted_sentence(built),
        weights=rows,
        folds=_folds(built),
        search_sentence=_search_sentence(built, rows),
        pictures=pictures,
        errors=errors_view(errors, draw_errors(errors, figures), store),
        settings=settings,
    )


def verdicts(built: Built, comparison: Comparison) -> list[str]:
    """Say how the ensemble stands to the plain mean and to the member that is best here."""
    best = max(built.members, key=lambda name: comparison.estimates[name]["weighted_f1"].value)
    pairs = {(pair.first, pair.second): pair for pair in comparison.pairs}
    told = []
    if built.plan.method != "mean":
        told.append(verdict(pairs[built.model, built.name_of("mean")], comparison))
    told.append(
        "Against the member that does best on these very cells: "
        + verdict(pairs[built.model, best], comparison)
    )
    return told


def cautions(built: Built) -> list[str]:
    """Say what stands between the figures and what a reader may take them for."""
    plan, told = built.plan, []
    if plan.nested:
        told.append(built.nested[plan.method].note)
    if plan.method not in UNFITTED and plan.fit == "train":
        told.append(
            "The weights are fitted on training cells, where a member that has learnt them by "
            "heart looks best: fit them on validation cells instead."
        )
    if plan.method not in UNFITTED and not plan.nested:
        shared, of = _shared_subjects(built)
        if shared:
            told.append(
                f"{shared} of the {of} {plan.apply} subjects also had cells among those that chose "
                "the weights."
            )
    if plan.apply == "validation":
        told.append("Validation cells may have chosen the members' epochs: no strict test of them.")
    return told


def _shared_subjects(built: Built) -> tuple[int, int]:
    cells = built.scores.cells
    here, there = (
        set(cells.filter(cells["part"] == part)["subject"].drop_nulls())
        for part in (built.plan.apply, built.plan.fit)
    )
    return len(here & there), len(here)


def _weights(built: Built) -> list[WeightsRow]:
    plan = built.plan
    members = built.scores.p_all[:, : -len(built.fitted)]
    part = plan.fit if built.fit_cells else plan.apply
    rows = (built.scores.cells["part"] == part) & built.scores.cells["label"].is_not_null()
    p_all, is_all = members[rows.to_numpy()], built.scores.is_all[rows.to_numpy()]
    found = []
    for name, fitted in built.fitted.items():
        how = fitted.combination
        score = compute_metrics(is_all, how.apply(p_all))["weighted_f1"]
        written = tuple("–" if how.kind == "votes" else f"{w:.4f}" for w in how.weights)
        found.append(
            WeightsRow(
                METHOD_NAMES[name], name == plan.method, written, float(score or 0), _remark(fitted)
            )
        )
    return found


def _remark(fitted: FittedWeights) -> str:
    """Say what a search knows of its own outcome."""
    notes, how = fitted.notes, fitted.combination
    if how.kind == "logistic":
        return f"intercept {how.intercept:+.4f}"
    if "steps" in notes:
        return f"steps of 1/{notes['steps']}"
    total = sum(how.weights)
    if abs(total - 1) > 1e-6:
        return f"the weights sum to {total:.5f}, as the authors' program leaves them"
    return ""


def _fitted_sentence(built: Built) -> str:
    plan = built.plan
    if not built.fit_cells:
        return "Nothing was fitted: a mean and a vote need no weights."
    if plan.nested:
        return (
            f"These weights are fitted on all {built.fit_cells:,} labelled {plan.fit} cells, for "
            "use on further ones; the figures above are not theirs but those of weights fitted in "
            "folds, so that no cell is judged by weights that have seen it."
        )
    return (
        f"Weights are fitted on {built.fit_cells:,} labelled {plan.fit} cells and reported on the "
        f"{plan.apply} cells. What they reach where they were fitted is no figure to report: it "
        "shows how hard each method has tried."
    )


def _folds(built: Built) -> dict[str, Any] | None:
    nested = built.nested.get(built.plan.method)
    if nested is None:
        return None
    rows = [
        {
            "weights": [f"{w:.4f}" for w in combination.weights],
            "cells": int((nested.fold == k).sum()),
        }
        for k, combination in enumerate(nested.combinations)
    ]
    return {"note": nested.note, "rows": rows}


def _search_sentence(built: Built, rows: list[WeightsRow]) -> str:
    if "genetic" not in built.fitted:
        return ""
    scores = dict(zip(built.fitted, (row.score for row in rows), strict=True))
    best, found, runs = scores["grid"], scores["genetic"], built.plan.genetic.runs
    told = (
        f"The best of {runs} run{'s' * (runs > 1)} reaches {found:.4f}; the grid search {best:.4f}"
    )
    if built.plan.genetic.as_published and found > best:
        told += " with weights that sum to 1: other sums move the threshold"
    return f"{told}. The plain mean has {scores['mean']:.4f} on these cells."


def _draw(built: Built, rows: list[WeightsRow], figures: Path) -> Mapping[str, Path]:
    members = built.members
    averages = {
        METHOD_NAMES[name]: fitted.combination.weights
        for name, fitted in built.fitted.items()
        if fitted.combination.kind == "weights"
    }
    drawn = {"weights": save(weights_figure(averages, members), figures, "weights")}
    if "genetic" in built.fitted:
        scores = dict(zip(built.fitted, (row.score for row in rows), strict=True))
        history = built.fitted["genetic"].notes["history"]
        figure = search_figure(history, scores["grid"], scores["mean"], built.fit_cells)
        drawn["search"] = save(figure, figures, "search")
    return drawn
