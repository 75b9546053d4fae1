"""Show how far many trainings are: a line for each that is done, a bar for the one under way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from blastscope.experiments.runner import Failure, Job
from blastscope.parallel import duration
from blastscope.training.display import TrainingDisplay
from blastscope.training.trainer import TrainingWatch


class JobsProgress:
    """Shows jobs as :func:`blastscope.experiments.runner.run_jobs` runs them.

    Args:
        say: what prints a line.
        already: how many jobs were done before; they count in "k of n".
        seconds: how long each job will take, by its key; alike for all without it.
        headline: gives the line of a job's result.
        tensorboard: whether each training writes TensorBoard events into its run.
        show: whether anything is shown.
    """

    def __init__(
        self,
        jobs: Iterable[Job],
        say: Callable[[str], None],
        *,
        already: int = 0,
        seconds: Mapping[Any, float] | None = None,
        headline: Callable[[Any], str] = str,
        tensorboard: bool = False,
        show: bool = True,
    ) -> None:
        self._left = {job.key: (seconds or {}).get(job.key, 1.0) for job in jobs}
        self._say = say if show else lambda line: None
        self._show = show
        self._already = already
        self._headline = headline
        self._tensorboard = tensorboard
        self._total = already + len(self._left)
        self._estimated = 0.0
        self._began = time.perf_counter()
        self._display: TrainingDisplay | None = None

    def __enter__(self) -> JobsProgress:
        if self._already:
            self._say(f"{self._already} of {self._total} are done already.")
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def watch(self, job: Job) -> TrainingWatch:
        """Show the bar of a job that begins; return what its training is to be given."""
        if not self._show:
            return TrainingWatch(self._tensorboard)
        self._close()
        self._display = TrainingDisplay(job.name)
        return self._display.__enter__().watch(self._tensorboard)

    def tell(self, job: Job, outcome: Any, seconds: float) -> None:
        """Print the line of a job that is done."""
        self._close()
        self._estimated += self._left.pop(job.key, 0.0)
        line = str(outcome) if isinstance(outcome, Failure) else self._headline(outcome)
        count = f"[{self._total - len(self._left)} of {self._total}]"
        self._say(f"{count} {job.name}: {line} ({duration(seconds)}; {self._rest()})")

    def _rest(self) -> str:
        """Say how much time is left, at the pace of the jobs that are done."""
        if not self._left:
            return "all done"
        pace = (time.perf_counter() - self._began) / self._estimated if self._estimated else 1.0
        return f"about {duration(pace * sum(self._left.values()))} left"

    def _close(self) -> None:
        if self._display is not None:
            self._display.__exit__(None, None, None)
            self._display = None
