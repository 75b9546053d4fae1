"""``blastscope leakage``: the same recipe and cells, their persons known and not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from blastscope.cli.crossval import cross_validate
from blastscope.cli.options import Device, ReportFolder, Seed, Settings, WeightsDir
from blastscope.cli.output import note, print_table, say


def leakage(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or the path of your own.")],
    store: Annotated[Path, typer.Option(help="The store to train and test on.")],
    out: ReportFolder,
    folds: Annotated[int, typer.Option(help="How many folds.", min=2)] = 5,
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
    """Measure what an image-level split hides: cross-validate by subject, and by cell alike."""
    from blastscope.api.evaluate import evaluate_crossval
    from blastscope.experiments.crossval import with_starts
    from blastscope.experiments.crossval_folder import CrossvalRequest
    from blastscope.report.leakage_page import measure_leakage
    from blastscope.report.text import HEADLINE, metric, spread

    recipes = with_starts(recipe, settings or ())
    unseen = CrossvalRequest(
        recipes, store, out / "subject", "subject", folds, repeats, seed, device, weights_dir
    )
    known = replace(unseen, by="matched", out=out / "matched")
    done = [(order, *cross_validate(order, jobs)) for order in (unseen, known)]
    found = measure_leakage(recipes[-1].name, known.predictions, unseen.predictions, out)
    for order, model, _ in done:  # both reports show it from now on
        evaluate_crossval(order, model)
    rows = [
        (name, metric(gain.known, 4), metric(gain.unseen, 4), metric(gain.difference, 4, sign=True))
        for key, name in HEADLINE.items()
        for gain in [found.gains[key]]
    ]
    print_table(("figure", "subjects also in training", "unseen subjects", "difference"), rows)
    say(found.sentence)
    if repeats > 1:
        moved = (
            f"{name} {spread(found.gains[key].spread, sign=True)}" for key, name in HEADLINE.items()
        )
        say(f"Difference over {repeats} repeats ± standard deviation: {', '.join(moved)}")
    note(f"Intervals: {found.resampling}")
    say(f"{out / 'report.html'}")
