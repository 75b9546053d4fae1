"""``blastscope check``: what a data set is, and what in it looks wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import typer

from blastscope.cli.options import AsJson, Folders, Labels
from blastscope.cli.output import note, print_table, say
from blastscope.errors import listing

if TYPE_CHECKING:
    from blastscope.data.check import CheckReport


def check(folder: Folders, labels: Labels = None, as_json: AsJson = False) -> None:
    """Read a data set and say what it is: classes, subjects, folds, and everything suspicious.

    Exit status 0 where it can be used, 2 where not.
    """
    from blastscope.data.check import check as check_cells
    from blastscope.parallel import progress_total

    with progress_total("Reading") as advance:
        report = check_cells(folder, labels, advance)
    if as_json:
        typer.echo(json.dumps(report.as_json(), indent=2))
    else:
        _print(report)
    if not report.usable:
        for reason in report.reasons:
            note(f"blastscope: {reason}")
        raise typer.Exit(2)


def _print(report: CheckReport) -> None:
    from blastscope.data.check import MEANINGS

    synthetic = " synthetic" if report.synthetic else ""
    where = ", ".join(report.folders)
    say(f"{report.cells:,}{synthetic} cells, {report.subjects} subjects in {where}")
    names = {"all": "ALL", "hem": "normal"}
    print_table(
        ("class", "cells", "subjects"),
        [(names[c], n, report.subjects_per_class.get(c)) for c, n in report.per_class.items()],
    )
    print_table(
        ("fold", "ALL", "normal", "unlabelled"),
        [
            (fold, *(counts.get(key, 0) for key in ("all", "hem", "unlabelled")))
            for fold, counts in report.per_fold.items()
        ],
    )
    if report.per_subject:
        print_table(("subject", "cells"), report.per_subject.items())
    for what, counts in (
        ("Sizes", report.sizes),
        ("Formats", report.formats),
        ("Modes", report.modes),
    ):
        say(f"{what}: {_counts(counts)}")
    for line in report.notes:
        say(f"Note: {line}")
    for flag, files in sorted(report.suspicious.items()):
        meaning = MEANINGS[flag]
        say(f"\n{meaning[0].upper()}{meaning[1:]} ({len(files):,}):")
        rows = report.identical if flag == "identical" else [[file] for file in files]
        for row in rows:
            say("  " + " = ".join(row))
    if report.unusable:
        say(f"\nCannot be used ({len(report.unusable):,}):")
        for problem in report.unusable:
            say(f"  {problem.file} {problem.message}")
    say("\nUsable." if report.usable else "\nNot usable as it is.")


def _counts(counts: Mapping[str, int]) -> str:
    most = sorted(counts.items(), key=lambda pair: -pair[1])
    return listing([f"{name} ({number:,})" for name, number in most])
