"""The page of one evaluation: what it shows, in which order it is the template's business."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from blastscope.decision import blast_share
from blastscope.report.decision_text import METHODS
from blastscope.report.first_page import ReportedEvaluation, first_page
from blastscope.report.html import render, svg_uri
from blastscope.report.plots import best_epoch
from blastscope.report.text import LABELS, METRIC_NAMES, interval, number, protocol_name

if TYPE_CHECKING:
    from blastscope.evaluation.result import Evaluation
    from blastscope.evaluation.sources import RunNotes
    from blastscope.report.crossval_page import FoldsTable

DECIDED_NAMES = {
    "weighted_f1": "weighted F1",
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision_all": "precision, ALL",
    "precision_hem": "precision, normal",
    "brier_before": "Brier score before calibration",
    "brier": "Brier score",
    "kept": "cells not referred",
    "kept_all": "of ALL cells",
    "kept_hem": "of normal cells",
    "kept_error": "wrong calls among cells not referred",
    "kept_missed": "blasts missed among those not referred",
    "covered": "conformal sets that hold the truth",
    "covered_all": "of ALL cells",
    "covered_hem": "of normal cells",
    "single": "sets of one label",
    "both": "sets of both",
    "neither": "empty sets",
}
"""Figures of decisions, as the page lists them."""

# Published figures of training belong to the epoch of the lowest validation loss (paper, 3.1).
_LEARNING_NAMES = {
    "train_loss": "training loss",
    "train_accuracy": "training accuracy",
    "val_loss": "validation loss",
    "val_accuracy": "validation accuracy",
}


@dataclass(frozen=True)
class Card:
    """A headline number, the counts behind it, and its 95 % interval where it has one."""

    name: str
    value: str
    detail: str
    interval: str = ""


def evaluation_page(
    evaluation: ReportedEvaluation,
    notes: RunNotes,
    pictures: Mapping[str, Path],
    folds: FoldsTable | None = None,
) -> str:
    """Write the page of an evaluation.

    Args:
        evaluation: the figures.
        notes: what the run says of itself; empty for a bare table.
        pictures: SVG files by figure name (see ``figures.FIGURE_NAMES``).
        folds: of a cross-validation, where the table is of one.

    Returns:
        HTML that needs no other file and no network.
    """
    return render(
        "evaluation.html",
        title=f"{evaluation.model}: {evaluation.part} cells, {protocol_name(evaluation.protocol)}",
        synthetic=evaluation.synthetic,
        evaluation=evaluation,
        notes=notes,
        folds=folds,
        cards=_cards(evaluation),
        first=first_page(evaluation),
        decided=None if isinstance(evaluation.decisions, str) else evaluation.decisions,
        figure_names=DECIDED_NAMES,
        methods=METHODS,
        needs=blast_share.NEEDS,
        person_doubt=_person_doubt(evaluation),
        metric_names=METRIC_NAMES,
        label_names=LABELS,
        subjects=evaluation.subjects.to_dicts(),
        pictures={name: svg_uri(path) for name, path in pictures.items()},
        published=_published(evaluation, notes),
        where=_where(notes),
        note=_expected(notes).get("note"),
        environment=json.dumps(notes.environment, indent=2) if notes.environment else "",
    )


def _person_doubt(evaluation: ReportedEvaluation) -> str:
    """How often intervals of a person's share of blasts held it, from so few known persons."""
    found = evaluation.decisions
    if isinstance(found, str) or found.decision.reference is None:
        return ""
    return blast_share.told(found.decision.reference)


def _cards(evaluation: Evaluation) -> list[Card]:
    m, bounds = evaluation.metrics, evaluation.intervals.bounds
    n_all, n_hem = (m["tp"] or 0) + (m["fn"] or 0), (m["tn"] or 0) + (m["fp"] or 0)
    one_class = "one class only" if m["auc"] is None else "area under the ROC curve"
    known = evaluation.subjects
    counts = ", ".join(
        f"{known.filter(known['label'] == label).height} {name}"
        for label, name in LABELS.items()
        if label in set(known["label"])
    )
    return [
        Card(
            "weighted F1",
            number(m["weighted_f1"], 3),
            f"accuracy {number(m['accuracy'], 3)}",
            interval(bounds.get("weighted_f1")),
        ),
        Card("AUC", number(m["auc"], 3), one_class, interval(bounds.get("auc"))),
        Card(
            "sensitivity",
            number(m["recall_all"], 3),
            f"{m['tp']:,} of {n_all:,} ALL cells",
            interval(bounds.get("recall_all")),
        ),
        Card(
            "specificity",
            number(m["recall_hem"], 3),
            f"{m['tn']:,} of {n_hem:,} normal cells",
            interval(bounds.get("recall_hem")),
        ),
        Card("cells", number(m["n"]), f"{n_all:,} ALL, {n_hem:,} normal"),
        Card("subjects", number(m["n_subjects"]), counts or "not given"),
    ]


def _expected(notes: RunNotes) -> dict[str, object]:
    expected = notes.recipe.get("expected")
    return expected if isinstance(expected, dict) else {}


def _where(notes: RunNotes) -> str:
    """Say where the recipe's published figures were read."""
    paper = notes.recipe.get("paper")
    if not isinstance(paper, dict):
        return "the recipe's source"
    named = (f"section {paper.get('section')}", paper.get("name"))
    return ", ".join(["Baldi and Cioffo", *(str(part) for part in named if part)])


def _published(evaluation: Evaluation, notes: RunNotes) -> list[tuple[str, str, str]]:
    """Rows of (name, published figure, this run's) for what the recipe's source reports."""
    best = best_epoch(notes.history) if notes.history is not None else None
    test = evaluation.parts.get("test", {})
    rows = []
    for key, value in _expected(notes).items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if key in _LEARNING_NAMES:
            own = best[key] if best else None
            rows.append((_LEARNING_NAMES[key], number(value), number(own)))
        elif key in METRIC_NAMES:
            rows.append((f"test {METRIC_NAMES[key]}", number(value), number(test.get(key))))
    return rows
