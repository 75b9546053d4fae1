"""``blastscope synth``: synthetic cells to try everything on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blastscope.cli.options import Seed
from blastscope.cli.output import say


def synth(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is not there yet.")],
    cells: Annotated[int, typer.Option(help="How many cells.", min=1)] = 1500,
    subjects: Annotated[int, typer.Option(help="From how many subjects.", min=1)] = 24,
    seed: Seed = 24,
) -> None:
    """Write synthetic cells in the layout, names and format of the C-NMC data."""
    from blastscope.data.synthetic import write_synthetic
    from blastscope.parallel import progress_total

    with progress_total("Drawing") as show:
        write_synthetic(folder, cells, subjects, seed, lambda done: show(done, cells))
    say(f"{folder}: {cells:,} synthetic cells of {subjects} synthetic subjects, seed {seed}.")
