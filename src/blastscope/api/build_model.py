"""Build a model from labelled cells: store, cross-validation, network, evaluation, bundle.

Every stage goes on where it was interrupted, and leaves alone what is finished.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from blastscope.api.bundle import BundleResult, make_bundle
from blastscope.api.cross_validate import CrossvalResult, cross_validate
from blastscope.api.prepare import SplitResult, prepare, split
from blastscope.api.recipes import AnyRecipe, Recipe, Settings, with_starts
from blastscope.api.result import AnyPath, FolderResult, TextTable, as_path, synthetic_of
from blastscope.api.train import TrainingResult, train
from blastscope.data.store import open_store
from blastscope.errors import BlastscopeError, listing
from blastscope.io.workfolder import FolderKind, WorkFolder
from blastscope.recipes.library import refuse_unread_weights
from blastscope.recipes.schema import AVERAGED
from blastscope.report.text import counted

RECIPE = "beyond/efficientnet-lite0-rescaled"
"""The recipe of ``blastscope build`` and ``make model`` without another.

Its weights come from timm's hub. ``beyond/resnet50-sized-long`` is ahead of it on left-out subjects
(docs/results.md), but that hub does not have its weights.
"""
PRELIMINARY = "preliminary"
FOLDS = ("0", "1", "2")
"""The training folds of C-NMC 2019, as a cell table names them."""
SEED = 24
_KIND = FolderKind("build.json", "blastscope-build/1")
_ALL_CELLS = (0.9, 0.1, 0.0)
"""Shares of train, validation and test without a test set: every cell trains or chooses the
epoch."""


@dataclass(frozen=True)
class BuildPlan:
    """How a model is built from the cells that are there.

    Attributes:
        tested: whether the preliminary test set is there to evaluate the network on.
        folds: the official training folds that are there.
    """

    tested: bool
    folds: tuple[str, ...]

    @property
    def without(self) -> tuple[str, ...]:
        """The folds that take no part in training and cross-validation."""
        return (PRELIMINARY,) if self.tested else ()

    @property
    def protocol(self) -> str:
        """The protocol of the network's split."""
        return "official" if self.tested else "image"


