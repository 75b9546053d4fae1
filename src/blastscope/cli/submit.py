"""``blastscope submit``: the challenge's submission, from runs and images or from a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blastscope.cli.options import Device, Force
from blastscope.cli.output import note, say
from blastscope.errors import BlastscopeError


def submit(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN... IMAGES | PREDICTIONS",
            help="A run, or several for the mean of them, then the folder of images 1.bmp, 2.bmp "
            "and so on; or a prediction table alone.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder to write to.", metavar="DIR")],
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Write submission.zip for the C-NMC 2019 challenge: a 0 or 1 an image, in numeric order.

    From runs and images it writes predictions.parquet as well, which blastscope evaluate --labels
    scores where the labels are known.
    """
    from blastscope.parallel import progress_total
    from blastscope.prediction.submission import submit_images, submit_table

    if len(inputs) == 1 and inputs[0].is_dir():
        raise BlastscopeError(f"{inputs[0]} stands alone: give the folder of images behind it.")
    if len(inputs) == 1:
        made = submit_table(inputs[0], out, force=force)
    else:
        *runs, images = inputs
        with progress_total("Preparing and predicting") as advance:
            made = submit_images(runs, images, out, device=device, force=force, on_progress=advance)
    if made.already:
        note("The very same was there already.")
    say(f"{made.model}: {made.called_all:,} of {made.lines:,} cells called ALL")
    say(f"{made.path}")
