"""``blastscope crossval`` and ``leakage``: unseen subjects, and what an image-level split hides."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

import blastscope as bs
from blastscope.cli.options import (
    AsJson,
    Device,
    Folds,
    Jobs,
    RecipeName,
    Repeats,
    ReportFolder,
    Seed,
    Settings,
    StoreFolder,
    WeightsDir,
)
from blastscope.cli.output import show


def crossval(
    recipe: RecipeName,
    store: StoreFolder,
    out: ReportFolder,
    folds: Folds = 5,
    by: Annotated[
        Literal["subject", "image", "fold", "matched"],
        typer.Option(
            help="What is kept together: subject; image, by cell, as the paper; fold, the data "
            "set's own folds; matched, by cell but with the sizes of subject."
        ),
    ] = "subject",
    repeats: Repeats = 1,
    seed: Seed = 24,
    jobs: Jobs = 1,
    settings: Settings = None,
    device: Device = "auto",
    weights_dir: WeightsDir = None,
    as_json: AsJson = False,
) -> None:
    """Cross-validate a recipe on unseen subjects.

    If it is interrupted, the same command goes on where it stopped.
    """
    made = bs.cross_validate(
        recipe,
        store,
        out=out,
        folds=folds,
        by=by,
        repeats=repeats,
        seed=seed,
        jobs=jobs,
        settings=settings or (),
        device=device,
        weights_dir=weights_dir,
        progress=True,
    )
    show(made, as_json)


def leakage(
    recipe: RecipeName,
    store: StoreFolder,
    out: ReportFolder,
    folds: Folds = 5,
    repeats: Repeats = 1,
    seed: Seed = 24,
    jobs: Jobs = 1,
    settings: Settings = None,
    device: Device = "auto",
    weights_dir: WeightsDir = None,
    as_json: AsJson = False,
) -> None:
    """Measure how much an image-level split overstates a recipe.

    The recipe is cross-validated by subject, and by cell with folds of the same sizes. If it is
    interrupted, the same command goes on where it stopped.
    """
    made = bs.measure_leakage(
        recipe,
        store,
        out=out,
        folds=folds,
        repeats=repeats,
        seed=seed,
        jobs=jobs,
        settings=settings or (),
        device=device,
        weights_dir=weights_dir,
        progress=True,
    )
    show(made, as_json)
