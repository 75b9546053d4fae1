"""Running a plan: what is not yet done, one after the other or several at a time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path

from blastscope.errors import BlastscopeError
from blastscope.parallel import Crew, Lost, cores
from blastscope.reproduction.identity import started_elsewhere
from blastscope.reproduction.outcomes import is_done
from blastscope.reproduction.plan import Job, StudyPlan
from blastscope.training.trainer import TrainingWatch

Key = tuple[str, str, int]


@dataclass(frozen=True)
class StudyLocation:
    """Where and on what a study runs."""

    out: Path
    device: str = "auto"
    weights_dir: Path | None = None


@dataclass
class Done:
    """How a plan went, or how far it has come: the figures or the failure of each job."""

    headlines: dict[Key, str] = field(default_factory=dict)
    failed: dict[Key, str] = field(default_factory=dict)

    def note(self, job: Job, attempt: Attempt) -> str:
        """Note how a job went; return it in a line."""
        (self.headlines if attempt.well else self.failed)[job.key] = attempt.line
        return attempt.line


@dataclass(frozen=True)
class Attempt:
    """How a job went: its figures in a line, or why it failed."""

    well: bool
    line: str


def run_job(job: Job, place: StudyLocation, watch: TrainingWatch | None = None) -> str:
    """Train and evaluate one job, or what of it is not done; return its figures in a line.

    Raises:
        BlastscopeError: where it cannot be trained or evaluated.
    """
    from blastscope.api.evaluate import evaluate
    from blastscope.training.train import train

    out = place.out
    if started_elsewhere(job, out):
        raise BlastscopeError(
            f"{job.run(out)} started from another training of {job.recipe.starts_from} than the "
            "one there is now: remove it, and it is trained again."
        )
    made = train(
        job.recipe,
        job.store(out),
        job.split(out),
        job.run(out),
        device=place.device,
        weights_dir=place.weights_dir,
        start=job.beginning(out),
        watch=watch,
    )
    return evaluate(made.path, made.part, out=made.path, store=job.store(out)).headline


def attempt(
    job: Job, place: StudyLocation, watch: TrainingWatch | None = None, threads: int | None = None
) -> Attempt:
    """Run a job as :func:`run_job` does; whatever goes wrong is the job's failure.

    Args:
        job: the job.
        place: where and on what.
        watch: whom to tell of batches and epochs.
        threads: its share of the cores, where others run beside it; two that take all of them
            slow each other down.
    """
    try:
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        return Attempt(True, run_job(job, place, watch))
    except BlastscopeError as error:
        return Attempt(False, str(error))
    except Exception as error:  # a full GPU, a full disk, a defect: the other jobs go on
        reason = next(iter(str(error).splitlines()), "")
        return Attempt(False, f"{type(error).__name__}: {reason}".rstrip(": "))


def run_plan(
    plan: StudyPlan,
    place: StudyLocation,
    workers: int = 1,
    *,
    watch: Callable[[Job], TrainingWatch] | None = None,
    on_done: Callable[[Job, str, float], None] = lambda job, line, seconds: None,
    done: Done | None = None,
) -> Done:
    """Run every job of a plan that is not done, each behind the one that it starts from.

    A job that fails is noted, with those that start from it, and the others go on.

    Args:
        plan: the jobs.
        place: where and on what.
        workers: how many at a time, each in a process of its own with its share of the cores.
        watch: makes what shows a job's progress; with one worker only.
        on_done: called with each job, its figures or its failure, and the seconds it took.
        done: what to note it in, for a caller who wants it after an interrupt as well.

    Returns:
        ``done``.
    """
    done = Done() if done is None else done
    todo = {job.key: job for job in plan.jobs if not is_done(job, place.out)}
    if workers == 1:
        results = _one_by_one(todo, place, done, watch)
    else:
        results = _at_once(todo, place, done, workers)
    with closing(results):  # an interrupt of on_done as well ends the workers
        for job, line, seconds in results:
            on_done(job, line, seconds)
    return done


Result = tuple[Job, str, float]


def _one_by_one(
    todo: Mapping[Key, Job],
    place: StudyLocation,
    done: Done,
    watch: Callable[[Job], TrainingWatch] | None,
) -> Generator[Result]:
    for job in todo.values():  # a plan's order is one in which they can be run
        began = time.perf_counter()
        made = _blocked(job, done) or attempt(job, place, watch(job) if watch else None)
        yield job, done.note(job, made), time.perf_counter() - began


def _at_once(
    todo: Mapping[Key, Job], place: StudyLocation, done: Done, workers: int
) -> Generator[Result]:
    sorter: TopologicalSorter[Key] = TopologicalSorter()
    for key, job in todo.items():
        sorter.add(
            key, *(needed for needed in [job.needs] if needed is not None and needed in todo)
        )
    sorter.prepare()
    ready: deque[Key] = deque()
    began: dict[Key, float] = {}
    work = partial(attempt, place=place, threads=max(1, cores() // workers))
    with Crew[Job, Attempt](work, workers) as crew:
        while sorter.is_active():
            ready.extend(sorter.get_ready())
            while ready and crew.free:
                job = todo[ready.popleft()]
                began[job.key] = time.perf_counter()
                blocked = _blocked(job, done)
                if blocked:
                    yield job, done.note(job, blocked), 0.0
                    sorter.done(job.key)
                else:
                    crew.start(job)
            for job, result in crew.finished():
                made = Attempt(False, str(result)) if isinstance(result, Lost) else result
                yield job, done.note(job, made), time.perf_counter() - began[job.key]
                sorter.done(job.key)


def _blocked(job: Job, done: Done) -> Attempt | None:
    """Say that what a job starts from has failed."""
    if job.needs in done.failed:
        return Attempt(False, f"{job.recipe.starts_from}, which it starts from, failed")
    return None
