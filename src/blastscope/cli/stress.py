"""``blastscope stress``: what a change of stain, focus or light costs."""

from __future__ import annotations

from typing import Annotated

import typer

import blastscope as bs
from blastscope.cli.options import AsJson, Device, Part, ReportFolder, StoreFolder
from blastscope.cli.output import show


def stress(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Runs, or folders of crossval; NAME=PATH gives a model another name.",
        ),
    ],
    store: StoreFolder,
    out: ReportFolder,
    part: Part = "test",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure robustness: what other stain, focus or light costs.

    If it is interrupted, the same command goes on where it stopped.
    """
    show(bs.stress_test(models, store, part, out=out, device=device, progress=True), as_json)
