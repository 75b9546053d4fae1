"""Evaluate a model: metrics with intervals, decisions, plots and a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.api.result import PAGE, WIDTH, AnyPath, Result, TextTable, as_path, table_text
from blastscope.api.tables import Source, as_source
from blastscope.data.contradictions import BelieveTable
from blastscope.decision.assessment import DecisionAssessment, assess_decisions
from blastscope.decision.decision import DecisionRequest
from blastscope.decision.decision_file import write_decision
from blastscope.decision.fitting import NoDecision
from blastscope.decision.neighbourhood import corrected_part
from blastscope.decision.reported_evaluation import ReportedEvaluation
from blastscope.errors import BlastscopeError
from blastscope.evaluation.cell_measurements import CellMeasurements, cell_measurements
from blastscope.evaluation.curves import precision_recall_curve, roc_curve
from blastscope.evaluation.evaluate import judge
from blastscope.evaluation.file_digests import forget_digests, record_digests
from blastscope.evaluation.inductive import inductive_metrics
from blastscope.evaluation.labelled_predictions import open_labelled
from blastscope.evaluation.leakage import Leakage, read_leakage
from blastscope.evaluation.metrics import THRESHOLD
from blastscope.evaluation.model_baselines import model_baselines
from blastscope.evaluation.prevalence import predictive_values
from blastscope.evaluation.shortcuts import measure_shortcuts
from blastscope.evaluation.sources import CROSSVAL, RunNotes
from blastscope.evaluation.sources import Source as OpenedSource
from blastscope.io.files import write_json, write_text
from blastscope.io.predictions import SYNTHETIC_MARK, select_model
from blastscope.io.remote import local, url_of
from blastscope.io.workfolder import first_difference, refuse_foreign
from blastscope.recipes.library import read_recipe
from blastscope.report import evaluation_plots as plots
from blastscope.report.crossval_page import CONTENT as LEAKAGE
from blastscope.report.crossval_page import FoldsTable, folds_table, leakage_plot
from blastscope.report.evaluation_page import evaluation_page, model_card
from blastscope.report.evaluation_text import (
    WORST_SUBJECTS,
    detail_lines,
    headline,
    inductive_rows,
    metric_rows,
    transductive_text,
    verdict_lines,
    verdict_title,
)
from blastscope.report.style import save_all
from blastscope.report.text import LABELS, interval, metric, number

_SHOWN_SUBJECTS = 5


@dataclass(frozen=True, eq=False, repr=False)
class EvaluationResult(Result, ReportedEvaluation):
    """The evaluation of one model.

    Attributes:
        fingerprint: ``sha256:...`` of the checkpoint or the ensemble; None if unknown.
        settings: of the recipe that networks of a cross-validation or of several seeds share.
        folds: of a cross-validation, for the page.
        home: the folder that the report of the test part belongs into; None for a table in memory.
    """

    request: DecisionRequest = field(kw_only=True)
    run_notes: RunNotes = field(kw_only=True)
    fingerprint: str | None = field(kw_only=True)
    settings: dict[str, Any] | None = field(kw_only=True)
    folds: FoldsTable | None = field(kw_only=True)
    home: Path | None = field(kw_only=True)

    @property
    def _corrected(self) -> bool:
        return self.inductive is not None and self.inductive.corrected

    @property
    def default_out(self) -> Path | None:
        """The folder that this report belongs into; the report of the test part keeps its own."""
        other = [self.part] * (self.part != "test") + ["transductive"] * self._corrected
        if self.home is None or not other:
            return self.home
        if self.home.name.endswith("-evaluation"):
            return self.home.with_name("-".join([self.home.name, *other]))
        return self.home / "-".join(other)

    def as_json(self) -> dict[str, Any]:
        """The content of ``metrics.json``."""
        return ReportedEvaluation.as_json(self)

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each split part and metric: value, and its interval if it has one."""
        bounds, none = self.intervals.bounds, (None, None)
        rows = [
            (part, name, value, *(bounds.get(name, none) if part == self.part else none))
            for part, metrics in self.parts.items()
            for name, value in metrics.items()
        ]  # fmt: skip
        numbers = dict.fromkeys(("value", "low", "high"), pl.Float64)
        schema = {"part": pl.String, "metric": pl.String, **numbers}
        return pl.DataFrame(rows, schema=schema, orient="row", strict=False)

    def tables(self) -> list[TextTable]:
        """Return the first metrics, the baselines, every metric, and the worst subjects."""
        first = TextTable.of((self.model, self.part, "95 % interval"), metric_rows(self))
        baselines = TextTable.of(
            ("baseline", "weighted F1", "AUC", "model ahead by (weighted F1)"),
            [
                (one.name, number(one.metrics["weighted_f1"], 3), number(one.metrics["auc"], 3),
                 metric(one.lead["weighted_f1"], sign=True))
                for one in self.baselines
            ],
        )  # fmt: skip
        names = list(next(iter(self.parts.values())))
        metrics = TextTable.of(
            ("every metric", *self.parts),
            [(name, *(metrics[name] for metrics in self.parts.values())) for name in names],
        )
        worst = TextTable.of(
            ("subject, worst first", "label", "cells", "accuracy", "95 % interval"),
            [
                (one["subject"], LABELS[one["label"]], one["cells"], one["accuracy"],
                 interval((one["low"], one["high"])))
                for one in self.subjects.head(_SHOWN_SUBJECTS).iter_rows(named=True)
            ],
        )  # fmt: skip
        tables = [first, *self._beside_own(), baselines, metrics]
        return [*tables, worst] if worst.rows else tables

    def _beside_own(self) -> list[TextTable]:
        rows = inductive_rows(self)
        columns = ("metric", "corrected", "95 % interval", "inductive", "95 % interval",
                   "corrected minus inductive")  # fmt: skip
        return [TextTable.of(columns, rows)] if rows else []

    def answers(self) -> list[str]:
        """Return the verdict, and the finding behind each part of it."""
        findings = (f"{line.label}: {line.text}" for line in verdict_lines(self))
        return [verdict_title(self), *findings]

    def to_text(self, width: int = WIDTH) -> str:
        """Return the verdict, then the tables, then the details."""
        details = (f"{word}: {text}" for word, text in detail_lines(self) if word != WORST_SUBJECTS)
        return "\n".join(
            [*self.answers(), *(table_text(table, width) for table in self.tables()), *details]
        )

    def notes(self) -> list[str]:
        """Say whether the probabilities were corrected, and whether they are calls."""
        said = transductive_text(self.inductive)
        if not self.hard_calls:
            return said
        return [
            *said,
            "These are calls (0 or 1): AUC and average precision are of one operating point.",
        ]

    def _title(self) -> str:
        return f"{self.model}, {headline(self.part, self.metrics)}"

    def _write(self, out: Path) -> None:
        own = self.home is not None and out.resolve() == self.home.resolve()
        if own and self._corrected:
            raise BlastscopeError(
                f"{out} has the evaluation of the model's own probabilities: choose another folder "
                "for corrected ones."
            )
        if not own:
            refuse_foreign(out, "metrics.json", ["report.html", "card.md"])
        forget_digests(out)
        pictures = _draw(self, self.run_notes, out / "figures")
        write_json(out / "metrics.json", self.as_json())
        about = {
            "model": self.model,
            "checkpoint": self.fingerprint,
            "synthetic": self.synthetic,
            "part": self.part,
            "settings": self.settings,
        }
        write_decision(out, self.decisions, self.request, about)
        write_text(out / "card.md", model_card(self))
        write_text(out / PAGE, evaluation_page(self, self.run_notes, pictures, self.folds))
        drawn = [path.with_suffix(kind) for path in pictures.values() for kind in (".png", ".svg")]
        record_digests(out, drawn)


