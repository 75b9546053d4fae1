"""``blastscope errors``: what models get wrong, how often together, and what it has in common."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from blastscope.cli.options import Device, Part, Predictions, ReportFolder
from blastscope.cli.output import note, print_table, say


def errors(
    given: Predictions,
    out: ReportFolder,
    store: Annotated[
        Path | None,
        typer.Option(help="The store of these cells, to measure and show them.", metavar="STORE"),
    ] = None,
    part: Part = "test",
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Link each cell shown to a page of what each network looked at."
        ),
    ] = False,
    device: Device = "auto",
) -> None:
    """Count errors, say what missed cells have in common, and show them."""
    from blastscope.api.analyze_errors import analyse_errors
    from blastscope.parallel import progress_total

    with progress_total("Explaining") if explain else nullcontext() as advance:
        found = analyse_errors(
            given, out, part, store, explain=explain, device=device, on_progress=advance
        )
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
    note(found.overlap.sentence)
    for sentence in (*found.sentences, found.guess):
        say(sentence)
    say(f"{out / 'report.html'}")
