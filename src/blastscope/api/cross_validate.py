"""Cross-validate a recipe, and measure what an image-level split hides (leakage)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.api.evaluate import EvaluationResult, evaluate
from blastscope.api.recipes import AnyRecipe, Recipe, Settings, with_starts
from blastscope.api.result import AnyPath, FolderResult, TextTable, as_path, notice, synthetic_of
from blastscope.api.track import refuse_tracking, track_folder
from blastscope.cluster import LOCAL, check_engine
from blastscope.evaluation.leakage import Leakage, compare_out_of_fold
from blastscope.experiments.crossval import gather, lay_out, train_folds
from blastscope.experiments.crossval_folder import CrossvalRequest
from blastscope.experiments.crossval_metrics import CrossvalMetrics, crossval_metrics, record
from blastscope.experiments.progress import JobsProgress
from blastscope.io.workfolder import refuse_foreign
from blastscope.recipes.library import refuse_unread_weights
from blastscope.report.crossval_page import CONTENT as LEAKAGE
from blastscope.report.crossval_page import cut_text, folds_table, write_leakage
from blastscope.report.evaluation_text import leakage_text, sampling_text
from blastscope.report.text import HEADLINE, metric, spread


@dataclass(frozen=True, eq=False, repr=False)
class CrossvalResult(FolderResult):
    """A cross-validation: every cell predicted by a network that was not trained on it.

    Attributes:
        metrics: of every fold and repeat.
        evaluation: of all cells of the first repeat.
    """

    recipe: str
    metrics: CrossvalMetrics
    evaluation: EvaluationResult
    synthetic = synthetic_of("evaluation")

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each repeat, fold and metric."""
        rows = [
            (fold.repeat, fold.fold, name, value)
            for fold in self.metrics.folds
            for name, value in fold.metrics.items()
        ]
        schema = {"repeat": pl.Int64, "fold": pl.Int64, "metric": pl.String, "value": pl.Float64}
        return pl.DataFrame(rows, schema=schema, orient="row", strict=False)

    def as_json(self) -> dict[str, Any]:
        """Return the metrics of every fold, and those of all cells."""
        return {"recipe": self.recipe, **self.metrics.as_json()}

    def tables(self) -> list[TextTable]:
        """Return the metrics of every fold."""
        shown = folds_table(self.metrics)
        return [TextTable.of(shown.head, shown.folds)]

    def answers(self) -> list[str]:
        """Say what the folds reach on average."""
        return [f"{self.recipe}: {folds_table(self.metrics).headline}"]

    def notes(self) -> list[str]:
        """Say how the folds were cut."""
        return list(cut_text(self.metrics.cut))


def cross_validate(
    recipe: AnyRecipe,
    store: AnyPath,
    *,
    out: AnyPath,
    folds: int = 5,
    by: str = "subject",
    repeats: int = 1,
    seed: int = 24,
    without: Sequence[str] = (),
    jobs: int = 1,
    settings: Settings = (),
    device: str = "auto",
    weights_dir: AnyPath | None = None,
    teachers: Sequence[AnyPath] = (),
    average: Sequence[AnyPath] = (),
    track: str | None = None,
    engine: str = LOCAL,
    progress: bool = False,
) -> CrossvalResult:
    """Cross-validate a recipe: test it on subjects that it was not trained on, each once.

    If it is interrupted, the same call goes on where it stopped.

    Args:
        recipe, store: as :func:`blastscope.train` takes them.
        out: the folder to write to.
        folds: how many folds.
        by: what is kept together: ``subject``; ``image``, by cell, as the paper; ``fold``, the data
            set's own folds; ``matched``, by cell but with the sizes of ``subject``.
        repeats: how many times to cut and train anew, each with its seed.
        seed: of the first cut and training. If ``training.seed`` was changed, by ``settings`` or
            when the recipe was loaded, that is the seed of the first training, and ``seed`` only
            cuts.
        without: names of the data set's own folds whose cells take no part, ``preliminary`` for
            instance.
        jobs: how many folds to train at a time, each with its share of the cores.
        settings, device, weights_dir: as :func:`blastscope.train` takes them.
        teachers: for a recipe with ``training.distillation``: cross-validations of the same folds;
            each fold's networks teach that fold's network.
        average: for a recipe with ``model.weights: averaged``: cross-validations of the same folds;
            each fold's network is the mean of the weights of theirs.
        track: as :func:`blastscope.train` takes it.
        engine: ``local``, or ``ray``: each fold is a task of a Ray cluster (docs/scale.md).
        progress: show folds and epochs on standard error.

    Returns:
        The metrics of every fold, and the evaluation of all cells.

    Raises:
        BlastscopeError: if the cells cannot be cut so, a fold fails, or the folder is another's.
    """
    refuse_tracking(track)
    check_engine(engine, jobs)
    recipes = tuple(
        one if _has_own_seed(one) else one.with_seed(seed) for one in with_starts(recipe, settings)
    )
    refuse_unread_weights(recipes, weights_dir)
    request = CrossvalRequest(
        recipes, Path(store), Path(out), by, folds, repeats, seed, device,
        as_path(weights_dir), tuple(map(Path, teachers)), tuple(without),
        tuple(map(Path, average)),
    )  # fmt: skip
    started = lay_out(request)
    already = len(started.folds) - len(started.left)
    with JobsProgress(started.left, notice, already=already, show=progress) as shown:
        train_folds(started, jobs, shown.watch, shown.tell, engine)
    table = gather(started)
    found = crossval_metrics(started, table)
    record(request, started.store.fingerprint, found)
    model = str(table["model"][0])
    evaluation = evaluate(request.out, model=model, out=request.out, store=request.store)
    track_folder(track, request.out, progress)
    return CrossvalResult(request.name, found, evaluation, path=request.out)


