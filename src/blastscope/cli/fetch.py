"""``blastscope fetch``: the C-NMC 2019 data from its Kaggle mirror."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import blastscope as bs
from blastscope.cli.options import AsJson
from blastscope.cli.output import note, show


def fetch(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to download to.")],
    as_json: AsJson = False,
) -> None:
    """Fetch C-NMC 2019 (CC BY 3.0) from its Kaggle mirror."""
    note("Asking Kaggle for the C-NMC 2019 data.")
    show(bs.fetch(folder), as_json)
