"""Running a plan: what is not yet done, one after the other or several at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from multiprocessing import get_context
from pathlib import Path

from blastscope.errors import BlastscopeError
from blastscope.progress import cores
from blastscope.reproduce.outcomes import is_done
from blastscope.reproduce.plan import Job, Plan
from blastscope.train.fit import Watch

Key = tuple[str, str, int]


@dataclass(frozen=True)
class Place:
    """Where and on what a study runs."""

    out: Path
    device: str = "auto"
    weights_dir: Path | None = None


@dataclass
class Done:
    """How a plan went."""

    headlines: dict[Key, str] = field(default_factory=dict)
    failed: dict[Key, str] = field(default_factory=dict)


def run_job(job: Job, place: Place, watch: Watch | None = None) -> str:
    """Train and evaluate one job, or what of it is not done; return its figures in a line.

    Raises:
        BlastscopeError: where it cannot be trained or evaluated.
    """
    from blastscope.report.evaluate import evaluate
    from blastscope.train.run import train

    out = place.out
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
    return evaluate(made.path, made.part, out=made.path).headline


def run_plan(
    plan: Plan,
    place: Place,
    workers: int = 1,
    *,
    watch: Callable[[Job], Watch] | None = None,
    on_done: Callable[[Job, str, float], None] = lambda job, line, seconds: None,
) -> Done:
    """Run every job of a plan that is not done, each behind the one that it starts from.

    A job that fails is noted, with those that start from it, and the others go on.

    Args:
        plan: the jobs.
        place: where and on what.
        workers: how many at a time, each in a process of its own with its share of the cores.
        watch: makes what shows a job's progress; with one worker only.
        on_done: called with each job, its figures or its failure, and the seconds it took.
    """
    done = Done()
    todo = {job.key: job for job in plan.jobs if not is_done(job, place.out)}
    if workers == 1:
        results = _one_by_one(todo, place, done, watch)
    else:
        results = _at_once(todo, place, done, workers)
    for job, line, seconds in results:
        on_done(job, line, seconds)
    return done


Result = tuple[Job, str, float]


def _one_by_one(
    todo: Mapping[Key, Job],
    place: Place,
    done: Done,
    watch: Callable[[Job], Watch] | None,
) -> Iterator[Result]:
    for key, job in todo.items():  # a plan's order is one in which they can be run
        began = time.perf_counter()
        line = _blocked(job, done)
        if line is None:
            try:
                line = done.headlines[key] = run_job(job, place, watch(job) if watch else None)
            except BlastscopeError as error:
                line = done.failed[key] = str(error)
        yield job, line, time.perf_counter() - began


def _at_once(todo: Mapping[Key, Job], place: Place, done: Done, workers: int) -> Iterator[Result]:
    sorter: TopologicalSorter[Key] = TopologicalSorter()
    for key, job in todo.items():
        sorter.add(
            key, *(needed for needed in [job.needs] if needed is not None and needed in todo)
        )
    sorter.prepare()
    began: dict[Key, float] = {}
    running: dict[Future[str], Key] = {}
    pool = ProcessPoolExecutor(
        workers, get_context("spawn"), _take_share, (max(1, cores() // workers),)
    )
    try:
        while sorter.is_active():
            for key in sorter.get_ready():
                began[key] = time.perf_counter()
                line = _blocked(todo[key], done)
                if line is None:
                    running[pool.submit(run_job, todo[key], place)] = key
                else:
                    yield todo[key], line, 0.0
                    sorter.done(key)
            finished = wait(running, return_when=FIRST_COMPLETED).done if running else set()
            for future in finished:
                key = running.pop(future)
                try:
                    line = done.headlines[key] = future.result()
                except BlastscopeError as error:
                    line = done.failed[key] = str(error)
                yield todo[key], line, time.perf_counter() - began[key]
                sorter.done(key)
    finally:
        pool.shutdown(cancel_futures=True)


def _blocked(job: Job, done: Done) -> str | None:
    """Say that what a job starts from has failed, and note the job as failed too."""
    if job.needs in done.failed:
        done.failed[job.key] = f"{job.recipe.starts_from}, which it starts from, failed"
        return done.failed[job.key]
    return None


def _take_share(threads: int) -> None:
    """Give a worker its share of the cores: two that take all of them slow each other down."""
    import torch

    torch.set_num_threads(threads)