def _has_own_seed(recipe: Recipe) -> bool:
    """Whether a setting that was changed gives a recipe its seed."""
    changed = {text.partition("=")[0].strip() for text in recipe.overrides}
    return bool(changed & {"training", "training.seed"})


@dataclass(frozen=True, eq=False, repr=False)
class LeakageResult(FolderResult):
    """What an image-level split hides: the same recipe with the subjects known and unseen.

    Attributes:
        found: the metrics on both sides, and their difference.
        repeats: how many times both were trained.
    """

    recipe: str
    found: Leakage
    repeats: int
    synthetic = synthetic_of("found")

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each metric: with the subjects known, unseen, and the difference."""
        rows = [
            {
                "metric": name,
                "known": gain.known.value,
                "unseen": gain.unseen.value,
                "difference": gain.difference.value,
                "low": gain.difference.low,
                "high": gain.difference.high,
            }
            for name, gain in self.found.gains.items()
        ]
        return pl.DataFrame(rows).fill_nan(None)

    def as_json(self) -> dict[str, Any]:
        """The content of ``leakage.json``."""
        return {"recipe": self.recipe, **self.found.as_json()}

    def tables(self) -> list[TextTable]:
        """Return the headline metrics with their intervals."""
        rows = []
        for key, name in HEADLINE.items():
            gain = self.found.gains[key]
            difference = metric(gain.difference, 4, sign=True)
            rows.append((name, metric(gain.known, 4), metric(gain.unseen, 4), difference))
        columns = ("metric", "subjects also in training", "unseen subjects", "difference")
        return [TextTable.of(columns, rows)]

    def answers(self) -> list[str]:
        """Say what knowing the subjects is worth."""
        said = [leakage_text(self.found)]
        if self.repeats > 1:
            moved = (
                f"{name} {spread(self.found.gains[key].spread, sign=True)}"
                for key, name in HEADLINE.items()
            )
            said.append(
                f"Difference over {self.repeats} repeats ± standard deviation: {', '.join(moved)}"
            )
        return said

    def notes(self) -> list[str]:
        """Say what the intervals are of."""
        return [f"Intervals: {sampling_text(self.found.sampling)}"]


def measure_leakage(
    recipe: AnyRecipe,
    store: AnyPath,
    *,
    out: AnyPath,
    folds: int = 5,
    repeats: int = 1,
    seed: int = 24,
    jobs: int = 1,
    settings: Settings = (),
    device: str = "auto",
    weights_dir: AnyPath | None = None,
    progress: bool = False,
) -> LeakageResult:
    """Measure what an image-level split hides: cross-validate by subject and by cell alike.

    If it is interrupted, the same call goes on where it stopped.

    Args:
        recipe, store: as :func:`cross_validate` takes them.
        out: the folder to write to; the cross-validations lie in ``subject`` and ``matched``.
        folds, repeats, seed, jobs, settings, device, weights_dir, progress: as
            :func:`cross_validate` takes them.

    Returns:
        The metrics with the subjects known and unseen, and their difference.

    Raises:
        BlastscopeError: as :func:`cross_validate`; before anything is trained if ``out`` is another
            kind of folder.
    """
    place = Path(out)
    refuse_foreign(place, LEAKAGE, ["report.html"])
    unseen, known = (
        cross_validate(
            recipe, store, out=place / by, by=by, folds=folds, repeats=repeats, seed=seed,
            jobs=jobs, settings=settings, device=device, weights_dir=weights_dir,
            progress=progress,
        )
        for by in ("subject", "matched")
    )  # fmt: skip
    tables = (Path(known) / "predictions.parquet", Path(unseen) / "predictions.parquet")
    found = compare_out_of_fold(*tables)
    write_leakage(found, unseen.recipe, place)
    for one in (unseen, known):  # both reports show it from now on
        evaluate(Path(one), model=one.evaluation.model, out=one, store=store, leakage=place)
    return LeakageResult(unseen.recipe, found, repeats, path=place)
