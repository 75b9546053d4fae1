"""``blastscope train``: a recipe on a store and a split, to a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blastscope.cli.options import Device, Settings, WeightsDir
from blastscope.cli.output import note, say


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(train)


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or the path of your own.")],
    store: Annotated[Path, typer.Option(help="The store to train on.")],
    split: Annotated[Path, typer.Option(help="The split of that store.")],
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
            "--no-cache", help="Compute frozen parts anew in every epoch, and keep nothing on disk."
        ),
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard events into the run as well.")
    ] = False,
) -> None:
    """Train a recipe, then evaluate its best epoch. Interrupted, it goes on when run again."""
    from blastscope.recipes.library import load_recipe
    from blastscope.report.evaluate import evaluate
    from blastscope.train.display import TrainingDisplay
    from blastscope.train.run import train as train_recipe

    loaded = load_recipe(recipe, settings or ())
    with TrainingDisplay(loaded.name, loaded.training.epochs) as display:
        done = train_recipe(
            loaded,
            store,
            split,
            run,
            device=device,
            weights_dir=weights_dir,
            start=start,
            keep_features=not no_cache,
            watch=display.watch(tensorboard),
        )
    if done.already:
        note(f"{run} is finished already; nothing was trained.")
    result = evaluate(run, done.part, out=run, store=store)
    say(f"{loaded.name}: {result.headline}")
    say(f"{result.report}")
