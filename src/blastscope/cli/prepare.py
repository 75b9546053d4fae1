"""``blastscope prepare``: from image files to a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

import blastscope as bs
from blastscope.cli.options import AsJson, Folders, Force, Labels
from blastscope.cli.output import show


def prepare(
    folders: Folders,
    out: Annotated[Path, typer.Option(metavar="STORE", help="The store's folder.")],
    size: Annotated[int, typer.Option(help="The side of a prepared cell, in pixels.")] = 224,
    scale: Annotated[
        Literal["crop", "keep"],
        typer.Option(
            help="crop: each cell stretched to the size (the paper's way); keep: the same field "
            "for every cell, so that absolute size survives."
        ),
    ] = "crop",
    clahe: Annotated[bool, typer.Option("--clahe", help="Equalise the contrast (CLAHE).")] = False,
    contour: Annotated[
        Literal["union", "first"],
        typer.Option(help="union: the box of all foreground; first: the paper's first contour."),
    ] = "union",
    labels: Labels = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out files that cannot be used.")
    ] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Prepare cells: find, crop and resize each, and write a store."""
    made = bs.prepare(
        folders,
        out=out,
        size=size,
        scale=scale,
        clahe=clahe,
        contour=contour,
        labels=labels,
        skip_bad=skip_bad,
        force=force,
        progress=True,
    )
    show(made, as_json)
