"""``blastscope fetch``: the C-NMC 2019 data from its Kaggle mirror."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blastscope.cli.output import note, say


def fetch(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the data is to go.")],
) -> None:
    """Download C-NMC 2019 (CC BY 3.0) from its Kaggle mirror."""
    from blastscope.data.fetch import CITATION, fetch_cnmc

    note("Asking Kaggle for the C-NMC 2019 data.")
    place = fetch_cnmc(folder)
    say(f"{place}: now run blastscope check {place}")
    say(CITATION)
