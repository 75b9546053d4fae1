"""Judge a model from its predictions: figures, pictures and one page, written to a folder."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from blastscope.errors import BlastscopeError, listing
from blastscope.evaluate.curves import precision_recall_curve, roc_curve
from blastscope.evaluate.metrics import THRESHOLD, Metrics, compute_metrics
from blastscope.evaluate.predictions import PARTS, select_model
from blastscope.evaluate.result import Evaluation
from blastscope.evaluate.source import RunNotes, Source, open_source
from blastscope.evaluate.subjects import subject_overlap, subject_table
from blastscope.files import write_json, write_text
from blastscope.report import figures
from blastscope.report.evaluation_page import evaluation_page

SYNTHETIC_MARK = " (synthetic)"


def evaluate(
    source: Path, part: str = "test", out: Path | None = None, model: str | None = None
) -> Evaluation:
    """Evaluate a run or anybody's prediction table.

    Writes ``metrics.json``, ``figures/*.png`` and ``*.svg``, and a self-contained
    ``report.html``. Files of these names are derived and rewritten; nothing else is touched.

    Args:
        source: a run folder, or a prediction table (Parquet or CSV).
        part: the part to report in detail; metrics are computed for every labelled part.
        out: the folder to write to; the run folder itself, or ``<table>-evaluation`` beside.
        model: which model, where the table holds several.

    Raises:
        BlastscopeError: where there is nothing to judge by (no predictions, no labels), the run's
            checkpoint is stale, or the folder cannot be written.
    """
    opened = open_source(source)
    evaluation = _judge(opened, part, out or opened.default_out, model)
    pictures = _draw(evaluation, opened.notes)
    write_json(evaluation.out / "metrics.json", evaluation.as_json())
    write_text(evaluation.report, evaluation_page(evaluation, opened.notes, pictures))
    return evaluation


def _judge(source: Source, part: str, out: Path, model: str | None) -> Evaluation:
    table, name = select_model(source.predictions, source.path, model)
    cells = _labelled_part(table, part, source.path)
    protocol, checkpoint = source.metadata.get("protocol"), source.metadata.get("checkpoint")
    return Evaluation(
        model=name,
        part=part,
        parts=_metrics_by_part(table),
        synthetic=source.metadata.get("synthetic") is True or name.endswith(SYNTHETIC_MARK),
        checkpoint=str(checkpoint) if checkpoint is not None else None,
        protocol=str(protocol) if protocol is not None else None,
        cells=cells,
        unlabelled=table.filter(pl.col("part") == part).height - cells.height,
        subjects=subject_table(cells),
        overlap=subject_overlap(table, part),
        out=out,
    )


def _labelled_part(table: pl.DataFrame, part: str, path: Path) -> pl.DataFrame:
    if part not in PARTS:
        raise BlastscopeError(f"'{part}' is no part of a split: choose {', '.join(PARTS)}.")
    rows = table.filter(pl.col("part") == part)
    if rows.is_empty():
        present = [name for name in PARTS if name in set(table["part"])]
        raise BlastscopeError(f"{path} has no {part} cells: it has {listing(present)}.")
    labelled = rows.filter(pl.col("label").is_not_null())
    if labelled.is_empty():
        raise BlastscopeError(
            f"{path} has no labels for its {rows.height} {part} cells, so nothing can be judged: "
            "fill the label column (all or hem) or choose another part."
        )
    return labelled


def _metrics_by_part(table: pl.DataFrame) -> dict[str, Metrics]:
    """Compute the metrics of every part that has labelled cells, in the order of ``PARTS``."""
    found = {}
    for part in PARTS:
        cells = table.filter((pl.col("part") == part) & pl.col("label").is_not_null())
        if not cells.is_empty():
            found[part] = compute_metrics(
                (cells["label"] == "all").to_numpy(),
                cells["p_all"].to_numpy(),
                cells["subject"].to_list(),
            )
    return found


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
