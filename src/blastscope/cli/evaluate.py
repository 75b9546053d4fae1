"""``blastscope evaluate``: judge a run, or anybody's prediction table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import blastscope as bs
from blastscope.cli.options import AsJson, Part
from blastscope.cli.output import show


def evaluate(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_OR_PREDICTIONS",
            help="A run, a prediction table or, with --labels, a submission.",
        ),
    ],
    part: Part = "test",
    out: Annotated[
        Path | None,
        typer.Option(
            help="The folder to write to; by default the run itself, or a folder beside the table.",
            metavar="DIR",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Which model, if a table has several.", metavar="NAME")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="A labels table for predictions without labels, such as those of the challenge's "
            "preliminary set.",
            metavar="CSV",
        ),
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option(
            help="The rule of the operating point: sensitivity>=0.95 (the default), "
            "specificity>=0.9, youden, cost=5 (a missed blast costs 5 false alarms) or half.",
        ),
    ] = None,
    error: Annotated[
        float | None,
        typer.Option(help="The share of wrong calls allowed among cells not referred: 0.05."),
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option(help="How often a conformal set should hold the true label: 0.9."),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            help="The store with these cells, for the baselines of size and colour.",
            metavar="STORE",
        ),
    ] = None,
    leakage: Annotated[
        Path | None,
        typer.Option(help="The folder of the recipe's leakage, to be shown.", metavar="DIR"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a model: metrics, intervals, decisions, a report."""
    found = bs.evaluate(
        source,
        part,
        model=model,
        labels=labels,
        rule=rule,
        error=error,
        coverage=coverage,
        store=store,
        leakage=leakage,
    )
    show(found.saved(out or found.default_out), as_json)
