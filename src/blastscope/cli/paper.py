"""The verbs on the paper and its challenge: reproduce, submit, and the demo."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

import blastscope as bs
from blastscope.cli.options import AsJson, Device, Force, Jobs, ReportFolder, Settings, WeightsDir
from blastscope.cli.output import note, show


def reproduce(
    data: Annotated[Path, typer.Option(help="The folder with the labelled cells.", metavar="DIR")],
    out: Annotated[Path, typer.Option(help="The study's folder.", metavar="DIR")],
    only: Annotated[
        str | None,
        typer.Option(
            metavar="GLOB",
            help="Which recipes: 'paper/vgg16-*', 'cnn-*'. What they start from is added.",
        ),
    ] = None,
    protocol: Annotated[
        Literal["image", "subject"] | None,
        typer.Option(help="How cells are split; both ways by default."),
    ] = None,
    seeds: Annotated[
        int, typer.Option(help="How many splits and trainings of each experiment.", min=1)
    ] = 1,
    jobs: Jobs = 1,
    plan: Annotated[bool, typer.Option("--plan", help="Print the plan and stop.")] = False,
    settings: Settings = None,
    device: Device = "auto",
    weights_dir: WeightsDir = None,
    as_json: AsJson = False,
) -> None:
    """Reproduce the paper: run its experiments, report them.

    If it is interrupted, the same command goes on where it stopped.
    """
    planned = bs.plan_reproduction(
        data,
        out=out,
        only=only,
        protocol=protocol,
        seeds=seeds,
        settings=settings or (),
        device=device,
        weights_dir=weights_dir,
        command=shlex.join(["blastscope", *sys.argv[1:]]),
        progress=True,
    )
    if plan or not as_json:
        show(planned, as_json)
    if plan:
        return
    found = planned.run(jobs, progress=True)
    show(found, as_json)
    if found.failed:
        note(f"blastscope: {len(found.failed)} experiments failed: the report says why.")
        raise typer.Exit(2)


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


def demo(
    out: Annotated[Path, typer.Option(help="The folder to write to.", metavar="DIR")] = Path(
        "demo"
    ),
    data: Annotated[
        Path | None,
        typer.Option(help="A folder of labelled cells; synthetic ones without it.", metavar="DIR"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the main job from end to end on a few synthetic cells."""
    show(bs.run_demo(out, data, say=note), as_json)
