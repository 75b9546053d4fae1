"""``blastscope check``: what a data set is, and what in it looks wrong."""

from __future__ import annotations

import typer

import blastscope as bs
from blastscope.cli.options import AsJson, Folders, Labels
from blastscope.cli.output import note, show


def check(folders: Folders, labels: Labels = None, as_json: AsJson = False) -> None:
    """Check a data set: classes, subjects, folds, suspicious files.

    The exit status is 0 if it can be used, and 2 if not.
    """
    result = bs.check(folders, labels, progress=True)
    show(result, as_json)
    if not result.usable:
        for reason in result.found.reasons:
            note(f"blastscope: {reason}")
        raise typer.Exit(2)
