"""``blastscope export``: a network as an ONNX file, tried on real cells."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import blastscope as bs
from blastscope.cli.options import AsJson
from blastscope.cli.output import show


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A run or a bundle.")],
    out: Annotated[Path, typer.Option(help="The ONNX file.", metavar="FILE")],
    cells: Annotated[
        Path,
        typer.Option(
            help="A store, or a folder of cell images, on which engines must agree.",
            metavar="DIR_OR_STORE",
        ),
    ],
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Write FILE-int8.onnx, too, and measure what int8 costs on labelled cells.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.")] = False,
    as_json: AsJson = False,
) -> None:
    """Export a network as ONNX; engines must agree on real cells."""
    made = bs.export_onnx(model, out=out, cells=cells, int8=int8, force=force, progress=True)
    show(made, as_json)
