"""Run many trainings: each after the one it starts from; here, in processes, or on a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from blastscope.cluster import LOCAL, RAY, RayCrew
from blastscope.errors import BlastscopeError
from blastscope.parallel import LostTask, ProcessCrew, cores

if TYPE_CHECKING:
    from blastscope.training.trainer import TrainingWatch

Result = TypeVar("Result")


class Job(Protocol):
    """One training of many."""

    @property
    def key(self) -> Hashable:
        """What tells it from every other job."""

    @property
    def needs(self) -> Hashable | None:
        """The key of the job that it starts from; None if it starts from none."""

    @property
    def name(self) -> str:
        """What a reader calls it."""


JobType = TypeVar("JobType", bound=Job)


@dataclass(frozen=True)
class Failure:
    """Why a job failed."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass
class Outcomes(Generic[Result]):
    """What became of jobs, by their keys; filled while they run."""

    results: dict[Hashable, Result] = field(default_factory=dict)
    failures: dict[Hashable, Failure] = field(default_factory=dict)

    def raise_failures(self, what: str) -> None:
        """Raise a BlastscopeError if a job failed; ``what`` names the jobs, in the plural."""
        if self.failures:
            first = str(next(iter(self.failures.values()))).removesuffix(".")
            total = len(self.failures) + len(self.results)
            raise BlastscopeError(
                f"{len(self.failures)} of {total} {what} failed (the first: {first}): correct "
                "that, then give the same command again."
            )


def run_jobs(
    jobs: Iterable[JobType],
    work: Callable[[JobType, TrainingWatch | None], Result],
    processes: int = 1,
    *,
    watch: Callable[[JobType], TrainingWatch] | None = None,
    on_done: Callable[[JobType, Result | Failure, float], None] | None = None,
    outcomes: Outcomes[Result] | None = None,
    engine: str = LOCAL,
    device: str = "auto",
) -> Outcomes[Result]:
    """Run jobs, each after the one that it needs; if one fails, only those that need it fail too.

    An interrupt ends the processes and leaves in ``outcomes`` what is done.

    Args:
        jobs: each after the one that it needs. A needed job that is not among them counts as done.
        work: a function of a module, or a partial of one, if ``processes`` is above 1.
        processes: how many jobs run at the same time, each in a process of its own with its share
            of the processor cores; 1 runs them here.
        watch: gives what is told of a job's batches and epochs; used only if they run here.
        on_done: called with each job, its result or failure, and the seconds that it took.
        outcomes: what to fill, for a caller who needs it after an interrupt.
        engine: ``local``, or ``ray`` for tasks of a Ray cluster (``blastscope.cluster``), as many
            at a time as it has room for.
        device: what the jobs compute on; it decides whether tasks of a cluster need a GPU.
    """
    outcomes = Outcomes() if outcomes is None else outcomes
    left = {job.key: job for job in jobs}
    waiting = list(left.values())
    began: dict[Hashable, float] = {}

    def finish(job: JobType, outcome: Result | Failure) -> None:
        del left[job.key]
        if isinstance(outcome, Failure):
            outcomes.failures[job.key] = outcome
        else:
            outcomes.results[job.key] = outcome
        if on_done:
            on_done(job, outcome, time.perf_counter() - began.get(job.key, time.perf_counter()))

    with _workers(work, processes, watch, engine, len(left), device) as crew:
        while left:
            for job in list(waiting):
                if job.needs in outcomes.failures:
                    finish(job, Failure(f"{_name(job.needs)}, which it starts from, failed"))
                elif job.needs not in left and crew.free:
                    began[job.key] = time.perf_counter()
                    crew.start(job)
                else:
                    continue
                waiting.remove(job)
            for job, outcome in crew.finished():
                finish(job, Failure(str(outcome)) if isinstance(outcome, LostTask) else outcome)
    return outcomes


def attempt(
    job: JobType,
    work: Callable[[JobType, TrainingWatch | None], Result],
    watch: TrainingWatch | None = None,
    threads: int | None = None,
) -> Result | Failure:
    """Do a job; whatever goes wrong is its failure.

    ``threads`` is its share of the processor cores if others run at the same time: two jobs that
    take all of them slow each other down.
    """
    try:
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        return work(job, watch)
    except BlastscopeError as error:
        return Failure(str(error))
    except Exception as error:  # a full GPU, a full disk, a defect: the other jobs go on
        reason = next(iter(str(error).splitlines()), "")
        return Failure(f"{type(error).__name__}: {reason}".rstrip(": "))


def _workers(work: Any, processes: int, watch: Any, engine: str, jobs: int, device: str) -> Any:
    if engine == RAY:
        return RayCrew(partial(attempt, work=work), jobs, device)
    if processes == 1:
        return _Here(lambda job: attempt(job, work, watch(job) if watch else None))
    return ProcessCrew(partial(attempt, work=work, threads=max(1, cores() // processes)), processes)


class _Here:
    """Does one job at a time in this process; the interface is that of ``ProcessCrew``."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._work = work
        self._done: list[tuple[Any, Any]] = []

    def __enter__(self) -> _Here:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is to be ended."""

    @property
    def free(self) -> bool:
        return not self._done

    def start(self, job: Any) -> None:
        self._done.append((job, self._work(job)))

    def finished(self) -> list[tuple[Any, Any]]:
        done, self._done = self._done, []
        return done


def _name(key: Hashable) -> str:
    return str(key[0] if isinstance(key, tuple) else key)
