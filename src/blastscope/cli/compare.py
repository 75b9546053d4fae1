"""``blastscope compare``: several models on the same cells, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from blastscope.cli.options import Part, Predictions, ReportFolder, Seed
from blastscope.cli.output import console, note, print_table, say

if TYPE_CHECKING:
    from blastscope.evaluation.confidence_intervals import Estimate


_COLUMNS = {
    "precision normal": "precision_hem",
    "precision ALL": "precision_all",
    "recall normal": "recall_hem",
    "recall ALL": "recall_all",
    "weighted F1": "weighted_f1",
    "AUC": "auc",
}
"""The form of the paper's tables of ensembles (3.4.2, 3.4.3.2), and AUC."""


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(compare)


def compare(
    given: Predictions,
    out: ReportFolder,
    part: Part = "test",
    resamples: Annotated[
        int, typer.Option(help="How many times subjects and cells are drawn for the intervals.")
    ] = 2000,
    seed: Seed = 24,
) -> None:
    """Hold models against each other: figures with 95 % intervals, tests of pairs, a report."""
    from blastscope.api.compare import compare as hold_against
    from blastscope.report.comparison_sections import WITHOUT_WIDTH, without_width
    from blastscope.report.comparison_text import headline

    comparison = hold_against(given, out, part, resamples, seed)
    rows = [
        (model, *(shown(figures[name]) for name in _COLUMNS.values()))
        for model, figures in comparison.estimates.items()
    ]
    if console().width >= max(map(len, comparison.models)) + 21 * len(_COLUMNS):
        print_table(("model", *_COLUMNS), rows)
    else:  # a table of that width would lose the ends of its intervals
        print_table(("model", "figure", "value (95 % interval)"), _one_a_line(rows))
    say(headline(comparison))
    if comparison.unlabelled:
        note(f"{comparison.unlabelled:,} cells without a label are left out.")
    note(comparison.overlap.sentence)
    note(f"Intervals: {comparison.resampling}")
    if without_width(comparison):
        note(WITHOUT_WIDTH)
    say(f"{out / 'report.html'}")


def _one_a_line(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, str, str]]:
    """A line a figure, the model's name on the first of its lines."""
    return [
        (model if place == 0 else "", name, figure)
        for model, *figures in rows
        for place, (name, figure) in enumerate(zip(_COLUMNS, figures, strict=True))
    ]


def shown(estimate: Estimate) -> str:
    """Write shares as the paper's tables do, without the nought before the point."""
    if not estimate.known:
        return "–"
    value = f"{estimate.value:.4f}".removeprefix("0")
    low, high = (f"{bound:.3f}".removeprefix("0") for bound in (estimate.low, estimate.high))
    return f"{value} ({low}–{high})"