def evaluate(
    source: Source,
    part: str = "test",
    *,
    out: AnyPath | None = None,
    model: str | None = None,
    labels: AnyPath | None = None,
    rule: str | None = None,
    error: float | None = None,
    coverage: float | None = None,
    store: AnyPath | None = None,
    prevalence: Sequence[float] = (),
    leakage: AnyPath | None = None,
    believe: BelieveTable | None = None,
    transductive: bool = False,
) -> EvaluationResult:
    """Evaluate a run, an ensemble, a cross-validation or anybody's prediction table.

    With ``out`` it writes ``metrics.json``, ``decision.json`` (if decisions can be fitted),
    ``card.md``, ``figures/*.png`` and ``*.svg``, a self-contained ``report.html``, and the digests
    of these files, ``evaluation-digests.json``. Files of these names there are replaced; nothing
    else is touched.

    Args:
        source: a folder; a prediction table (Parquet, CSV, a Polars or pandas frame) with the
            columns ``cell``, ``label`` and ``p_all``, and perhaps ``subject``, ``part`` and
            ``model``; or, with ``labels``, a submission to the challenge.
        part: the split part to report in detail; metrics are computed for every labelled part.
        out: the folder to write to; nothing is written without it.
        model: which model, if the table holds several.
        labels: a labels table (CSV) for the cells of ``part``, if the predictions have none.
        rule: of the operating point: ``sensitivity>=0.95`` (the default), ``specificity>=0.9``,
            ``youden``, ``cost=5`` (a missed blast costs 5 false alarms) or ``half``.
        error: the share of wrong calls allowed among the cells that are not referred, from 0 to 1.
        coverage: how often a conformal set should contain the true label, from 0 to 1.
        store: the store of these cells, for all that needs their size and colour: baselines, AUC at
            equal size, subgroups. A cell table or a table of boxes has the sizes alone.
        prevalence: shares of ALL cells, from 0 to 1, at which to report predictive values.
        leakage: the folder of the recipe's leakage measurement, to be shown.
        believe: ``name`` or ``table``: what to believe if a table and the names of its cells say
            different things of them.
        transductive: correct the probabilities of ``part`` by each cell's nearest neighbours in
            ``store``, and report the model's own beside them. A table that ``predict`` corrected
            is reported so by itself.

    Returns:
        The metrics, intervals, decisions and subjects.

    Raises:
        BlastscopeError: if there is nothing to judge by (no predictions, no labels), the labels are
            not of the same cells, two sources contradict each other, the run's checkpoint is stale,
            a request cannot be met, the store or the leakage is of something else, or ``out`` is
            another report's or cannot be written.

    Example:
        >>> import blastscope as bs
        >>> import polars as pl
        >>> table = pl.DataFrame(
        ...     {
        ...         "cell": ["a", "b", "c", "d"],
        ...         "label": ["all", "all", "hem", "hem"],
        ...         "part": "test",
        ...         "model": "mine",
        ...         "p_all": [0.9, 0.4, 0.6, 0.1],
        ...     }
        ... )
        >>> bs.evaluate(table).metrics["auc"]
        0.75
    """
    place = as_source(local(source) if url_of(source) else source)
    opened = open_labelled(place, local(labels) if labels else None, part, model, believe)
    folds = None
    if isinstance(place, Path) and (place / CROSSVAL).is_file():
        from blastscope.experiments.crossval_metrics import read_crossval_metrics

        first = opened.predictions.filter(pl.col("repeat") == 1)["model"][0]
        model, folds = model or str(first), folds_table(read_crossval_metrics(place / CROSSVAL))
    if transductive:  # the table of the folds is of the probabilities before the correction
        opened, folds = _corrected(opened, part, model, as_path(store)), None
    evaluation = judge(opened, part, model)
    inductive = inductive_metrics(evaluation.cells, opened.metadata)
    if inductive is not None:  # other parts may not be corrected
        evaluation = replace(evaluation, parts={part: evaluation.metrics})
    table, name = select_model(opened.predictions, opened.where, model)
    request = DecisionRequest().changed(rule, error, coverage)
    measured = None if store is None else _measured(Path(store), table)
    baselines = model_baselines(measured, table, part, opened.metadata)
    cells = evaluation.cells
    is_all, p_all = (cells["label"] == "all").to_numpy(), cells["p_all"].to_numpy()
    known = None if leakage is None else _leakage(Path(leakage), name, _settings(place, opened))
    decisions: DecisionAssessment | NoDecision = NoDecision("transductive", part)
    if inductive is None:
        decisions = assess_decisions(table, part, opened.metadata, request)
    return EvaluationResult.of(
        evaluation,
        decisions=decisions,
        baselines=baselines,
        shortcuts=measure_shortcuts(cells, opened.metadata, measured),
        predictive_values=predictive_values(is_all, p_all, cells["subject"].to_list(), prevalence),
        leakage=known,
        inductive=inductive,
        request=request,
        run_notes=opened.notes,
        fingerprint=evaluation.checkpoint or opened.metadata.get("ensemble"),
        settings=opened.metadata.get("settings"),
        folds=folds,
        home=None if url_of(source) else opened.default_out,
    ).saved(out)


