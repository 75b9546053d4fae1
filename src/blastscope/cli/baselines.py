"""``blastscope baselines``: what can be had without any network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import blastscope as bs
from blastscope.cli.options import AsJson, Seed
from blastscope.cli.output import show


def baselines(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="CELLS",
            help="A store, a cell table, or a CSV file,width,height of C-NMC names and boxes.",
        ),
    ],
    folds: Annotated[int, typer.Option(help="How many folds by subject.", min=2)] = 5,
    cuts: Annotated[int, typer.Option(help="How many times to cut them.", min=1)] = 5,
    seed: Seed = 24,
    as_json: AsJson = False,
) -> None:
    """Measure what always-ALL, cell size and colour reach.

    No network is needed. Unseen subjects are tested as well.
    """
    show(bs.measure_baselines(source, folds=folds, cuts=cuts, seed=seed), as_json)
