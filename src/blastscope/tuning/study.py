"""The study of a search in Optuna: trials are claimed one at a time, run, and told.

The values of a trial follow from the seed, its number and the trials that are finished (a sampler
for each trial and key), so that a search that is killed and goes on is the search that was not.
A trial that a killed process left is taken up again by the next: a lock on a file beside its
folder, which ends with the process, says whether somebody is at it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from blastscope.cluster import on_ray
from blastscope.errors import BlastscopeError
from blastscope.experiments.runner import Failure
from blastscope.experiments.weights_at_hand import weights_at_hand
from blastscope.io.files import remove_folder, sqlite_url
from blastscope.training.trainer import TrainingWatch
from blastscope.tuning.search_folder import Search, unusable_database
from blastscope.tuning.space import check_space, with_settings
from blastscope.tuning.trial import TrialScore, run_trial

if TYPE_CHECKING:
    import optuna

DATABASE = "study.db"
_BUSY_SECONDS = 120
_STARTUP_TRIALS = 10
"""Trials that are drawn at random before TPE has something to go by; Optuna's default."""
_HAND_MADE, _HOME, _REASON, _SECONDS = "hand_made", "folder", "reason", "seconds"
_WEIGHTS = "initial_weights"


def require_optuna() -> None:
    """Refuse a search if Optuna is not installed.

    Raises:
        BlastscopeError: if the extra ``tune`` is missing.
    """
    try:
        import optuna  # noqa: F401
        import sqlalchemy  # noqa: F401
    except ImportError as error:
        raise BlastscopeError(
            "`blastscope tune` needs Optuna: install it with pip install 'blastscope[tune]'."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna below errors, and leave its settings as they were."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


@contextmanager
def open_study(search: Search) -> Iterator[optuna.Study]:
    """Open the study of a search, which is made if it is not there.

    Raises:
        BlastscopeError: if the database cannot be opened.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    url = search.request.storage or sqlite_url(search.request.out / DATABASE)
    lite = url.startswith("sqlite")
    engine: dict[str, Any] = {"connect_args": {"timeout": _BUSY_SECONDS}} if lite else {}
    with _quiet():
        try:
            with search.alone():  # two processes that make the tables at once would clash
                # Optuna takes the URL for a template, in which braces have a meaning.
                template = url.replace("{", "{{").replace("}", "}}")
                storage = optuna.storages.RDBStorage(template, engine_kwargs=engine)
                study = optuna.create_study(
                    storage=storage,
                    study_name=study_name(search.folder.identity),
                    direction="maximize",
                    sampler=_sampler(search.request.seed),
                    pruner=_pruner(search),
                    load_if_exists=True,
                )
        except (SQLAlchemyError, ImportError, RuntimeError, optuna.exceptions.OptunaError) as error:
            raise _unusable(search, error) from error
        try:
            yield study
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            raise _unusable(search, error) from error
        finally:
            storage.remove_session()
            storage.engine.dispose()


def _unusable(search: Search, error: Exception) -> BlastscopeError:
    where = search.folder.identity.get("storage", search.request.out / DATABASE)
    return unusable_database(where, error)


def study_name(identity: Any) -> str:
    """Return the name of a search's study: several searches may share a database."""
    told = json.dumps({k: v for k, v in identity.items() if k != "storage"}, sort_keys=True)
    return f"blastscope-{hashlib.sha256(told.encode()).hexdigest()[:16]}"


def _sampler(seed: int) -> optuna.samplers.BaseSampler:
    """Return a sampler whose draws depend on the seed, the trial's number and the key alone."""
    from optuna.samplers import BaseSampler, TPESampler

    class EachItsOwn(BaseSampler):
        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return {}

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
            return {}

        def sample_independent(
            self,
            study: optuna.Study,
            trial: optuna.trial.FrozenTrial,
            param_name: str,
            param_distribution: optuna.distributions.BaseDistribution,
        ) -> Any:
            drawn = hashlib.sha256(f"{seed} {trial.number} {param_name}".encode()).digest()
            sampler = TPESampler(
                seed=int.from_bytes(drawn[:4], "big"),
                n_startup_trials=_STARTUP_TRIALS,
                multivariate=False,
            )
            return sampler.sample_independent(study, trial, param_name, param_distribution)

    return EachItsOwn()


def _pruner(search: Search) -> optuna.pruners.BasePruner:
    """Return the pruner: of epochs, or of folds."""
    import optuna

    request = search.request
    epochs = search.cut.folds if search.cut else request.recipe.training.epochs
    if request.prune == "none":
        return optuna.pruners.NopPruner()
    if request.prune == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=epochs)
    return optuna.pruners.MedianPruner(
        n_startup_trials=5, n_warmup_steps=0 if request.folds else epochs // 10
    )


