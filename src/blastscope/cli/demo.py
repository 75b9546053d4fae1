"""``blastscope demo``: the main job from end to end, small."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import blastscope as bs
from blastscope.cli.options import AsJson
from blastscope.cli.output import note, show


def demo(
    out: Annotated[Path, typer.Option(help="The folder to write to.", metavar="DIR")] = Path(
        "demo"
    ),
    data: Annotated[
        Path | None,
        typer.Option(help="A folder of labelled cells; synthetic ones without it.", metavar="DIR"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the main job from end to end on a few synthetic cells."""
    show(bs.run_demo(out, data, say=note), as_json)
