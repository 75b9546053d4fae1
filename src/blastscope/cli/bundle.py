"""``blastscope bundle``: a run or an ensemble, made ready to travel."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blastscope.cli.output import note as tell
from blastscope.cli.output import say


def bundle(
    model: Annotated[
        Path,
        typer.Argument(metavar="RUN|ENSEMBLE", help="The folder of a run, or of an ensemble."),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", help="The zip to write, or a folder where it has no .zip."),
    ],
    decision: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A decision.json, or a folder with one (of a cross-validation of the recipe); "
            "without it the model's own.",
        ),
    ] = None,
    evaluation: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="A further evaluation whose figures the card shall show; once for each.",
        ),
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Weights in half precision, in half the space.")
    ] = False,
    note: Annotated[
        str, typer.Option(help="Your own words for the card: which cells, whom to cite.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is there.")] = False,
) -> None:
    """Put weights, preparation, decision and card of a model into one file that holds no code."""
    from blastscope.api.bundle import bundle as make

    made = make(
        model,
        out,
        decision=decision,
        evaluations=evaluation or (),
        half=half,
        note=note,
        force=force,
    )
    for line in made.answers():
        say(line)
    for line in made.notes():
        tell(line)
