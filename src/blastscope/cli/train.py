"""``blastscope train``: a recipe on a store and a split, to a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import blastscope as bs
from blastscope.cli.options import AsJson, Device, RecipeName, Settings, StoreFolder, WeightsDir
from blastscope.cli.output import show


def train(
    recipe: RecipeName,
    store: StoreFolder,
    split: Annotated[Path, typer.Option(help="The split of that store.", metavar="FILE")],
    run: Annotated[Path, typer.Option(help="The run's folder.", metavar="DIR")],
    device: Device = "auto",
    settings: Settings = None,
    weights_dir: WeightsDir = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="The run whose weights the recipe starts from; by default the one beside DIR.",
        ),
    ] = None,
    no_cache: Annotated[
        bool,
        typer.Option(
            "--no-cache",
            help="Compute a frozen backbone anew in every epoch, and keep nothing on disk.",
        ),
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard events into the run as well.")
    ] = False,
    seeds: Annotated[
        int,
        typer.Option(
            help="How many trainings on the same split, from the recipe's seed on; with more than "
            "one, DIR is a folder of runs, and the spread of their metrics is reported.",
            min=1,
        ),
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Train a recipe and evaluate its best epoch.

    If it is interrupted, the same command goes on where it stopped.
    """
    made = bs.train(
        recipe,
        store,
        split,
        out=run,
        settings=settings or (),
        device=device,
        weights_dir=weights_dir,
        start=start,
        keep_features=not no_cache,
        tensorboard=tensorboard,
        seeds=seeds,
        progress=True,
    )
    show(made, as_json)
