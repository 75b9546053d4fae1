"""``blastscope predict``: a run, several or an ensemble, applied to folders of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blastscope.cli.options import Device
from blastscope.cli.output import note, say


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
            images, model, out, device=device, skip_bad=skip_bad, force=force, on_progress=advance
        )
    for problem in made.skipped:
        note(f"left out: {problem.file} {problem.message}")
    say(f"{made.model}: {made.called_all:,} of {made.cells:,} cells called ALL")
    if made.unfamiliar:
        look = "image looks" if made.unfamiliar == 1 else "images look"
        note(
            f"{made.unfamiliar:,} of {made.cells:,} {look} like no cell that the network knows "
            "(unfamiliar): what it says of them, ALL or normal, means nothing."
        )
    elif made.unfamiliar is None:
        note(
            "Whether an image is a cell at all is not known here: the runs were trained before "
            "that was measured."
        )
    say(f"{made.path}")
