"""``blastscope predict``: a run, several or an ensemble, applied to folders of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blastscope.cli.options import Device
from blastscope.cli.output import note, print_table, say

if TYPE_CHECKING:
    import polars as pl

MOST_PERSONS = 20


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(predict)


def predict(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="DIR...", help="The folder, or folders, with the cell images."),
    ],
    model: Annotated[
        list[Path],
        typer.Option(
            help="A run or an ensemble; given several times, the mean of the runs.",
            metavar="RUN_OR_ENSEMBLE",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The table: .parquet or .csv.", metavar="FILE")],
    decision: Annotated[
        Path | None,
        typer.Option(
            help="A decision.json, or a folder with one (of a cross-validation), to calibrate, "
            "call and refer by; without it the model's own.",
            metavar="FILE",
        ),
    ] = None,
    device: Device = "auto",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out images that cannot be used.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.")] = False,
) -> None:
    """Write a prediction table of new images; each network sees them at its own size."""
    from blastscope.predict.predict import predict as apply
    from blastscope.progress import progress_total

    with progress_total("Preparing and predicting") as advance:
        made = apply(
            images,
            model,
            out,
            decision=decision,
            device=device,
            skip_bad=skip_bad,
            force=force,
            on_progress=advance,
        )
    for problem in made.skipped:
        note(f"left out: {problem.file} {problem.message}")
    referred = "" if made.referred is None else f", {made.referred:,} to be looked at by an expert"
    say(f"{made.model}: {made.called_all:,} of {made.cells:,} cells called ALL{referred}")
    if made.decided_by is None:
        note("Called at one half, probabilities as the network gives them: no decision.json.")
    else:
        note(made.how)
    if made.persons is not None and not made.persons.is_empty():
        _print_persons(made.persons, made.doubt)
    if made.unfamiliar:
        look = "looks" if made.unfamiliar == 1 else "look"
        note(
            f"Of {made.cells:,} images {made.unfamiliar:,} {look} like no cell that the model was "
            "trained on (unfamiliar): its probability means nothing. Cells are wanted one an "
            "image, cut out on black."
        )
    elif made.unfamiliar is None:
        note(
            "Whether an image is a cell at all is not known here: the runs were trained before "
            "that was measured."
        )
    say(f"{made.path}")


def _print_persons(persons: pl.DataFrame, doubt: str) -> None:
    """Print the share of blasts of each subject, the largest first, as far as it fits a screen."""
    shown = persons.sort("share", "subject", descending=[True, False], nulls_last=True)
    columns = ("cells", "called", "referred", "share", "low", "high", "line")
    print_table(
        ("subject", "cells", "called ALL", "referred", "blasts", "from", "to", "20-25 % line"),
        shown.select("subject", *columns).head(MOST_PERSONS).iter_rows(),
    )
    if shown.height > MOST_PERSONS:
        note(f"And {shown.height - MOST_PERSONS:,} more subjects.")
    if not doubt:  # as of decisions fitted on cells that name no subject
        note("No share of blasts: how this model does on known subjects is not known.")
        return
    note(
        "blasts: the share called ALL, corrected for the errors of these calls on known subjects, "
        f"with its 95 % interval. {doubt} It means something only where the cells are all the "
        "nucleated cells of a field (docs/deciding.md)."
    )
