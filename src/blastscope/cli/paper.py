"""The verbs on the paper and its challenge: reproduce, submit, and the demo."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

import blastscope as bs
from blastscope.cli.options import (
    AsJson,
    Device,
    Engine,
    Force,
    Jobs,
    ReportFolder,
    Settings,
    SomeStore,
    Track,
    WeightsDir,
    argument,
    option,
)
from blastscope.cli.output import note, show


def reproduce(
    data: Annotated[Path, option("The folder with the labelled cells.", "DIR")],
    out: Annotated[Path, option("The study's folder.", "DIR")],
    only: Annotated[
        str | None,
        option("Which recipes: 'paper/vgg16-*', 'cnn-*'. What they start from is added.", "GLOB"),
    ] = None,
    protocol: Annotated[
        Literal["image", "subject"] | None, option("How cells are split; both ways by default.")
    ] = None,
    seeds: Annotated[int, option("How many splits and trainings of each experiment.", min=1)] = 1,
    jobs: Jobs = 1,
    plan: Annotated[bool, option("Print the plan and stop.", name="--plan")] = False,
    settings: Settings = None,
    device: Device = "auto",
    weights_dir: WeightsDir = None,
    track: Track = None,
    engine: Engine = "local",
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
    found = planned.run(jobs, track=track, engine=engine, progress=True)
    show(found, as_json)
    if found.failed:
        note(f"blastscope: {len(found.failed)} experiments failed: the report says why.")
        raise typer.Exit(2)


def submit(
    inputs: Annotated[
        list[Path],
        argument(
            "A run, or several for their mean, then the folder of images 1.bmp, 2.bmp and so "
            "on; or a prediction table alone.",
            "RUN... IMAGES | PREDICTIONS",
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
        if device != "auto":
            raise bs.BlastscopeError("--device is for runs: a table has its predictions already.")
        made = bs.submit(inputs[0], out=out, force=force)
    else:
        *runs, images = inputs
        made = bs.submit(runs, images, out=out, device=device, force=force, progress=True)
    show(made, as_json)


def demo(
    out: Annotated[Path, option("The folder to write to.", "DIR")] = Path("demo"),
    data: Annotated[
        Path | None, option("A folder of labelled cells; synthetic ones without it.", "DIR")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the main job from end to end on a few synthetic cells."""
    show(bs.run_demo(out, data, say=note), as_json)


def verify(
    folder: Annotated[
        Path,
        argument("A run, a bundle, a store, an ensemble, or a folder that holds runs.", "RUN"),
    ],
    store: SomeStore = None,
    split: Annotated[
        Path | None, option("The run's split; by default where it was.", "FILE")
    ] = None,
    weights_dir: WeightsDir = None,
    rerun: Annotated[
        bool,
        option(
            "Train the run again in a temporary folder, deterministically, and compare.",
            name="--rerun",
        ),
    ] = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Verify that a result is what it was, and what made it.

    Every file is compared with its recorded digest. The exit status is 1 if one is changed or
    missing.
    """
    found = bs.verify(
        folder, store=store, split=split, weights_dir=weights_dir, rerun=rerun, device=device
    )
    show(found, as_json)
    if found.failed:
        raise typer.Exit(1)
