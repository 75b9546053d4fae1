"""``blastscope train``: a recipe on a store and a split, to a run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blastscope.cli.options import Device, Settings, WeightsDir
from blastscope.cli.output import note, say

if TYPE_CHECKING:
    from blastscope.evaluation.result import Evaluation
    from blastscope.experiments.seeds import SeedsOrder
    from blastscope.training.train import Trained


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
    seeds: Annotated[
        int,
        typer.Option(
            help="How many trainings on the same split, from the recipe's seed on; with more than "
            "one DIR is a folder of runs, and the spread of their figures is reported.",
            min=1,
        ),
    ] = 1,
) -> None:
    """Train a recipe, then evaluate its best epoch. Interrupted, it goes on when run again."""
    from blastscope.recipes.library import load_recipe

    loaded = load_recipe(recipe, settings or ())
    if seeds > 1:
        from blastscope.experiments.seeds import SeedsOrder

        _train_seeds(
            SeedsOrder(loaded, store, split, run, seeds, device, weights_dir, start, not no_cache),
            tensorboard,
        )
        return
    from blastscope.api.evaluate import evaluate
    from blastscope.training.display import TrainingDisplay
    from blastscope.training.train import train as train_recipe

    with TrainingDisplay(loaded.name) as display:
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


def _train_seeds(order: SeedsOrder, tensorboard: bool) -> None:
    """Train and evaluate the seeds, then write and print the spread."""
    from blastscope.experiments.progress import JobsProgress
    from blastscope.experiments.seeds import SeedJob, begin_seeds, train_seeds
    from blastscope.report.seeds_page import report_seeds

    with begin_seeds(order) as seeds:
        jobs = [SeedJob(seed) for seed in seeds.all]
        with JobsProgress(
            jobs, say, headline=lambda found: str(found.headline), tensorboard=tensorboard
        ) as progress:
            results = train_seeds(
                seeds,
                partial(_evaluate, store=order.store),
                watch=progress.watch,
                on_done=progress.tell,
            )
        found = report_seeds(seeds, results)
    say(f"{order.recipe.name}: {found.headline}")
    note(found.sentence)
    say(f"{order.out / 'report.html'}")


def _evaluate(run: Trained, store: Path) -> Evaluation:
    from blastscope.api.evaluate import evaluate

    return evaluate(run.path, run.part, out=run.path, store=store)
