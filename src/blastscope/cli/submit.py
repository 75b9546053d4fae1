"""``blastscope submit``: the challenge's submission, from runs and images or from a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import blastscope as bs
from blastscope.cli.options import AsJson, Device, Force, ReportFolder
from blastscope.cli.output import show


def submit(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN... IMAGES | PREDICTIONS",
            help="A run, or several for their mean, then the folder of images 1.bmp, 2.bmp and so "
            "on; or a prediction table alone.",
        ),
    ],
    out: ReportFolder,
    device: Device = "auto",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write the submission.zip of the C-NMC 2019 challenge.

    It holds a 0 or 1 for each image, in numeric order. From runs and images it writes
    predictions.parquet as well: blastscope evaluate --labels judges it if the labels are known.
    """
    if len(inputs) == 1:
        made = bs.submit(inputs[0], out=out, force=force)
    else:
        *runs, images = inputs
        made = bs.submit(runs, images, out=out, device=device, force=force, progress=True)
    show(made, as_json)
