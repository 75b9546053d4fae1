"""``blastscope compare``: several models on the same cells, with intervals."""

from __future__ import annotations

from typing import Annotated

import typer

import blastscope as bs
from blastscope.cli.options import AsJson, Part, Predictions, ReportFolder, Seed
from blastscope.cli.output import show


def compare(
    models: Predictions,
    out: ReportFolder,
    part: Part = "test",
    resamples: Annotated[
        int, typer.Option(help="How many times subjects and cells are drawn for the intervals.")
    ] = 2000,
    seed: Seed = 24,
    as_json: AsJson = False,
) -> None:
    """Compare models on the same cells: intervals, tests of pairs."""
    show(bs.compare(models, part, out=out, resamples=resamples, seed=seed), as_json)
