"""Search for settings of a recipe, by their score on subjects that a network does not know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from blastscope.api.recipes import AnyRecipe, Recipe, Settings, load_recipe
from blastscope.api.result import AnyPath, FolderResult, TextTable, as_path, notice
from blastscope.api.track import refuse_tracking, track_folder
from blastscope.api.train import evaluate_run
from blastscope.cluster import LOCAL, RAY, check_engine
from blastscope.errors import BlastscopeError, require_training
from blastscope.experiments.runner import Failure
from blastscope.recipes.library import refuse_unread_weights
from blastscope.report.text import number
from blastscope.report.tuning_page import (
    OUTCOME,
    answer_text,
    folds_text,
    judged_text,
    leak_text,
    looks_text,
    score_name,
    value_text,
    write_tuning,
)
from blastscope.tuning.outcome import RUNNING, SearchOutcome, read_outcome
from blastscope.tuning.search_folder import Search, SearchRequest, begin_search
from blastscope.tuning.space import parse_space, read_space
from blastscope.tuning.study import (
    hand_made_score,
    keep_weights,
    open_study,
    require_optuna,
    run_search,
    run_search_on_ray,
)
from blastscope.tuning.trial import TrialScore

if TYPE_CHECKING:
    import optuna

    from blastscope.training.trainer import TrainingWatch


@dataclass(frozen=True, eq=False, repr=False)
class TuningResult(FolderResult):
    """A search: its trials, its winner, and how unseen subjects judge it.

    Attributes:
        found: scores of trials and of the hand-made recipe, looks, importance, judgement.
        base: the hand-made values of the searched keys.
        winner: the recipe file of the best trial; None if none was finished.
    """

    found: SearchOutcome
    base: Mapping[str, Any]
    winner: Path | None

    @property
    def synthetic(self) -> bool:
        """Whether the cells are synthetic."""
        return self.found.synthetic

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each trial."""
        rows = [
            {
                "trial": one.number, "state": one.state, "score": one.score, "last": one.last,
                "steps": one.steps, "seconds": one.seconds, "reason": one.reason or None,
                **{key: value_text(one.settings.get(key)) for key in self.base},
            }
            for one in self.found.trials
        ]  # fmt: skip
        return pl.DataFrame(rows, infer_schema_length=None)

    def as_json(self) -> dict[str, Any]:
        """The content of ``outcome.json``, and where the winner is."""
        return {**self.found.as_json(), "winner_recipe": self.winner and str(self.winner)}

    def tables(self) -> list[TextTable]:
        """Return the searched settings: hand-made and of the winner."""
        best = self.found.best
        if best is None:
            return []
        rows = [
            (key, value_text(value), value_text(best.settings.get(key)))
            for key, value in self.base.items()
        ]
        scores = (score_name(self.found), number(self.found.hand_made), number(best.score))
        return [TextTable.of(("setting", "hand-made", "winner"), [*rows, scores])]

    def answers(self) -> list[str]:
        """Say what the winner reaches, and what selection cost."""
        return [answer_text(self.found), *judged_text(self.found)]

    def notes(self) -> list[str]:
        """Say how many looks there were, and where the winner's recipe is."""
        told = [looks_text(self.found), *folds_text(self.found)]
        told += [leak_text(self.found)] * self.found.leaks
        if self.winner is not None:
            told.append(f"The winner's recipe: {self.winner}")
        return told


def tune(
    recipe: AnyRecipe,
    store: AnyPath,
    split: AnyPath,
    space: AnyPath | Mapping[str, Any],
    *,
    out: AnyPath,
    trials: int = 40,
    objective: str | None = None,
    folds: int = 0,
    prune: str = "median",
    seed: int = 24,
    judge: bool = False,
    storage: str | None = None,
    image_level: bool = False,
    settings: Settings = (),
    device: str = "auto",
    weights_dir: AnyPath | None = None,
    track: str | None = None,
    engine: str = LOCAL,
    progress: bool = False,
) -> TuningResult:
    """Search for settings of a recipe by their score on validation subjects.

    Each trial is a training with other settings, drawn by Optuna's TPE. It is scored on the
    validation part, or by cross-validation; cells of the test part take no part. If the search is
    interrupted, the same call goes on where it stopped; several processes may make the same call at
    the same time and share the trials.

    Args:
        recipe, store, split, settings, device, weights_dir: as :func:`blastscope.train` takes them.
        space: a YAML file, a packaged space's name (``spaces/frozen-head``), or the content of one:
            keys of the recipe, and the values that each may take (docs/tuning.md).
        out: the folder to write to.
        trials: how many trials the study has in the end; a later call may ask for more.
        objective: ``equal-size-auc`` (the default where the store knows the size of every cell),
            ``auc``, ``weighted-f1`` or ``balanced-accuracy``.
        folds: cross-validate each trial over so many folds of the subjects that are not for
            testing, or fewer if a class has fewer subjects, which the result says; 0 to train once
            and score the validation part.
        prune: stop a trial early if others were ahead at that epoch or fold: ``median``,
            ``hyperband`` or ``none``.
        seed: of the draws; trainings have the recipe's own.
        judge: in the end, compare the winner with the hand-made recipe on the test part. This can
            be done once: the search is over then.
        storage: the URL of a database that Optuna can use; without it an SQLite file in ``out``.
        image_level: search although subjects are in several parts of the split; folds of such a
            split are by image.
        track: as :func:`blastscope.train` takes it.
        engine: ``local``, or ``ray``: each trial is a task of a Ray cluster (docs/scale.md).
        progress: show trials and epochs on standard error.

    Returns:
        The trials, the winner and its recipe, and the judgement.

    Raises:
        BlastscopeError: if space, recipe, store and split do not fit each other, the split is at
            image level, every trial failed, the search was judged before, or the folder is
            another's.
    """
    require_training("`blastscope tune`")
    require_optuna()
    check_engine(engine)
    refuse_tracking(track)
    by_hand = load_recipe(recipe, settings)
    in_memory = isinstance(space, Mapping)
    ranges = parse_space(space) if isinstance(space, Mapping) else read_space(str(space))
    if "model.weights" not in ranges.ranges:
        refuse_unread_weights([by_hand], weights_dir)
    request = SearchRequest(
        recipe=by_hand,
        space=ranges,
        trials=trials,
        store=Path(store),
        split=Path(split),
        out=Path(out),
        objective=objective,
        folds=folds,
        prune=prune,
        seed=seed,
        storage=storage,
        image_level=image_level,
        device=device,
        weights_dir=as_path(weights_dir),
        space_label="The space" if in_memory else str(space),
    )
    search = begin_search(request)
    _refuse_after_judgement(search, judge)
    with open_study(search) as study:
        keep_weights(search, study)
        _run(search, study, engine, progress)
        with search.alone():
            result = _report(search, study, judge, progress)
            track_folder(track, search.request.out, progress)
            return result


