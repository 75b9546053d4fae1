"""``blastscope crossval``: every cell predicted once, by a network that never saw its subject."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blastscope.cli.options import Device, ReportFolder, Seed, Settings, WeightsDir
from blastscope.cli.output import note, print_table, say

if TYPE_CHECKING:
    from blastscope.experiments.crossval_folder import CrossvalRequest
    from blastscope.experiments.crossval_metrics import CrossvalMetrics


def crossval(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or the path of your own.")],
    store: Annotated[Path, typer.Option(help="The store to train and test on.")],
    out: ReportFolder,
    folds: Annotated[int, typer.Option(help="How many folds.", min=2)] = 5,
    by: Annotated[
        str,
        typer.Option(
            help="What is never cut apart: subject (unseen patients); image, by cell, as the "
            "paper; fold, the data set's own folds; matched, by cell but sized as by subject."
        ),
    ] = "subject",
    repeats: Annotated[
        int, typer.Option(help="How many times to cut and train anew, each with its seed.", min=1)
    ] = 1,
    seed: Seed = 24,
    jobs: Annotated[
        int, typer.Option(help="Folds trained at a time, each with its share of cores.", min=1)
    ] = 1,
    settings: Settings = None,
    device: Device = "auto",
    weights_dir: WeightsDir = None,
) -> None:
    """Test a recipe on subjects that it never saw, each once; it goes on where it stopped."""
    from blastscope.experiments.crossval import with_starts
    from blastscope.experiments.crossval_folder import CrossvalRequest

    recipes = with_starts(recipe, settings or ())
    order = CrossvalRequest(recipes, store, out, by, folds, repeats, seed, device, weights_dir)
    cross_validate(order, jobs)
    say(f"{out / 'report.html'}")


def cross_validate(order: CrossvalRequest, jobs: int) -> tuple[str, CrossvalMetrics]:
    """Train what is not trained yet, showing it, write and print the figures.

    Returns:
        The name of the first repeat's model, which the report is about, and the figures.
    """
    from blastscope.api.evaluate import evaluate_crossval
    from blastscope.experiments.crossval import gather, lay_out, train_folds
    from blastscope.experiments.crossval_metrics import crossval_metrics, record
    from blastscope.experiments.progress import JobsProgress
    from blastscope.report.crossval_page import folds_table

    started = lay_out(order)
    for sentence in started.plans[0].sentences:
        note(sentence)
    already = len(started.folds) - len(started.left)
    with JobsProgress(started.left, note, already=already) as progress:
        train_folds(started, jobs, progress.watch, progress.tell)
    table = gather(started)
    found = crossval_metrics(started, table)
    record(order, started.store.fingerprint, found)
    model = str(table["model"][0])
    evaluate_crossval(order, model)
    shown = folds_table(found)
    print_table(shown.head, shown.folds)
    say(f"{order.name}: {shown.headline}")
    return model, found
