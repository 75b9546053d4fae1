"""``blastscope evaluate``: judge a run, or anybody's prediction table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blastscope.cli.output import note, print_table, say

if TYPE_CHECKING:
    import polars as pl

WORST = ("subject, worst first", "label", "cells", "accuracy", "95 % interval")
_SHOWN = 5


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(evaluate)


def evaluate(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_OR_PREDICTIONS",
            help="A run, a prediction table or, with --labels, a submission.",
        ),
    ],
    part: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    out: Annotated[Path | None, typer.Option(help="The folder to write to.", metavar="DIR")] = None,
    model: Annotated[
        str | None, typer.Option(help="Which model, where a table has several.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="A labels table for predictions without labels: those of the challenge's "
            "preliminary set.",
            metavar="CSV",
        ),
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option(
            help="The operating point's: sensitivity>=0.95 (the default), specificity>=0.9, "
            "youden, cost=5 (a missed blast costs 5 false alarms) or half.",
        ),
    ] = None,
    error: Annotated[
        float | None,
        typer.Option(help="Wrong calls wanted among cells that are not referred: 0.05."),
    ] = None,
    coverage: Annotated[
        float | None, typer.Option(help="How often a conformal set should hold the truth: 0.9.")
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(help="The cells' store, for what size and colour alone reach.", metavar="DIR"),
    ] = None,
    leakage: Annotated[
        Path | None,
        typer.Option(help="The folder of the recipe's leakage gauge, to be shown.", metavar="DIR"),
    ] = None,
) -> None:
    """Write metrics, decisions, figures and a report; print the figures of every part."""
    from blastscope.api.evaluate import evaluate as judge
    from blastscope.report.first_page import WORST_SUBJECTS, first_page

    result = judge(
        source,
        part,
        out,
        model,
        labels,
        rule=rule,
        error=error,
        coverage=coverage,
        store=store,
        leakage=leakage,
    )
    names = list(next(iter(result.parts.values())))
    rows = [(name, *(metrics[name] for metrics in result.parts.values())) for name in names]
    print_table((result.model, *result.parts), rows)
    if not result.subjects.is_empty():
        print_table(WORST, _worst(result.subjects))
    if result.hard_calls:
        note("These are calls (0 or 1): AUC and average precision are of that one operating point.")
    for word, sentence in first_page(result):
        if word != WORST_SUBJECTS:  # the table above has them
            say(f"{word}: {sentence}")
    say(f"{result.report}")


def _worst(subjects: pl.DataFrame) -> list[tuple[object, ...]]:
    """Rows of the subjects of the lowest accuracy, the worst first."""
    from blastscope.report.style import NAMES

    return [
        (
            s["subject"],
            NAMES[s["label"]],
            s["cells"],
            s["accuracy"],
            f"{s['low']:.3f} to {s['high']:.3f}",
        )
        for s in subjects.head(_SHOWN).iter_rows(named=True)
    ]
