"""``blastscope split``: which cells train, which choose, which test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blastscope.cli.options import Seed
from blastscope.cli.output import note, print_table, say
from blastscope.errors import listing

if TYPE_CHECKING:
    from blastscope.data.split_table import SplitReport


def split(
    store: Annotated[
        Path,
        typer.Argument(help="A store, a cell table, or a CSV with a column file of C-NMC names."),
    ],
    protocol: Annotated[
        str,
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
) -> None:
    """Split cells, and say whether parts share subjects or pixels."""
    from blastscope.data.splits import make_split

    path, report = make_split(store, protocol, seed, fractions, membership, out)
    _print(report)
    say(f"{path}: {report.hash}")


def _print(report: SplitReport) -> None:
    rows = []
    for part, counts in report.cells.items():
        people = report.subjects[part]
        rows.append(
            (
                part,
                *(counts.get(label, 0) for label in ("all", "hem")),
                sum(counts.values()),
                *(people.get(label, 0) for label in ("all", "hem")),
            )
        )
    columns = ("part", "ALL cells", "normal cells", "cells", "ALL subjects", "normal subjects")
    print_table(columns, rows)
    if report.without_subject:
        note(f"{report.without_subject:,} cells have no subject: what parts share is not known.")
    for pair, shared in report.shared_subjects.items():
        names = f" ({listing(shared)})" if shared else ""
        say(f"{pair}: {len(shared)} subjects in both{names}")
    for pair, count in report.shared_pixels.items():
        first, second = pair.split("/")
        say(f"{pair}: {count} {second} cells with the pixels of a {first} cell")
    if report.without_pixels:
        note(f"{report.without_pixels:,} cells have no pixel hash: pixels were not compared.")
    if report.left_out:
        note(f"{report.left_out:,} cells are in no part: they have no label or no fold.")
    for line in report.notes:
        note(f"{line}.")
