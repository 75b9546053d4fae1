"""``blastscope split``: which cells train, which validate, which test."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

import blastscope as bs
from blastscope.cli.options import AsJson, Seed
from blastscope.cli.output import show


def split(
    store: Annotated[
        Path,
        typer.Argument(help="A store, a cell table, or a CSV with a column file of C-NMC names."),
    ],
    protocol: Annotated[
        Literal["image", "subject", "official", "paper"],
        typer.Option(
            help="image: at random by image, as the paper; subject: no subject in two parts; "
            "official: train folds against the preliminary set; paper: the published members."
        ),
    ],
    seed: Seed = 24,
    fractions: Annotated[
        tuple[float, float, float] | None,
        typer.Option(
            help="Shares of train, validation and test, for image and subject: .6 .2 .2 without. "
            "By subject they are met as nearly as whole subjects allow, in steps of .05."
        ),
    ] = None,
    membership: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="For paper: the CSV of its training set's files."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The file to write; STORE/splits/PROTOCOL-seedK.parquet by default."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Split cells into train, validation and test.

    It also says whether two parts share subjects or pixels.
    """
    made = bs.split(store, protocol, seed=seed, fractions=fractions, membership=membership, out=out)
    show(made, as_json)