def _measured(store: Path, table: pl.DataFrame) -> CellMeasurements:
    found = cell_measurements(store)
    found.refuse_contradictions(table)
    return found


def _corrected(
    opened: OpenedSource, part: str, model: str | None, store: Path | None
) -> OpenedSource:
    """Correct the probabilities of one part of one model by neighbours."""
    if store is None:
        raise BlastscopeError(
            "A correction by neighbours needs the pixels of the cells: give their store."
        )
    table, _ = select_model(opened.predictions, opened.where, model)
    table = corrected_part(table, part, opened.where, store, opened.metadata)
    return replace(opened, predictions=table)


def _settings(place: Any, opened: OpenedSource) -> dict[str, Any] | None:
    """Return the settings of the recipe that made a source; None if it does not say."""
    if isinstance(place, Path) and (place / "recipe.yaml").is_file():
        return read_recipe(place / "recipe.yaml").settings
    return opened.metadata.get("settings")


def _leakage(folder: Path, model: str, settings: dict[str, Any] | None) -> Leakage:
    recipe, found = read_leakage(folder / LEAKAGE)
    if recipe != model.removesuffix(SYNTHETIC_MARK).partition(" #")[0]:
        raise BlastscopeError(
            f"{folder} is the leakage of {recipe}, not of {model}: give the one of this recipe."
        )
    if settings is not None and found.settings is None:
        raise BlastscopeError(
            f"{folder / LEAKAGE} does not say which settings its networks have: run `blastscope "
            "leakage` again with the same --out."
        )
    if settings is not None and settings != found.settings:
        raise BlastscopeError(
            f"{folder} is the leakage of {recipe} with other settings: "
            f"{first_difference(found.settings, settings)}; give one with the same settings."
        )
    return found


