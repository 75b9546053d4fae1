"""Parallel work: cores and memory, threads in order, a progress bar, a crew of processes."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Generic, TypeVar

from blastscope.process import THREADS, tune_process

Item = TypeVar("Item")
Task = TypeVar("Task")
Result = TypeVar("Result")


def cores() -> int:
    """Return how many processor cores this process may use.

    The least counts of its affinity, its container's share (cgroup), and what
    :func:`blastscope.tune_process` was given.
    """
    found = [os.cpu_count() or 1]
    if hasattr(os, "sched_getaffinity"):
        found.append(len(os.sched_getaffinity(0)))
    with suppress(ValueError, OSError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        found.append(math.ceil(int(quota) / int(period)))
    with suppress(KeyError, ValueError):
        found.append(int(os.environ[THREADS]))
    return max(1, min(found))


def busy() -> bool:
    """Say whether other work keeps the cores busy: the load of the last minute exceeds them."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > cores()


def memory() -> float:
    """Return the memory that this process may use, in bytes; infinite if it is not known."""
    found = []
    with suppress(AttributeError, ValueError, OSError):
        found.append(float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES"))
    with suppress(ValueError, OSError):  # a container's share
        found.append(float(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(found, default=math.inf)


def in_order(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int | None = None,
    ahead: int | None = None,
) -> Iterator[Result]:
    """Map ``work`` over ``items`` on threads and yield the results in order.

    Threads, not processes: decoding, thresholds, hashing and resizing release Python's lock, the
    results need no copy, and a notebook needs no ``__main__`` guard. At most ``ahead`` items (four
    a worker by default) are under way or waiting, so memory does not grow with their number.
    """
    count = workers or cores()
    most = ahead or 4 * count
    with ThreadPoolExecutor(count) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= most:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def progress_total(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error, if that is a terminal.

    Yields:
        A function to call with the number of items done and their total. If the block ends without
        an error, the bar ends at its total, or goes if there was nothing left to do.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    what_column = TextColumn("{task.description}", markup=False)
    rate = TextColumn("{task.fields[rate]}", markup=False)
    columns = (what_column, BarColumn(), MofNCompleteColumn(), rate, Remaining())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None, rate="")

        def show(done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, total=total, rate=f"{speed:.0f}/s" if speed else "")

        yield show
        total = bar.tasks[0].total  # of what an interrupted call had done, nothing may be told
        bar.update(task, completed=total or 0, visible=total is not None)


def duration(seconds: float) -> str:
    """Write how long something takes: ``45 s``, ``12 min``, ``3 h 05 min``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


@dataclass(frozen=True)
class LostTask:
    """A task whose process ended before it gave a result.

    Attributes:
        code: the exit status of the process; negative, the signal that ended it.
    """

    code: int | None

    def __str__(self) -> str:
        if self.code is not None and self.code < 0:
            why = ", perhaps because memory ran out" if self.code == -9 else ""
            return f"its process was ended by signal {-self.code}{why}"
        return f"its process ended with status {self.code}"


@dataclass(frozen=True)
class _Worker:
    process: SpawnProcess
    pipe: Connection[Any, Any]

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


class ProcessCrew(Generic[Task, Result]):
    """Processes that each do one task at a time; leaving the ``with`` block ends them.

    A process that dies takes only its own task with it. The pools of ``concurrent.futures`` and
    joblib fail every task when one process is killed, and finish running tasks after an interrupt,
    which may take hours: hence our own. All processes end at once if the block is left by an error
    or an interrupt, and end by themselves if this process is killed. Ctrl-C reaches this process
    alone.

    Args:
        work: what is done with a task, in the process; a function of a module, or a partial of one.
        size: how many processes there are at most.
    """

    def __init__(self, work: Callable[[Task], Result], size: int) -> None:
        self._work = work
        self._size = size
        self._workers: list[_Worker] = []
        self._idle: list[_Worker] = []
        self._busy: dict[Connection[Any, Any], tuple[_Worker, Task]] = {}
        self._context = multiprocessing.get_context("spawn")  # CUDA and threads forbid a fork

    def __enter__(self) -> ProcessCrew[Task, Result]:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers:
            worker.end()

    @property
    def free(self) -> bool:
        """Whether another task can be started."""
        return len(self._busy) < self._size

    def start(self, task: Task) -> None:
        """Begin a task; only if the crew is free."""
        worker = self._idle.pop() if self._idle else self._start_process()
        self._busy[worker.pipe] = (worker, task)
        with suppress(OSError):  # it died while it was idle: finished() will find its pipe closed
            worker.pipe.send(task)

    def finished(self) -> list[tuple[Task, Result | LostTask]]:
        """Wait until a task is finished; return all finished ones, with their results."""
        outcomes: list[tuple[Task, Result | LostTask]] = []
        ready = wait(list(self._busy)) if self._busy else []
        for pipe in [pipe for pipe in self._busy if pipe in ready]:
            worker, task = self._busy.pop(pipe)
            try:
                outcomes.append((task, worker.pipe.recv()))
                self._idle.append(worker)
            except (EOFError, OSError):
                worker.process.join()
                outcomes.append((task, LostTask(worker.process.exitcode)))
                self._workers.remove(worker)
                worker.end()
        return outcomes

    def _start_process(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        worker = _Worker(self._context.Process(target=_serve, args=(theirs,), daemon=True), ours)
        worker.process.start()
        self._workers.append(worker)
        theirs.close()  # so that the death of the process is the end of the pipe
        with suppress(OSError):  # as in start()
            ours.send(self._work)
        return worker


def _serve(pipe: Connection[Any, Any]) -> None:
    """Do one task after the other; the pipe first brings the function that does them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to parent and child
    threading.Thread(target=_end_with_parent, daemon=True).start()
    tune_process()
    work = pipe.recv()  # here, because reading it may import much
    while True:
        pipe.send(work(pipe.recv()))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
