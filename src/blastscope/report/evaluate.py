"""Evaluate a run or a prediction table: figures, pictures and one page, written to a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from blastscope.challenge.scoring import open_labelled
from blastscope.evaluate.curves import precision_recall_curve, roc_curve
from blastscope.evaluate.evaluation import judge
from blastscope.evaluate.metrics import THRESHOLD
from blastscope.evaluate.result import Evaluation
from blastscope.evaluate.source import RunNotes
from blastscope.files import write_json, write_text
from blastscope.report import figures
from blastscope.report.evaluation_page import evaluation_page

if TYPE_CHECKING:
    from blastscope.report.crossval import FoldsTable


def evaluate(
    source: Path,
    part: str = "test",
    out: Path | None = None,
    model: str | None = None,
    labels: Path | None = None,
    folds: FoldsTable | None = None,
) -> Evaluation:
    """Evaluate a run or anybody's prediction table.

    Writes ``metrics.json``, ``figures/*.png`` and ``*.svg``, and a self-contained
    ``report.html``. Files of these names are derived and rewritten; nothing else is touched.

    Args:
        source: a run folder, a prediction table (Parquet or CSV) or, with ``labels``, a submission
            to the challenge.
        part: the part to report in detail; metrics are computed for every labelled part.
        out: the folder to write to; the run folder itself, or ``<table>-evaluation`` beside, for
            the test part; a folder named after the part, for another.
        model: which model, where the table holds several.
        labels: a labels table (CSV) for the cells of ``part``, where the predictions have none.
        folds: of the cross-validation that the predictions are of, for the page.

    Raises:
        BlastscopeError: where there is nothing to judge by (no predictions, no labels), the labels
            are not of the same cells, the run's checkpoint is stale, or the folder cannot be
            written.
    """
    opened = open_labelled(source, labels, part, model)
    if out is None:
        out = opened.default_out
        if part != "test":  # the report of the test part keeps its place
            out = out / part if source.is_dir() else out.with_name(f"{out.name}-{part}")
    evaluation = judge(opened, part, out, model)
    pictures = _draw(evaluation, opened.notes)
    write_json(evaluation.out / "metrics.json", evaluation.as_json())
    write_text(evaluation.report, evaluation_page(evaluation, opened.notes, pictures, folds))
    return evaluation


def _draw(evaluation: Evaluation, notes: RunNotes) -> dict[str, Path]:
    """Draw what can be drawn into ``figures/``; an older figure that cannot be is removed."""
    counts = evaluation.metrics
    drawn = {
        "confusion-matrix": figures.confusion_figure(
            *(int(counts[name] or 0) for name in ("tn", "fp", "fn", "tp"))
        )
    }
    if counts["auc"] is not None:
        is_all = (evaluation.cells["label"] == "all").to_numpy()
        p_all = evaluation.cells["p_all"].to_numpy()
        drawn["roc"] = figures.roc_figure(roc_curve(is_all, p_all, THRESHOLD))
        drawn["precision-recall"] = figures.precision_recall_figure(
            precision_recall_curve(is_all, p_all, THRESHOLD), float(is_all.mean())
        )
    if not evaluation.subjects.is_empty():
        drawn["subjects"] = figures.subjects_figure(evaluation.subjects)
    if notes.history is not None:
        drawn["learning-curves"] = figures.learning_figure(notes.history)
    return figures.save_all(drawn, evaluation.out / "figures")
