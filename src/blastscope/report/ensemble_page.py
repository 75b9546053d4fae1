"""The page of an ensemble: its metrics, its weights, and the errors of its members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from blastscope.data.store import Store
from blastscope.ensemble.build import METHOD_NAMES, Built
from blastscope.ensemble.methods import UNFITTED, FittedWeights
from blastscope.ensemble.nested import Nested
from blastscope.error_analysis.analysis import ErrorAnalysis
from blastscope.evaluation.comparison import Comparison
from blastscope.evaluation.metrics import compute_metrics
from blastscope.report.comparison_page import comparison_view, draw_comparison, verdict
from blastscope.report.comparison_with_size import size_sentences, size_view
from blastscope.report.errors_page import errors_view
from blastscope.report.errors_plots import draw_errors
from blastscope.report.html import render, svg_uri
from blastscope.report.style import INK, PALETTE, QUIET, one_panel, save_all, styled
from blastscope.report.text import counted, number, protocol_name


def ensemble_page(
    built: Built,
    comparison: Comparison,
    errors: ErrorAnalysis,
    store: Store | None,
    figures: Path,
    settings: str,
) -> str:
    """Write the page of an ensemble, as HTML that needs no other file and no network.

    The comparison is of the members and every method, the errors of the members, both on the
    reported part; cells are shown only with their store; ``settings`` is the text of
    ``ensemble.json``. Plots are drawn into ``figures``.
    """
    scores = _scores(built)
    pictures = {name: svg_uri(path) for name, path in _draw(built, scores, figures).items()}
    nested = built.nested.get(built.plan.method)
    return render(
        "ensemble.html",
        title=f"{built.name}: {built.plan.apply} cells, {protocol_name(comparison.protocol)}",
        synthetic=comparison.synthetic or errors.synthetic,
        built=built,
        members=built.members,
        cautions=cautions(built),
        verdicts=verdicts(built, comparison),
        comparison=comparison_view(comparison, draw_comparison(comparison, figures)),
        beside=size_view(comparison),
        size_sentences=size_sentences(comparison.of_models(shown_models(built))),
        fitted_text=_fitted_text(built),
        scores=scores,
        method_names=METHOD_NAMES,
        remark=_remark,
        nested=nested,
        fold_cells=[] if nested is None else np.bincount(nested.fold).tolist(),
        search_text=_search_text(built, scores),
        pictures=pictures,
        errors=errors_view(errors, draw_errors(errors, figures), store),
        settings=settings,
    )


def shown_models(built: Built) -> list[str]:
    """Name the members and the ensemble, and leave out the other methods."""
    return [*built.members, built.model]


def verdicts(built: Built, comparison: Comparison) -> list[str]:
    """Write how the ensemble compares with the plain mean and with its best member."""
    best = max(built.members, key=lambda name: comparison.estimates[name]["weighted_f1"].value)
    pairs = {(pair.first, pair.second): pair for pair in comparison.pairs}
    found = []
    if built.plan.method != "mean":
        found.append(verdict(pairs[built.model, built.name_of("mean")], comparison))
    against = verdict(pairs[built.model, best], comparison)
    return [*found, f"Against the member that is best on these cells: {against}"]


def cautions(built: Built) -> list[str]:
    """Write what makes the metrics better than they would be on new cells."""
    plan, found = built.plan, []
    if plan.nested:
        found.append(nested_text(built.nested[plan.method]))
    if plan.method not in UNFITTED and plan.fit == "train":
        found.append(
            "The weights are fitted on training cells, on which an overfitted member looks best: "
            "fit them on validation cells."
        )
    if plan.method not in UNFITTED and not plan.nested:
        shared, total = _shared_subjects(built)
        if shared:
            found.append(
                f"{shared} of the {total} {plan.apply} subjects also have cells among those that "
                "the weights were fitted on."
            )
    if plan.apply == "validation":
        found.append("Validation cells may have chosen the members' epochs: not a strict test.")
    return found


def nested_text(found: Nested) -> str:
    """Write how an ensemble was cross-fitted."""
    folds = len(found.combinations)
    if found.reason is None:
        return (
            f"Cross-fitted by subject in {folds} folds: the weights for a subject's cells were "
            "fitted on other subjects only."
        )
    if found.reason == "no-weights":
        return "The method has no weights to fit, so nothing was cross-fitted."
    reason = {
        "unnamed-cells": "some cells name no subject",
        "few-subjects": "a class has fewer than two subjects",
        "one-class-folds": "no folds of whole subjects leave both classes to fit on",
    }[found.reason]
    return (
        f"Cross-fitted by cell in {folds} folds, because {reason}: cells of one subject may be on "
        "both sides, so the metrics are too high."
    )


def _shared_subjects(built: Built) -> tuple[int, int]:
    cells = built.scores.cells
    here, there = (
        set(cells.filter(cells["part"] == part)["subject"].drop_nulls())
        for part in (built.plan.apply, built.plan.fit)
    )
    return len(here & there), len(here)


def _scores(built: Built) -> dict[str, float]:
    """Return the weighted F1 of each method on the fitting cells."""
    members = built.scores.p_all[:, : -len(built.fitted)]
    part = built.plan.fit if built.fit_cells else built.plan.apply
    cells = built.scores.cells
    rows = ((cells["part"] == part) & cells["label"].is_not_null()).to_numpy()
    p_all, is_all = members[rows], built.scores.is_all[rows]
    return {
        name: float(compute_metrics(is_all, how.combination.apply(p_all))["weighted_f1"] or 0)
        for name, how in built.fitted.items()
    }


def _remark(fitted: FittedWeights) -> str:
    """Write what is special about a method's weights."""
    how = fitted.combination
    if how.kind == "logistic":
        return f"intercept {number(how.intercept, sign=True)}"
    if "steps" in fitted.notes:
        return f"steps of 1/{fitted.notes['steps']}"
    total = sum(how.weights)
    if abs(total - 1) > 1e-6:
        return f"the weights sum to {number(total, 5)}, as in the authors' program"
    return ""


