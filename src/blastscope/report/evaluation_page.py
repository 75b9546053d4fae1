"""The page and the model card of an evaluation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from blastscope.decision.fitting import NoDecision
from blastscope.decision.reported_evaluation import ReportedEvaluation
from blastscope.report.decision_text import (
    SHARE_ASSUMPTIONS,
    choice_text,
    fitted_on_text,
    share_coverage_text,
    shares_left_out,
)
from blastscope.report.evaluation_plots import best_epoch
from blastscope.report.evaluation_text import (
    CITATION,
    detail_lines,
    inductive_rows,
    leakage_text,
    metric_rows,
    sampling_text,
    transductive_text,
    verdict_lines,
    verdict_title,
)
from blastscope.report.html import render, render_text, svg_uri
from blastscope.report.shortcut_text import SUBGROUP_NAMES, TRAIT_NAMES, rivals_text, size_text
from blastscope.report.text import LEARNING_NAMES, METRIC_NAMES, number, protocol_name

if TYPE_CHECKING:
    from blastscope.evaluation.result import Evaluation
    from blastscope.evaluation.sources import RunNotes
    from blastscope.report.crossval_page import FoldsTable

DECISION_NAMES = {
    "weighted_f1": "weighted F1",
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision_all": "precision, ALL",
    "precision_hem": "precision, normal",
    "brier_before": "Brier score before calibration",
    "brier": "Brier score",
    "kept": "cells not referred",
    "kept_all": "ALL cells not referred",
    "kept_hem": "normal cells not referred",
    "kept_error": "wrong calls among cells not referred",
    "kept_missed": "missed blasts among ALL cells not referred",
    "covered": "true label in the conformal set",
    "covered_all": "the same, ALL cells",
    "covered_hem": "the same, normal cells",
    "single": "sets of one label",
    "both": "sets of both labels",
    "neither": "empty sets",
}
"""The metrics of decisions, in the order of the page."""


def evaluation_page(
    evaluation: ReportedEvaluation,
    notes: RunNotes,
    pictures: Mapping[str, Path],
    folds: FoldsTable | None = None,
) -> str:
    """Write the page of an evaluation, as HTML that needs no other file and no network.

    ``notes`` are the run's own record, ``pictures`` SVG files by plot (``evaluation_plots.PLOTS``),
    ``folds`` those of a cross-validation.
    """
    decided = None if isinstance(evaluation.decisions, NoDecision) else evaluation.decisions
    reference = None if decided is None else decided.decision.reference
    return render(
        "evaluation.html",
        title=f"{evaluation.model}: {evaluation.part} cells, {protocol_name(evaluation.protocol)}",
        synthetic=evaluation.synthetic,
        evaluation=evaluation,
        notes=notes,
        folds=folds,
        verdict=evaluation.verdict,
        verdict_title=verdict_title(evaluation),
        verdict_lines=verdict_lines(evaluation),
        metric_rows=metric_rows(evaluation),
        inductive_rows=inductive_rows(evaluation),
        transductive=" ".join(transductive_text(evaluation.inductive)),
        detail_lines=detail_lines(evaluation),
        size_text=size_text(evaluation),
        rivals_text=rivals_text(evaluation.shortcuts),
        trait_names=TRAIT_NAMES,
        subgroup_names=SUBGROUP_NAMES,
        sampling=sampling_text(evaluation.intervals.sampling),
        leakage="" if evaluation.leakage is None else leakage_text(evaluation.leakage),
        decided=decided,
        fitted_on="" if decided is None else fitted_on_text(decided.fitted_on),
        choice="" if decided is None else choice_text(decided.decision),
        decision_names=DECISION_NAMES,
        share_assumptions=SHARE_ASSUMPTIONS,
        shares_left_out="" if decided is None else shares_left_out(decided),
        share_coverage="" if reference is None else share_coverage_text(reference),
        subjects=evaluation.subjects.to_dicts(),
        pictures={name: svg_uri(path) for name, path in pictures.items()},
        published=_published(evaluation, notes),
        source=_source(notes),
        note=_expected(notes).get("note"),
        environment=json.dumps(notes.environment, indent=2) if notes.environment else "",
    )


def _expected(notes: RunNotes) -> dict[str, object]:
    expected = notes.recipe.get("expected")
    return expected if isinstance(expected, dict) else {}


def _source(notes: RunNotes) -> str:
    """Name the section of the paper that the recipe's published metrics are from."""
    paper = notes.recipe.get("paper")
    if not isinstance(paper, dict):
        return "the recipe's source"
    named = (f"section {paper.get('section')}", paper.get("name"))
    return ", ".join(["Baldi and Cioffo", *(str(part) for part in named if part)])


def _published(evaluation: Evaluation, notes: RunNotes) -> list[tuple[str, str, str]]:
    """Return rows of (name, published metric, this run's) for what the recipe's source reports."""
    best = best_epoch(notes.history) if notes.history is not None else None
    test = evaluation.parts.get("test", {})
    rows = []
    for key, value in _expected(notes).items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if key in LEARNING_NAMES:
            own = best[key] if best else None
            rows.append((LEARNING_NAMES[key], number(value), number(own)))
        elif key in METRIC_NAMES:
            rows.append((f"test {METRIC_NAMES[key]}", number(value), number(test.get(key))))
    return rows


def model_card(found: ReportedEvaluation) -> str:
    """Write a model's card as Markdown (Mitchell et al., Model Cards, FAT* 2019).

    It has the verdict first, then metrics, baselines and details, in the order of the page.
    """
    return render_text(
        "model_card.md",
        found=found,
        verdict_title=verdict_title(found),
        verdict_lines=verdict_lines(found),
        metric_rows=metric_rows(found),
        inductive_rows=inductive_rows(found),
        transductive=" ".join(transductive_text(found.inductive)),
        detail_lines=detail_lines(found),
        sampling=sampling_text(found.intervals.sampling),
        citation=CITATION,
    )
