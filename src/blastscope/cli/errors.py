"""``blastscope errors``: what models get wrong, how often together, and what it has in common."""

from __future__ import annotations

from typing import Annotated

import typer

import blastscope as bs
from blastscope.cli.options import AsJson, Device, Part, Predictions, ReportFolder, SomeStore
from blastscope.cli.output import show


def errors(
    models: Predictions,
    out: ReportFolder,
    store: SomeStore = None,
    part: Part = "test",
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Add a page with heatmaps for each cell shown."),
    ] = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Analyze errors: counts, common causes, galleries."""
    found = bs.analyze_errors(
        models, part, out=out, store=store, explain=explain, device=device, progress=True
    )
    show(found, as_json)