def _draw(evaluation: ReportedEvaluation, notes: RunNotes, folder: Path) -> dict[str, Path]:
    """Draw what can be drawn into ``folder``; an older plot that cannot be is removed."""
    counts = evaluation.metrics
    drawn: dict[str, Any] = {
        "confusion-matrix": plots.confusion_plot(
            *(int(counts[name] or 0) for name in ("tn", "fp", "fn", "tp"))
        )
    }
    is_all = (evaluation.cells["label"] == "all").to_numpy()
    if counts["auc"] is not None:
        p_all = evaluation.cells["p_all"].to_numpy()
        drawn["roc"] = plots.roc_plot(roc_curve(is_all, p_all, THRESHOLD))
        drawn["precision-recall"] = plots.precision_recall_plot(
            precision_recall_curve(is_all, p_all, THRESHOLD), float(is_all.mean())
        )
    if not evaluation.subjects.is_empty():
        drawn["subjects"] = plots.subjects_plot(evaluation.subjects)
    if notes.history is not None:
        drawn["learning-curves"] = plots.learning_plot(notes.history)
    if not isinstance(evaluation.decisions, NoDecision):
        drawn |= plots.decision_plots(evaluation.decisions, is_all)
    if evaluation.leakage is not None:
        drawn["leakage"] = leakage_plot(evaluation.leakage)
    return save_all(drawn, folder, plots.PLOTS)