def _refuse_after_judgement(search: Search, judge: bool) -> None:
    from blastscope.tuning.winner import refuse_without_test

    if judge:
        refuse_without_test(search)
    judged = search.judgement()
    if judged is not None and search.request.trials > int(judged["looks"]):
        raise BlastscopeError(
            f"{search.request.out} was judged on the test part after {judged['looks']} trials, so "
            "a further search would choose by it: split anew, and choose another folder."
        )


def _run(search: Search, study: optuna.Study, engine: str, progress: bool) -> None:
    """Run what is left, and show it."""
    from blastscope.training.display import TrainingDisplay

    shown: list[TrainingDisplay] = []

    def close() -> None:
        while shown:
            shown.pop().__exit__(None, None, None)

    def watch(name: str) -> TrainingWatch:
        close()
        shown.append(TrainingDisplay(name).__enter__())
        return replace(shown[-1].watch(), on_epoch=None)

    def told(name: str, outcome: TrialScore | Failure, best: float) -> None:
        close()
        notice(f"{name}: {_outcome_text(search, outcome, best)}")

    already = len(study.get_trials(deepcopy=False))
    if progress and already and hand_made_score(study) is not None:
        notice(f"{already} of {search.request.trials} trials are begun or done already.")
    if engine == RAY:
        run_search_on_ray(search, study, on_done=told if progress else None)
        return
    try:
        run_search(
            search, study, watch=watch if progress else None, on_done=told if progress else None
        )
    finally:
        close()


def _outcome_text(search: Search, outcome: TrialScore | Failure, best: float) -> str:
    if not isinstance(outcome, TrialScore):
        return f"failed: {outcome}"
    what = "pruned" if outcome.pruned else f"{search.scored.objective} {number(outcome.score)}"
    steps = f"{outcome.steps} {'folds' if search.request.folds else 'epochs'}"
    return f"{what} ({steps}, {outcome.seconds:.0f} s); best {number(best)}"


def _report(search: Search, study: optuna.Study, judge: bool, progress: bool) -> TuningResult:
    """Write the winner and the page; judge the winner if that is wanted and not done."""
    from blastscope.tuning.winner import BASE, WINNER, write_winner

    out, base = search.request.out, _base_values(search)
    found = read_outcome(search, study)
    search.record()  # without digests, so that a kill from here on leaves none that are stale
    running = found.count(RUNNING)
    if found.best is None and not running:
        write_tuning(found, out, base)
        first = next((one.reason for one in found.trials if one.reason), "every trial was pruned")
        raise BlastscopeError(
            f"None of {found.looks} trials was finished (the first: {first.rstrip('.')}): change "
            "the space, and choose another folder."
        )
    recipe = write_winner(search, found)
    if judge and recipe is not None and found.judged is None:
        if running or found.looks < search.request.trials:
            notice("Other processes still run trials: give the same command again to judge.")
        else:
            found = _judged(search, found, recipe, progress)
    write_tuning(found, out, base)
    results = (OUTCOME, WINNER, BASE)
    search.record([name for name in results if (out / name).is_file()])
    return TuningResult(found, base, None if recipe is None else out / WINNER, path=out)


def _judged(search: Search, found: SearchOutcome, winner: Recipe, progress: bool) -> SearchOutcome:
    """Judge the winner, and evaluate both runs into their own folders."""
    from blastscope.training.train import Trained
    from blastscope.tuning.winner import judge

    if progress:
        notice("Judging the winner and the hand-made recipe on the test part.")
    judged = judge(search, found, winner)
    for name in ("winner", "hand-made"):
        run = Trained(search.request.out / "judged" / name, already=True)
        evaluate_run(run, search.request.store)
    return replace(found, judged=judged)


def _base_values(search: Search) -> dict[str, Any]:
    """Return the hand-made values of the searched keys; None for what the recipe leaves out."""
    content = search.request.recipe.model_dump(mode="json", by_alias=True)
    return {key: _at(content, key) for key in sorted(search.request.space.ranges)}


def _at(content: Any, key: str) -> Any:
    for part in key.split("."):
        content = content.get(part) if isinstance(content, dict) else None
    return content
