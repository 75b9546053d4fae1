"""``blastscope reproduce``: every experiment of the paper, run and reported."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

import blastscope as bs
from blastscope.cli.options import AsJson, Device, Jobs, Settings, WeightsDir
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