def _fitted_text(built: Built) -> str:
    plan = built.plan
    if not built.fit_cells:
        return "Nothing was fitted: a mean and a vote need no weights."
    cells = f"{built.fit_cells:,} labelled {plan.fit} cells"
    if plan.nested:
        return (
            f"These weights are fitted on all {cells}, for use on other cells. The metrics above "
            "belong to weights fitted in folds, so that no cell is tested by weights that were "
            "fitted on it."
        )
    return (
        f"The weights are fitted on {cells} and reported on the {plan.apply} cells. Their weighted "
        "F1 on the fitting cells is not a result: it shows how closely each method fits."
    )


def _search_text(built: Built, scores: Mapping[str, float]) -> str:
    if "genetic" not in built.fitted:
        return ""
    return (
        f"The best of {counted(built.plan.genetic.runs, 'run')} reaches weighted F1 "
        f"{number(scores['genetic'])} on the fitting cells, the grid search "
        f"{number(scores['grid'])} and equal weights {number(scores['mean'])}."
    )


def _draw(built: Built, scores: Mapping[str, float], figures: Path) -> Mapping[str, Path]:
    averages = {
        METHOD_NAMES[name]: fitted.combination.weights
        for name, fitted in built.fitted.items()
        if fitted.combination.kind == "weights"
    }
    drawn = {"weights": weights_plot(averages, built.members)}
    if "genetic" in built.fitted:
        history = built.fitted["genetic"].notes["history"]
        drawn["search"] = search_plot(history, scores["grid"], scores["mean"], built.fit_cells)
    return save_all(drawn, figures, ())


_DARK = PALETTE[0], PALETTE[2], PALETTE[5]


@styled
def search_plot(history: NDArray[np.float64], grid: float, mean: float, cells: int) -> Figure:
    """Best weighted F1 so far of every run of the genetic search, generation by generation.

    ``history`` has shape (runs, generations); ``grid`` and ``mean`` are the weighted F1 of the grid
    search and of equal weights, on so many fitting ``cells``.
    """
    figure, axes = one_panel(7.4, 3.0)
    generations = np.arange(1, history.shape[1] + 1)
    winner = int(history[:, -1].argmax())
    others = np.delete(history, winner, axis=0).T
    if others.size:
        lines = axes.plot(generations, others, color=QUIET, linewidth=0.8, drawstyle="steps-post")
        lines[0].set_label("other runs")
    axes.plot(generations, history[winner], color=INK, label="best run", drawstyle="steps-post")
    axes.axhline(mean, color=PALETTE[0], linestyle=":", linewidth=1.2, label="equal weights")
    axes.axhline(grid, color=PALETTE[2], linestyle="--", linewidth=1.2, label="grid search")
    axes.set(xlabel="generation", ylabel="weighted F1", xlim=(1, max(2, len(generations))))
    axes.set_title(f"Genetic search on {cells:,} cells")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


@styled
def weights_plot(weights: Mapping[str, Sequence[float]], members: Sequence[str]) -> Figure:
    """Plot each method's weights, of shape (members,) and none below 0, as one bar."""
    figure, axes = one_panel(7.4, 1.1 + 0.3 * len(weights))
    left = np.zeros(len(weights))
    for k, member in enumerate(members):
        widths = np.array([values[k] for values in weights.values()])
        colour = PALETTE[k % len(PALETTE)]
        bars = axes.barh(
            range(len(weights)), widths, left=left, color=colour, height=0.62,
            hatch="///" * (k // len(PALETTE)),  # the ninth member is not the first
            edgecolor="white", linewidth=0,
        )  # fmt: skip
        for bar, width in zip(bars, widths, strict=True):
            if width >= 0.06:
                middle = bar.get_x() + width / 2
                at = bar.get_y() + bar.get_height() / 2
                ink = "white" if colour in _DARK else INK
                axes.text(
                    middle, at, f"{width:.2f}", ha="center", va="center", fontsize=8, color=ink
                )
        bars.set_label(f" {member[:40]}")  # Matplotlib hides labels that begin with "_"
        left += widths
    axes.set_yticks(range(len(weights)), list(weights))
    axes.set(xlim=(0, max(1.0, float(left.max()))), xlabel="weight", title="Weights")
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