@dataclass(frozen=True, eq=False, repr=False)
class BuildResult(FolderResult):
    """A model, and everything that it was built from, in one folder.

    Attributes:
        plan: how it was built.
        crossval: every training cell, predicted by a network that never saw its subject.
        training: the network, and its evaluation.
        bundle: the bundle, with the decision of the cross-validation.
        left_out: how many files could not be used.
    """

    plan: BuildPlan
    crossval: CrossvalResult
    training: TrainingResult
    bundle: BundleResult
    left_out: int = 0
    synthetic = synthetic_of("bundle")

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each metric of the cross-validation and of the network."""
        frames = [
            one.to_frame().select(pl.lit(name).alias("of"), "part", "metric", "value")
            for name, one in (
                ("cross-validation", self.crossval.evaluation),
                ("network", self.training.evaluation),
            )
        ]
        return pl.concat(frames)

    def as_json(self) -> dict[str, Any]:
        """Return the plan, the metrics and the bundle."""
        return {
            "path": self.written_to,
            "tested": self.plan.tested,
            "crossval": self.crossval.as_json(),
            "training": self.training.as_json(),
            "bundle": self.bundle.as_json(),
        }

    def tables(self) -> list[TextTable]:
        """Return the metrics of every fold."""
        return self.crossval.tables()

    def answers(self) -> list[str]:
        """Say what was made, and what it reaches."""
        return [*self.bundle.answers(), *self.crossval.answers(), *self.training.answers()]

    def notes(self) -> list[str]:
        """Say how cells were cut, and what the network was evaluated on."""
        said = [*self.crossval.notes(), *plan_notes(self.plan), *self.bundle.notes()]
        if self.left_out:
            why = self.place / "store" / "store.json"
            said.append(f"Left out: {counted(self.left_out, 'file')} ({why} has the reasons).")
        return said


def plan_notes(plan: BuildPlan) -> list[str]:
    """Say what follows from the cells that are there."""
    said = []
    if plan.folds and len(plan.folds) < len(FOLDS):
        there = listing([f"fold_{name}" for name in plan.folds])
        said.append(f"Of the official folds fold_0, fold_1 and fold_2 there is only {there}.")
    if not plan.tested:
        said.append(
            "There is no labelled preliminary test set: the network was trained on all cells, and "
            "its metrics are of the validation cells that chose its epoch. Only the "
            "cross-validation shows what to expect of an unseen subject."
        )
    return said


def build_model(
    data: AnyPath,
    *,
    out: AnyPath,
    recipe: AnyRecipe | None = None,
    folds: int = 5,
    jobs: int = 1,
    settings: Settings = (),
    believe: Literal["name", "folder", "table"] | None = None,
    skip_bad: bool = False,
    device: str = "auto",
    weights_dir: AnyPath | None = None,
    progress: bool = False,
) -> BuildResult:
    """Build a model from labelled cells: from images to a bundle, in one folder.

    The cells are prepared as the recipe needs them. The recipe is cross-validated by subject, where
    subjects that share pixel-identical cells count as one (some do across the official folds); this
    gives a decision that is fitted out of fold. With the preliminary test set the network is
    trained on the official split and tested on that set; otherwise it is trained on all cells. A
    recipe that starts from another is trained after it. If it is interrupted, the same call goes on
    where it stopped.

    Args:
        data: the folder with the labelled cells.
        out: the folder to write to: ``store``, ``crossval``, ``run`` and ``model.zip``; the runs
            that the network started from are in ``starts``.
        recipe: as :func:`blastscope.train` takes it; ``RECIPE`` without it.
        folds: how many folds of subjects.
        believe: what to believe if a file's name, its folder and a table contradict each other;
            such files cannot be used without it.
        skip_bad: leave out files that cannot be used; otherwise they are an error.
        jobs, settings, device, weights_dir, progress: as :func:`blastscope.cross_validate` takes
            them.

    Returns:
        The bundle, the run and the cross-validation.

    Raises:
        BlastscopeError: if the cells cannot be used, a stage fails, or the folder is another's.
    """
    place, recipes = Path(out), with_starts(recipe or RECIPE, settings)
    _refuse_what_needs_runs(recipes)
    refuse_unread_weights(recipes, weights_dir)
    identity = {"recipe": recipes[-1].experiment, "folds": folds}
    if len(recipes) > 1:
        identity["starts"] = [one.experiment for one in recipes[:-1]]
    WorkFolder(place, _KIND, identity).open_or_resume()
    wanted = recipes[-1].input
    prepared = prepare(
        data, out=place / "store", size=wanted.size, scale=wanted.scale, clahe=wanted.clahe,
        colour_normalization=wanted.stain_method, believe=believe, skip_bad=skip_bad,
        progress=progress,
    )  # fmt: skip
    store = prepared.place
    plan = plan_build(open_store(store).cells)
    shares = None if plan.tested else _ALL_CELLS
    cut = split(store, plan.protocol, seed=SEED, fractions=shares)
    common: dict[str, Any] = {"device": device, "progress": progress}
    judged = cross_validate(
        recipe or RECIPE, store, out=place / "crossval", folds=folds, by="subject", seed=SEED,
        without=plan.without, jobs=jobs, settings=settings, weights_dir=weights_dir, **common,
    )  # fmt: skip
    trained = _train(recipes, store, cut, place, as_path(weights_dir), **common)
    bundle = make_bundle(
        trained, place / "model.zip", decision=judged, evaluations=[judged], force=True
    )
    left_out = len(prepared.made.skipped)
    return BuildResult(plan, judged, trained, bundle, left_out, path=place)


def _refuse_what_needs_runs(recipes: tuple[Recipe, ...]) -> None:
    """Refuse recipes that need finished runs, which a folder of cells does not have.

    Raises:
        BlastscopeError: if one is a mean of runs, or is taught.
    """
    for recipe in recipes:
        averaged = recipe.model.weights == AVERAGED
        if averaged or recipe.training.distillation > 0:
            what = "is a mean of" if averaged else "learns from"
            option = "--average" if averaged else "--teacher"
            raise BlastscopeError(
                f"{recipe.name} {what} finished runs, which build does not have: train them "
                f"first, then use crossval {option} and train {option}."
            )


def _train(
    recipes: tuple[Recipe, ...],
    store: Path,
    cut: SplitResult,
    place: Path,
    weights_dir: Path | None,
    **common: Any,
) -> TrainingResult:
    """Train a recipe on all cells, after those that it starts from; return its own run."""
    outs = [place / "starts" / one.name.rpartition("/")[2] for one in recipes[:-1]]
    start: Path | None = None
    for recipe, out in zip(recipes, [*outs, place / "run"], strict=True):
        weights = weights_dir if recipe.begins_with_weights else None
        trained = train(recipe, store, cut, out=out, weights_dir=weights, start=start, **common)
        start = out
    assert isinstance(trained, TrainingResult)  # of one seed
    return trained


def plan_build(cells: pl.DataFrame) -> BuildPlan:
    """Plan from the folds that a cell table names."""
    labelled = cells.filter(pl.col("label").is_not_null())
    there = set(labelled["fold"].drop_nulls())
    folds = tuple(name for name in FOLDS if name in there)
    return BuildPlan(PRELIMINARY in there and bool(folds), folds)