@dataclass(frozen=True)
class ClaimedTrial:
    """A trial that this process runs.

    Attributes:
        settings: its values, by the keys of the space.
        known: the steps whose score the study has from a process that was killed.
    """

    trial: optuna.Trial
    settings: dict[str, Any]
    known: frozenset[int]
    folder: Path
    lock: FileLock

    @property
    def number(self) -> int:
        """Its number, from 1, as a reader counts."""
        return self.trial.number + 1


def keep_weights(search: Search, study: optuna.Study) -> None:
    """Record in the study the pretrained weights at hand, or refuse others than are recorded.

    Raises:
        BlastscopeError: if earlier trials, or those of another process, began with other ones.
    """
    request = search.request
    corners = check_space(request.space, request.recipe, request.space_label)
    found = weights_at_hand([request.recipe, *corners], request.weights_dir)
    with search.alone():
        known = dict(study.user_attrs.get(_WEIGHTS, {}))
        for name, (digest, path) in found.items():
            if known.setdefault(name, digest) != digest:
                raise BlastscopeError(
                    f"Trials of {request.out} began with other pretrained weights than {path}: "
                    "give their --weights-dir, or choose another folder."
                )
        if known:
            study.set_user_attr(_WEIGHTS, known)


def run_search(
    search: Search,
    study: optuna.Study,
    *,
    watch: Callable[[str], TrainingWatch] | None = None,
    on_done: Callable[[str, TrialScore | Failure, float], None] | None = None,
) -> None:
    """Run the hand-made recipe, then trials until the study has as many as were asked for.

    Args:
        watch: gives what is shown of a training, by its name.
        on_done: called with the name of a training, its outcome, and the best score by then.

    Raises:
        BlastscopeError: if the hand-made recipe cannot be trained.
    """
    _run_hand_made(search, study, watch, on_done, wait=False)
    while (done := _run_next(search, study, watch)) is not None:
        if on_done:
            on_done(*done)
    _run_hand_made(search, study, watch, on_done, wait=True)


def run_search_on_ray(
    search: Search,
    study: optuna.Study,
    *,
    on_done: Callable[[str, TrialScore | Failure, float], None] | None = None,
) -> None:
    """Run the trials that are left as tasks of a Ray cluster, whose machines share the folder.

    The trial of a process that dies is taken up by the task that is begun in its place.

    Args:
        on_done: as :func:`run_search` takes it.

    Raises:
        BlastscopeError: if the hand-made recipe cannot be trained, or the cluster cannot be used.
    """
    ended = sum(one.state.is_finished() for one in study.get_trials(deepcopy=False))
    left = max(0, search.request.trials - ended)
    if left:  # no cluster is begun for a search that is finished
        work = partial(_trial_of_task, search)
        for _, done in on_ray(work, range(left), left, search.request.device):
            for one in done:
                if on_done:
                    on_done(*one)
    run_search(search, study, on_done=on_done)  # what no task did: the hand-made recipe, perhaps


def _trial_of_task(search: Search, _: int) -> list[tuple[str, TrialScore | Failure, float]]:
    """Run one trial in a process of a cluster, and the hand-made recipe if nobody did."""
    done: list[tuple[str, TrialScore | Failure, float]] = []
    with open_study(search) as study:
        _run_hand_made(search, study, None, lambda *told: done.append(told), wait=False)
        if (trial := _run_next(search, study, None)) is not None:
            done.append(trial)
    return done


def _run_next(
    search: Search, study: optuna.Study, watch: Callable[[str], TrainingWatch] | None
) -> tuple[str, TrialScore | Failure, float] | None:
    """Run one trial; return its name, its outcome and the best score, None if there are enough."""
    if (claimed := _claim(search, study)) is None:
        return None
    try:
        outcome = _run_claimed(search, study, claimed, watch)
    finally:
        _release(claimed.lock)
    return f"trial {claimed.number} of {search.request.trials}", outcome, best_score(study)


def best_score(study: optuna.Study) -> float:
    """Return the best score of a finished trial; NaN if there is none."""
    from optuna.trial import TrialState

    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return max((one.value for one in done if one.value is not None), default=float("nan"))


def hand_made_score(study: optuna.Study) -> TrialScore | None:
    """Return how the hand-made recipe did; None if it is not known yet."""
    found = study.user_attrs.get(_HAND_MADE)
    return None if found is None else TrialScore(**found)


def reason_of(trial: optuna.trial.FrozenTrial) -> str:
    """Return why a trial failed."""
    return str(trial.user_attrs.get(_REASON, ""))


