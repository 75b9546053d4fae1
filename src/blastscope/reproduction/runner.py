"""Run a plan: the experiments of a study that are not done yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from blastscope.cluster import LOCAL
from blastscope.errors import BlastscopeError
from blastscope.experiments.runner import Failure, Outcomes, run_jobs
from blastscope.experiments.weights_at_hand import refuse_weights_at_hand
from blastscope.recipes.library import read_recipe
from blastscope.recipes.schema import Recipe
from blastscope.reproduction.identity import started_elsewhere
from blastscope.reproduction.outcomes import is_done
from blastscope.reproduction.plan import StudyJob, StudyPlan
from blastscope.training.run_folder import RunFolder

if TYPE_CHECKING:
    from blastscope.training.train import Trained
    from blastscope.training.trainer import TrainingWatch


@dataclass(frozen=True)
class StudyLocation:
    """Where and on what a study runs."""

    out: Path
    device: str = "auto"
    weights_dir: Path | None = None


def run_job(
    job: StudyJob,
    watch: TrainingWatch | None = None,
    *,
    location: StudyLocation,
    evaluate: Callable[[Trained, Path], str],
) -> str:
    """Train and evaluate one experiment, unless it is done; return its metrics in a line."""
    from blastscope.training.train import train

    out = location.out
    if started_elsewhere(job, out):
        raise BlastscopeError(
            f"{job.run(out)} started from another training of {job.recipe.starts_from} than the "
            "one there is now: remove it, and give the same command again."
        )
    made = train(
        job.recipe,
        job.store(out),
        job.split(out),
        job.run(out),
        device=location.device,
        weights_dir=location.weights_dir,
        start=job.beginning(out),
        watch=watch,
    )
    return evaluate(made, job.store(out))


def _runs(out: Path) -> Iterator[tuple[Recipe, Path]]:
    """Yield every run of a study with its recipe, also those that are not planned now."""
    for environment in sorted((out / "runs").glob("*/**/environment.json")):
        run = environment.parent
        try:
            recipe = read_recipe(RunFolder(run).recipe)
        except BlastscopeError:  # damaged: its training, or the report, says so
            continue
        yield recipe, run


def run_plan(
    plan: StudyPlan,
    location: StudyLocation,
    evaluate: Callable[[Trained, Path], str],
    processes: int = 1,
    watch: Callable[[StudyJob], TrainingWatch] | None = None,
    on_done: Callable[[StudyJob, str | Failure, float], None] | None = None,
    outcomes: Outcomes[str] | None = None,
    engine: str = LOCAL,
) -> Outcomes[str]:
    """Run every experiment of a plan that is not done, each after the one that it starts from.

    ``evaluate`` evaluates a run with its store and returns the metrics in a line; it is a function
    of a module. ``processes``, ``watch``, ``on_done``, ``outcomes`` and ``engine``: as
    :func:`blastscope.experiments.runner.run_jobs` takes them.

    Raises:
        BlastscopeError: if runs of the study began with other pretrained weights than those at
            hand; nothing is trained.
    """
    todo = [job for job in plan.jobs if not is_done(job, location.out)]
    waiting = [job.recipe for job in todo if not RunFolder(job.run(location.out)).begun]
    refuse_weights_at_hand(_runs(location.out), waiting, location.weights_dir)
    work = partial(run_job, location=location, evaluate=evaluate)
    return run_jobs(
        todo, work, processes, watch=watch, on_done=on_done, outcomes=outcomes, engine=engine,
        device=location.device,
    )  # fmt: skip
