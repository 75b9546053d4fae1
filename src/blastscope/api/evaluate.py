"""Evaluate a run or a prediction table: figures, pictures and one page, written to a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from blastscope.decision.assessment import assess_decisions
from blastscope.decision.decision import DecisionRequest
from blastscope.decision.decision_file import read_request, write_decision
from blastscope.errors import BlastscopeError
from blastscope.evaluation.curves import precision_recall_curve, roc_curve
from blastscope.evaluation.evaluate import judge
from blastscope.evaluation.labelled_predictions import open_labelled
from blastscope.evaluation.leakage import Leakage, leakage_from, read_leakage
from blastscope.evaluation.metrics import THRESHOLD
from blastscope.evaluation.model_baselines import ModelBaseline, model_baselines
from blastscope.evaluation.result import Evaluation
from blastscope.evaluation.sources import CROSSVAL, RunNotes, Source
from blastscope.io.files import read_json, write_json, write_text
from blastscope.io.predictions import SYNTHETIC_MARK, select_model
from blastscope.report import plots
from blastscope.report.card import model_card
from blastscope.report.decision_plots import decision_figures
from blastscope.report.evaluation_page import evaluation_page
from blastscope.report.first_page import ReportedEvaluation, reported
from blastscope.report.folder import refuse_others_folder
from blastscope.report.leakage_page import leakage_figure

if TYPE_CHECKING:
    from blastscope.report.crossval_page import FoldsTable


def evaluate(
    source: Path,
    part: str = "test",
    out: Path | None = None,
    model: str | None = None,
    labels: Path | None = None,
    *,
    rule: str | None = None,
    error: float | None = None,
    coverage: float | None = None,
    store: Path | None = None,
    leakage: Path | None = None,
    folds: FoldsTable | None = None,
) -> ReportedEvaluation:
    """Evaluate a run or anybody's prediction table.

    Writes ``metrics.json``, ``decision.json`` (where decisions can be fitted), ``card.md``,
    ``figures/*.png`` and ``*.svg``, and a self-contained ``report.html``. Files of these names
    are derived and rewritten; nothing else is touched.

    Args:
        source: a run folder, a prediction table (Parquet or CSV) or, with ``labels``, a submission
            to the challenge.
        part: the part to report in detail; metrics are computed for every labelled part.
        out: the folder to write to; the run folder itself, or ``<table>-evaluation`` beside, for
            the test part; a folder named after the part, for another.
        model: which model, where the table holds several.
        labels: a labels table (CSV) for the cells of ``part``, where the predictions have none.
        rule: for the operating point (see ``decision.operating_point``). What is not given of
            these three is as it was when the folder was evaluated last.
        error: the share of wrong calls wanted among the cells that are not referred.
        coverage: how often a conformal set should hold the truth.
        store: the store of these cells, for the baselines beside the model.
        leakage: the folder of the recipe's leakage gauge, to be shown.
        folds: of the cross-validation that the predictions are of, for the page.

    Raises:
        BlastscopeError: where there is nothing to judge by (no predictions, no labels), the labels
            are not of the same cells, the run's checkpoint is stale, a request cannot be asked for,
            the store or the gauge is another's, or ``out`` is another report's or cannot be
            written.
    """
    opened = open_labelled(source, labels, part, model)
    if (source / CROSSVAL).is_file():
        model, folds = _of_crossval(source, opened, model, folds)
    if out is None:
        out = opened.default_out
        if part != "test":  # the report of the test part keeps its place
            out = out / part if source.is_dir() else out.with_name(f"{out.name}-{part}")
    if out.resolve() != opened.default_out.resolve():
        refuse_others_folder(out, "metrics.json", ["card.md"])
    evaluation = judge(opened, part, out, model)
    table, name = select_model(opened.predictions, opened.path, model)
    request = (read_request(out) or DecisionRequest()).changed(rule, error, coverage)
    earlier = _earlier(out, evaluation)
    baselines = model_baselines(store, table, part, opened.metadata)
    if store is None and len(earlier.get("baselines", ())) > len(baselines):
        baselines = tuple(
            ModelBaseline(rule, found) for rule, found in earlier["baselines"].items()
        )
    gauge = None if leakage is None else _gauge(leakage, name)
    if gauge is None and earlier.get("leakage"):
        gauge = leakage_from(earlier["leakage"], out / "metrics.json")
    decisions = assess_decisions(table, part, opened.metadata, request)
    found = reported(evaluation, decisions, baselines, gauge)
    pictures = _draw(found, opened.notes)
    write_json(found.out / "metrics.json", found.as_json())
    about = {
        "model": name,
        "checkpoint": found.checkpoint or opened.metadata.get("ensemble"),
        "synthetic": found.synthetic,
        "part": part,
    }
    write_decision(found.out, found.decisions, request, about)
    write_text(found.out / "card.md", model_card(found))
    write_text(found.report, evaluation_page(found, opened.notes, pictures, folds))
    return found


def _earlier(out: Path, evaluation: Evaluation) -> dict[str, Any]:
    """What the folder's last evaluation said of the very same predictions; else nothing.

    So what a store or a gauge brought to the page stays there when it is not given again.
    """
    path = out / "metrics.json"
    if not path.is_file():
        return {}
    content = read_json(path)
    now = {**evaluation.as_json(), "parts": dict(evaluation.parts)}
    same = ("format", "model", "part", "checkpoint", "parts")
    return content if all(content.get(key) == now[key] for key in same) else {}


def _of_crossval(
    source: Path, opened: Source, model: str | None, folds: FoldsTable | None
) -> tuple[str, FoldsTable]:
    """Report a cross-validation's first repeat, with all its folds."""
    from blastscope.experiments.crossval_metrics import read_crossval_metrics
    from blastscope.report.crossval_page import folds_table

    first = opened.predictions.filter(pl.col("repeat") == 1)["model"][0]
    return model or str(first), folds or folds_table(read_crossval_metrics(source / CROSSVAL))


def _gauge(folder: Path, model: str) -> Leakage:
    recipe, found = read_leakage(folder / "leakage.json")
    if recipe != model.removesuffix(SYNTHETIC_MARK).partition(" #")[0]:
        raise BlastscopeError(
            f"{folder} is the leakage gauge of {recipe}, not of {model}: give the one of this "
            "recipe."
        )
    return found


def _draw(evaluation: ReportedEvaluation, notes: RunNotes) -> dict[str, Path]:
    """Draw what can be drawn into ``figures/``; an older figure that cannot be is removed."""
    counts = evaluation.metrics
    drawn = {
        "confusion-matrix": plots.confusion_figure(
            *(int(counts[name] or 0) for name in ("tn", "fp", "fn", "tp"))
        )
    }
    if counts["auc"] is not None:
        is_all = (evaluation.cells["label"] == "all").to_numpy()
        p_all = evaluation.cells["p_all"].to_numpy()
        drawn["roc"] = plots.roc_figure(roc_curve(is_all, p_all, THRESHOLD))
        drawn["precision-recall"] = plots.precision_recall_figure(
            precision_recall_curve(is_all, p_all, THRESHOLD), float(is_all.mean())
        )
    if not evaluation.subjects.is_empty():
        drawn["subjects"] = plots.subjects_figure(evaluation.subjects)
    if notes.history is not None:
        drawn["learning-curves"] = plots.learning_figure(notes.history)
    if not isinstance(evaluation.decisions, str):
        drawn |= decision_figures(evaluation.decisions)
    if evaluation.gauge is not None:
        drawn["leakage"] = leakage_figure(evaluation.gauge)
    return plots.save_all(drawn, evaluation.out / "figures")
