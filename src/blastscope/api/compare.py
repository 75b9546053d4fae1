"""Compare models: figures with intervals, tables, pictures and one page, written to a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from blastscope.errors import BlastscopeError
from blastscope.evaluation.aligned_predictions import align_predictions
from blastscope.evaluation.comparison import compare as hold_against
from blastscope.evaluation.comparison_result import Comparison
from blastscope.io.files import replacing, write_json, write_text
from blastscope.report.comparison_plots import draw_comparison
from blastscope.report.comparison_sections import comparison_view
from blastscope.report.folder import refuse_others_folder
from blastscope.report.html import render

CONTENT = "comparison.json"


def compare(
    given: Sequence[str | Path],
    out: Path,
    part: str = "test",
    resamples: int = 2000,
    seed: int = 24,
) -> Comparison:
    """Compare models on the same cells.

    Writes ``comparison.json``, ``models.csv``, ``pairs.csv``, ``figures/*.png`` and ``*.svg``, and
    a self-contained ``report.html``. Files of these names are derived and rewritten; nothing else
    is touched.

    Args:
        given: runs, ensembles and prediction tables, each a path or ``NAME=PATH``.
        out: the folder to write to.
        part: the part to judge on.
        resamples: how many times to draw subjects and cells for the intervals.
        seed: of the draws.

    Raises:
        BlastscopeError: where there are not two models, they do not have the same cells, or the
            folder cannot be written or holds something else.
    """
    refuse_others_folder(out, CONTENT)
    scores = align_predictions(given)
    if len(scores.models) < 2:
        raise BlastscopeError(
            f"{scores.members[0].path} holds one model, '{scores.models[0]}', and nothing to "
            "compare it with: give two models or more, or use evaluate for one."
        )
    comparison = hold_against(scores, part, resamples, seed)
    write_json(out / CONTENT, comparison.as_json())
    _write_csv(_models_table(comparison), out / "models.csv")
    _write_csv(_pairs_table(comparison), out / "pairs.csv")
    view = comparison_view(comparison, draw_comparison(comparison, out / "figures"))
    page = render("models.html", title=view.title, synthetic=view.synthetic, comparison=view)
    write_text(out / "report.html", page)
    return comparison


def _models_table(comparison: Comparison) -> pl.DataFrame:
    """A row a model and figure; empty where a figure is undefined."""
    rows = [
        (model, name, figure.value, figure.low, figure.high)
        for model, figures in comparison.estimates.items()
        for name, figure in figures.items()
    ]
    numbers = dict.fromkeys(("value", "low", "high"), pl.Float64)
    schema = {"model": pl.String, "metric": pl.String, **numbers}
    return pl.DataFrame(rows, schema=schema, orient="row").fill_nan(None)


def _pairs_table(comparison: Comparison) -> pl.DataFrame:
    """A row a pair, in the order given: differences are of the first less the second."""
    rows = [
        {
            "first": pair.first,
            "second": pair.second,
            "weighted_f1_difference": pair.weighted_f1.value,
            "weighted_f1_low": pair.weighted_f1.low,
            "weighted_f1_high": pair.weighted_f1.high,
            "auc_difference": pair.auc.value,
            "auc_low": pair.auc.low,
            "auc_high": pair.auc.high,
            "only_first_right": pair.only_first,
            "only_second_right": pair.only_second,
            "mcnemar_p": pair.mcnemar_p,
            "mcnemar_p_holm": pair.mcnemar_p_holm,
            "delong_p": pair.delong_p,
            "delong_p_holm": pair.delong_p_holm,
        }
        for pair in comparison.pairs
    ]
    return pl.DataFrame(rows).fill_nan(None)


def _write_csv(table: pl.DataFrame, path: Path) -> None:
    with replacing(path) as beside:
        table.write_csv(beside)