def seconds_of(trial: optuna.trial.FrozenTrial) -> float | None:
    """Return how long a trial took, in the process that ended it."""
    found = trial.user_attrs.get(_SECONDS)
    return None if found is None else float(found)


def _run_hand_made(
    search: Search,
    study: optuna.Study,
    watch: Callable[[str], TrainingWatch] | None,
    on_done: Callable[[str, TrialScore | Failure, float], None] | None,
    wait: bool,
) -> None:
    """Score the hand-made recipe, unless that is done or, without ``wait``, another is at it."""
    if hand_made_score(study) is not None:
        return
    folder = search.request.out / "trials" / "hand-made"
    lock = _lock(folder)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        return
    name = search.request.recipe.name
    try:
        if hand_made_score(study) is not None:
            return
        shown = watch(name) if watch else None
        done = run_trial(search, search.request.recipe, folder, watch=shown)
        study.set_user_attr(_HAND_MADE, asdict(done))
    finally:
        _release(lock)
    if on_done:
        on_done(name, done, best_score(study))


def _claim(search: Search, study: optuna.Study) -> ClaimedTrial | None:
    """Take up a trial that a killed process left, or a new one; None if there are enough."""
    import optuna
    from optuna.trial import TrialState

    home = str(search.request.out.resolve())
    with search.alone():
        trials = study.get_trials(deepcopy=False)
        for frozen in trials:
            ours = frozen.user_attrs.get(_HOME) == home
            if frozen.state == TrialState.RUNNING and ours:
                lock = _lock(_folder(search, frozen.number))
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    continue
                if _state(study, frozen.number) != TrialState.RUNNING:  # it ended a moment ago
                    _release(lock)
                    continue
                trial = optuna.trial.Trial(study, frozen._trial_id)
                known = frozenset(frozen.intermediate_values)
                return _claimed(search, trial, known, lock)
        waiting = any(frozen.state == TrialState.WAITING for frozen in trials)
        if not waiting:
            if len(trials) >= search.request.trials:
                return None
            # So that a trial names its folder from the moment it is there.
            study.enqueue_trial({}, user_attrs={_HOME: home})
        trial = study.ask()
        if trial.user_attrs.get(_HOME) != home:
            trial.set_user_attr(_HOME, home)
        lock = _lock(_folder(search, trial.number))
        lock.acquire()
        return _claimed(search, trial, frozenset(), lock)


def _claimed(
    search: Search, trial: optuna.Trial, known: frozenset[int], lock: FileLock
) -> ClaimedTrial:
    settings = search.request.space.suggest(trial)
    return ClaimedTrial(trial, settings, known, _folder(search, trial.number), lock)


def _state(study: optuna.Study, number: int) -> optuna.trial.TrialState:
    return study.get_trials(deepcopy=False)[number].state


def _folder(search: Search, number: int) -> Path:
    return search.request.out / "trials" / f"{number + 1:05d}"


def _lock(folder: Path) -> FileLock:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(folder.with_name(f".{folder.name}.running"))


def _release(lock: FileLock) -> None:
    lock.release()
    with suppress(OSError):
        Path(lock.lock_file).unlink()


def _told(error: Exception) -> str:
    if isinstance(error, BlastscopeError):
        return str(error)
    reason = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {reason}".rstrip(": ")


def _run_claimed(
    search: Search,
    study: optuna.Study,
    claimed: ClaimedTrial,
    watch: Callable[[str], TrainingWatch] | None,
) -> TrialScore | Failure:
    """Run a trial and tell the study; what goes wrong is its failure and not the search's."""
    from optuna.trial import TrialState

    trial = claimed.trial

    def report(step: int, score: float) -> bool:
        if step not in claimed.known:
            trial.report(score, step)
        return trial.should_prune()

    shown = watch(f"trial {claimed.number}") if watch else None
    outcome: TrialScore | Failure
    try:
        recipe = with_settings(search.request.recipe, claimed.settings)
        outcome = run_trial(search, recipe, claimed.folder, report, shown)
    except Exception as error:  # a diverged loss, a full GPU, a defect: the others go on
        if isinstance(error, OSError) or isinstance(error.__cause__, OSError):
            raise  # a full disk is not the trial's doing: the same command takes it up again
        outcome = Failure(_told(error))
    if isinstance(outcome, Failure):
        trial.set_user_attr(_REASON, outcome.reason)
        remove_folder(claimed.folder)
        study.tell(trial, state=TrialState.FAIL)
        return outcome
    trial.set_user_attr(_SECONDS, round(outcome.seconds, 3))
    if outcome.pruned:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, outcome.score)
    return outcome
