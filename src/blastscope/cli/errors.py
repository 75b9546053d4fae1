"""``blastscope errors``: what models get wrong, how often together, and what it has in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blastscope.cli.output import print_table, say


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(errors)


def errors(
    given: Annotated[
        list[str],
        typer.Argument(
            metavar="PRED...",
            help="Runs, ensembles or prediction tables; NAME=PATH names a model anew.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder to write to.", metavar="DIR")],
    store: Annotated[
        Path | None,
        typer.Option(help="The store of these cells, to measure and show them.", metavar="STORE"),
    ] = None,
    part: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
) -> None:
    """Count errors, say what missed cells have in common, and show them."""
    from blastscope.report.errors import analyse_errors

    found = analyse_errors(given, out, part, store)
    counts = found.counts
    rows = [
        (k, counts.missed_by["all"][k], counts.missed_by["hem"][k], counts.total[k])
        for k in range(len(counts.total) - 1, -1, -1)
    ]
    print_table(("missed by", "ALL", "normal", "cells"), rows)
    print_table(
        ("model", "class", "cells", "errors", "only right", "only wrong"),
        [
            (row.model, "ALL" if row.label == "all" else "normal", row.cells, row.errors,
             row.only_right, row.only_wrong)
            for row in counts.models
        ],
    )  # fmt: skip
    for sentence in (*found.sentences, found.guess):
        say(sentence)
    say(f"{out / 'report.html'}")
