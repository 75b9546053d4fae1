"""The verbs of training: recipes, runs, cross-validations, whole models and leakage."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import blastscope as bs
from blastscope.cli.options import (
    AsJson,
    Device,
    Engine,
    Folds,
    Jobs,
    RecipeName,
    Repeats,
    ReportFolder,
    Seed,
    Settings,
    SkipBad,
    StoreFolder,
    Track,
    WeightsDir,
    argument,
    option,
)
from blastscope.cli.output import say, show, show_json


def recipes(
    name: Annotated[
        str | None, argument("Print this recipe, resolved, instead of the list.")
    ] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """List the packaged recipes, or print one."""
    if name is None:
        if settings:
            raise bs.BlastscopeError("--set changes a recipe that is printed: give its name.")
        show(bs.list_recipes(), as_json)
        return
    recipe = bs.load_recipe(name, settings or ())
    if as_json:
        show_json(recipe.model_dump(mode="json", by_alias=True, exclude_none=True))
    else:
        from blastscope.api.recipes import recipe_yaml

        say(recipe_yaml(recipe).rstrip())


Teachers = Annotated[
    list[Path] | None,
    option("A run, ensemble or table that a recipe with distillation learns from; may repeat."),
]
Averaged = Annotated[
    list[Path] | None,
    option(
        "A finished run on the same split; a recipe with `weights: averaged` is the mean of the "
        "weights of two or more.",
        "RUN",
    ),
]


def train(
    recipe: RecipeName,
    store: StoreFolder,
    split: Annotated[Path, option("The split of that store.", "FILE")],
    out: ReportFolder,
    device: Device = "auto",
    settings: Settings = None,
    weights_dir: WeightsDir = None,
    start: Annotated[
        Path | None,
        option(
            "The run whose weights the recipe starts from; by default the one beside DIR.",
            "RUN",
            name="--from",
        ),
    ] = None,
    teacher: Teachers = None,
    pseudo_labels: Annotated[
        list[Path] | None,
        option(
            "A run, ensemble or table of the same split: test cells of which it is sure join the "
            "training (transductive; the report says so). May repeat.",
            name="--pseudo-labels",
        ),
    ] = None,
    average: Averaged = None,
    no_cache: Annotated[
        bool,
        option(
            "Compute a frozen backbone anew in every epoch, and keep nothing on disk.",
            name="--no-cache",
        ),
    ] = False,
    tensorboard: Annotated[
        bool, option("Write TensorBoard events into the run as well.", name="--tensorboard")
    ] = False,
    seeds: Annotated[
        int,
        option(
            "How many trainings on the same split, from the recipe's seed on; with more than "
            "one, DIR is a folder of runs, and the spread of their metrics is reported.",
            min=1,
        ),
    ] = 1,
    devices: Annotated[
        int,
        option(
            "How many GPUs of each machine share every batch; with --device cpu, processes.", min=1
        ),
    ] = 1,
    nodes: Annotated[
        int,
        option("How many machines; start the same command on each, such as by torchrun.", min=1),
    ] = 1,
    track: Track = None,
    as_json: AsJson = False,
) -> None:
    """Train a recipe and evaluate its best epoch.

    If it is interrupted, the same command goes on where it stopped.
    """
    made = bs.train(
        recipe,
        store,
        split,
        out=out,
        settings=settings or (),
        device=device,
        weights_dir=weights_dir,
        start=start,
        teachers=teacher or (),
        pseudo_labels=pseudo_labels or (),
        average=average or (),
        keep_features=not no_cache,
        tensorboard=tensorboard,
        seeds=seeds,
        devices=devices,
        nodes=nodes,
        track=track,
        progress=True,
    )
    if os.environ.get("RANK", "0") == "0":  # of the processes that torchrun started, one prints
        show(made, as_json)


def crossval(
    recipe: RecipeName,
    store: StoreFolder,
    out: ReportFolder,
    folds: Folds = 5,
    by: Annotated[
        Literal["subject", "image", "fold", "matched"],
        option(
            "What is kept together: subject; image, by cell, as the paper; fold, the data "
            "set's own folds; matched, by cell but with the sizes of subject."
        ),
    ] = "subject",
    repeats: Repeats = 1,
    seed: Seed = 24,
    without: Annotated[
        list[str] | None,
        option("A fold of the data set whose cells take no part, such as preliminary.", "FOLD"),
    ] = None,
    jobs: Jobs = 1,
    settings: Settings = None,
    device: Device = "auto",
    weights_dir: WeightsDir = None,
    teacher: Annotated[
        list[Path] | None,
        option(
            "A cross-validation of the same folds that a recipe with distillation learns from; "
            "may repeat."
        ),
    ] = None,
    average: Annotated[
        list[Path] | None,
        option(
            "A cross-validation of the same folds; a recipe with `weights: averaged` is the mean "
            "of the weights of two or more, fold by fold.",
            "DIR",
        ),
    ] = None,
    track: Track = None,
    engine: Engine = "local",
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
        without=without or (),
        jobs=jobs,
        settings=settings or (),
        device=device,
        weights_dir=weights_dir,
        teachers=teacher or (),
        average=average or (),
        track=track,
        engine=engine,
        progress=True,
    )
    show(made, as_json)


def tune(
    recipe: RecipeName,
    space: Annotated[
        str,
        option("What may be tried: a YAML file of settings, or spaces/frozen-head.", "FILE"),
    ],
    store: StoreFolder,
    split: Annotated[Path, option("The split of that store, by subject.", "FILE")],
    out: ReportFolder,
    trials: Annotated[int, option("How many trials the search has in the end.", min=1)] = 40,
    objective: Annotated[
        Literal["equal-size-auc", "auc", "weighted-f1", "balanced-accuracy"] | None,
        option(
            "The score of a trial; by default equal-size-auc, or auc if the store does not know "
            "the size of every cell."
        ),
    ] = None,
    folds: Annotated[
        int,
        option(
            "Cross-validate each trial over so many folds of the subjects that are not for "
            "testing; 0 trains once and scores the validation part.",
            min=0,
        ),
    ] = 0,
    prune: Annotated[
        Literal["median", "hyperband", "none"],
        option("Stop a trial early if others were ahead of it at that epoch or fold."),
    ] = "median",
    seed: Seed = 24,
    judge: Annotated[
        bool,
        option(
            "In the end, compare the winner with RECIPE on the test part. This can be done once.",
            name="--judge",
        ),
    ] = False,
    storage: Annotated[
        str | None,
        option("A database for the trials instead of an SQLite file in DIR.", "URL"),
    ] = None,
    image_level: Annotated[
        bool,
        option("Search although subjects are in several parts of the split.", name="--image-level"),
    ] = False,
    settings: Settings = None,
    device: Device = "auto",
    weights_dir: WeightsDir = None,
    track: Track = None,
    engine: Engine = "local",
    as_json: AsJson = False,
) -> None:
    """Search for better settings of a recipe on validation subjects.

    The test part takes no part in it. If it is interrupted, the same command goes on where it
    stopped; given several times at once, the processes share the trials.
    """
    made = bs.tune(
        recipe,
        store,
        split,
        space,
        out=out,
        trials=trials,
        objective=objective,
        folds=folds,
        prune=prune,
        seed=seed,
        judge=judge,
        storage=storage,
        image_level=image_level,
        settings=settings or (),
        device=device,
        weights_dir=weights_dir,
        track=track,
        engine=engine,
        progress=True,
    )
    show(made, as_json)


def build(
    data: Annotated[Path, argument("The folder with the labelled cells.", "DIR")],
    out: ReportFolder,
    recipe: Annotated[
        str | None,
        option(
            "A recipe's name, or the path of your own .yaml; by default "
            "beyond/efficientnet-lite0-rescaled."
        ),
    ] = None,
    folds: Annotated[int, option("How many folds of subjects.", min=2)] = 5,
    jobs: Jobs = 1,
    settings: Settings = None,
    skip_bad: SkipBad = False,
    device: Device = "auto",
    weights_dir: WeightsDir = None,
    as_json: AsJson = False,
) -> None:
    """Build a model from labelled cells: from images to a bundle.

    Prepares a store, cross-validates, trains the network, evaluates it on the preliminary test set
    if that is there, and bundles it with a decision fitted out of fold. If it is interrupted, the
    same command goes on where it stopped.
    """
    made = bs.build_model(
        data,
        out=out,
        recipe=recipe,
        folds=folds,
        jobs=jobs,
        settings=settings or (),
        skip_bad=skip_bad,
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
