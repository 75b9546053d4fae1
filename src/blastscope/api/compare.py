"""Compare models on the same cells: metrics with intervals, tests of pairs, and a report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.api.result import PAGE, AnyPath, Result, TextTable, without_place
from blastscope.api.tables import Models, as_models
from blastscope.errors import BlastscopeError
from blastscope.evaluation.aligned_predictions import align_predictions
from blastscope.evaluation.cell_measurements import cell_measurements
from blastscope.evaluation.comparison import Comparison
from blastscope.evaluation.comparison import compare as compare_aligned
from blastscope.evaluation.confidence_intervals import Estimate
from blastscope.io.files import write_json, write_text
from blastscope.io.tables import write_csv
from blastscope.io.workfolder import refuse_foreign
from blastscope.report.comparison_page import (
    WITHOUT_WIDTH,
    comparison_page,
    draw_comparison,
    exchanged_text,
    headline,
    pooled_text,
    without_width,
)
from blastscope.report.comparison_with_size import (
    size_columns,
    size_metrics,
    size_rows,
    size_sentences,
)
from blastscope.report.evaluation_text import overlap_text, sampling_text
from blastscope.report.text import decimals, readings_text

CONTENT = "comparison.json"
_COLUMNS = {
    "precision normal": "precision_hem",
    "precision ALL": "precision_all",
    "recall normal": "recall_hem",
    "recall ALL": "recall_all",
    "weighted F1": "weighted_f1",
    "AUC": "auc",
}
"""The form of the paper's tables of ensembles (3.4.2, 3.4.3.2), and AUC."""


@dataclass(frozen=True, eq=False, repr=False)
class ComparisonResult(Result, Comparison):
    """The comparison of two models or more."""

    def as_json(self) -> dict[str, Any]:
        """The content of ``comparison.json``."""
        return without_place(Comparison.as_json(self))

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each model and metric: value and interval; null if undefined.

        With a store there are also ``auc_equal_size``, and the leads over baselines, such as
        ``auc_lead_over_size``.
        """
        found = [
            (model, name, one)
            for model, metrics in self.estimates.items()
            for name, one in metrics.items()
        ]
        rows = [
            (model, name, one.value, one.low, one.high)
            for model, name, one in [*found, *size_metrics(self)]
        ]
        numbers = dict.fromkeys(("value", "low", "high"), pl.Float64)
        schema = {"model": pl.String, "metric": pl.String, **numbers}
        return pl.DataFrame(rows, schema=schema, orient="row").fill_nan(None)

    def pairs_frame(self) -> pl.DataFrame:
        """Return a row for each pair, in the order given: the first minus the second."""
        rows = []
        for pair in self.pairs:
            row: dict[str, Any] = {"first": pair.first, "second": pair.second}
            shown = {"weighted_f1": pair.weighted_f1, "auc": pair.auc}
            if pair.auc_equal_size is not None:
                shown["auc_equal_size"] = pair.auc_equal_size
            for name, found in shown.items():
                row[f"{name}_difference"] = found.value
                row |= {f"{name}_low": found.low, f"{name}_high": found.high}
            row |= {"only_first_right": pair.only_first, "only_second_right": pair.only_second}
            tests = ("mcnemar_p", "mcnemar_p_holm", "delong_p", "delong_p_holm")
            rows.append(row | {name: getattr(pair, name) for name in tests})
        return pl.DataFrame(rows).fill_nan(None)

    def tables(self) -> list[TextTable]:
        """Return the metrics of each model with their intervals, then what stands beside size."""
        rows = [
            (model, *(paper_style(metrics[name]) for name in _COLUMNS.values()))
            for model, metrics in self.estimates.items()
        ]
        tables, columns = [TextTable.of(("model", *_COLUMNS), rows)], size_columns(self)
        beside = TextTable.of(("model", *columns), size_rows(self))
        return [*tables, beside] if columns else tables

    def answers(self) -> list[str]:
        """Say which model is ahead, whether that may be noise, and who is not ahead of size."""
        return [headline(self), *size_sentences(self)]

    def notes(self) -> list[str]:
        """Say what was left out, and what the intervals are of."""
        said = [overlap_text(self.overlap), f"Intervals: {sampling_text(self.sampling)}"]
        said += [*exchanged_text(self), *pooled_text(self), *readings_text(self.readings)]
        if self.unlabelled:
            said.insert(0, f"{self.unlabelled:,} cells without a label are left out.")
        return [*said, WITHOUT_WIDTH] if without_width(self) else said

    def _write(self, out: Path) -> None:
        refuse_foreign(out, CONTENT, ["report.html"])
        write_json(out / CONTENT, self.as_json())
        write_csv(self.to_frame(), out / "models.csv")
        write_csv(self.pairs_frame(), out / "pairs.csv")
        pictures = draw_comparison(self, out / "figures")
        write_text(out / PAGE, comparison_page(self, pictures))


def compare(
    models: Models,
    part: str = "test",
    *,
    out: AnyPath | None = None,
    resamples: int = 2000,
    seed: int = 24,
    store: AnyPath | None = None,
) -> ComparisonResult:
    """Compare models on the same cells.

    With ``out`` it writes ``comparison.json``, ``models.csv``, ``pairs.csv``, ``figures/*.png`` and
    ``*.svg``, and a self-contained ``report.html``. Files of these names there are replaced;
    nothing else is touched.

    Args:
        models: runs, ensembles and prediction tables: paths (``NAME=PATH`` names a model anew),
            frames, or a mapping of names to them.
        part: the split part to compare on.
        out: the folder to write to; nothing is written without it.
        resamples: how many times to draw subjects and cells for the intervals.
        seed: of the draws.
        store: the store of these cells, for AUC at equal size and each model's lead over the
            baselines of size, and of size and colour. A cell table or a table of boxes has the
            sizes alone.

    Returns:
        The metrics of each model, and the differences of each pair.

    Raises:
        BlastscopeError: if there are not two models, they do not have the same cells, the store
            lacks some or contradicts them, or the folder cannot be written or holds something else.
    """
    scores = align_predictions(as_models(models))
    if len(scores.models) < 2:
        raise BlastscopeError(
            f"{scores.members[0].where} holds one model, '{scores.models[0]}': give two or more to "
            "compare, or use evaluate for one."
        )
    measured = None if store is None else cell_measurements(Path(store))
    found = compare_aligned(scores, part, resamples, seed, measured=measured)
    return ComparisonResult.of(found).saved(out)


def paper_style(estimate: Estimate) -> str:
    """Write a share as the paper's tables do, without the zero before the point."""
    if not estimate.known:
        return "–"
    value = decimals(estimate.value, 4).removeprefix("0")
    low, high = (decimals(bound, 3).removeprefix("0") for bound in (estimate.low, estimate.high))
    return f"{value} ({low}–{high})"
