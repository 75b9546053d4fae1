"""``blastscope synth``: synthetic cells to try everything on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import blastscope as bs
from blastscope.cli.options import AsJson, Seed
from blastscope.cli.output import show


def synth(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder that does not exist yet.")
    ],
    cells: Annotated[int, typer.Option(help="How many cells.", min=1)] = 1500,
    subjects: Annotated[int, typer.Option(help="Of how many subjects.", min=1)] = 24,
    seed: Seed = 24,
    as_json: AsJson = False,
) -> None:
    """Draw synthetic cells in the layout and format of C-NMC."""
    show(bs.synthesize(folder, cells, subjects, seed=seed, progress=True), as_json)
