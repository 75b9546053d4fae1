"""``blastscope prepare``: from image files to a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blastscope.cli.options import Folders, Force, Labels
from blastscope.cli.output import note, say


def prepare(
    folder: Folders,
    out: Annotated[Path, typer.Option(metavar="STORE", help="The store's folder.")],
    size: Annotated[int, typer.Option(help="The side of a prepared cell, in pixels.")] = 224,
    scale: Annotated[
        str,
        typer.Option(
            help="crop: each cell stretched to the size (the paper's way); keep: the same field "
            "for every cell, so that absolute size survives."
        ),
    ] = "crop",
    clahe: Annotated[bool, typer.Option("--clahe", help="Equalise the contrast (CLAHE).")] = False,
    contour: Annotated[
        str,
        typer.Option(help="union: the box of all foreground; first: the paper's first contour."),
    ] = "union",
    labels: Labels = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out files that cannot be used.")
    ] = False,
    force: Force = False,
) -> None:
    """Find each cell, crop it, resize it, and write a store."""
    from blastscope.data.preparation import prepare as make_store
    from blastscope.data.store import StoreSettings
    from blastscope.parallel import progress_total

    settings = StoreSettings(size=size, scale=scale, clahe=clahe, contour=contour)  # type: ignore[arg-type]
    with progress_total("Preparing") as advance:
        made = make_store(
            folder,
            out,
            settings,
            labels=labels,
            skip_bad=skip_bad,
            force=force,
            on_progress=advance,
        )
    if made.already:
        say(f"{out}: the same {made.cells:,} cells with the same settings, already prepared.")
        return
    if made.resumed:
        note(f"Went on after {made.resumed:,} cells of an interrupted run.")
    for problem in made.skipped:
        note(f"Left out: {problem.file} {problem.message}")
    for flag, count in made.flags.items():
        note(f"Flagged {flag}: {count:,} (docs/formats.md says what that means).")
    if len(made.labels) == 1:
        note(
            f"All labelled cells are of the class {next(iter(made.labels))}: no model can learn it."
        )
    synthetic = " synthetic" if made.synthetic else ""
    left_out = f", {len(made.skipped)} left out" if made.skipped else ""
    say(f"{out}: {made.cells:,}{synthetic} cells at {size} × {size} pixels{left_out}.")
