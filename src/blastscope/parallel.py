"""Work on all cores, with a progress bar, in bounded memory.

Processes that work side by side, and end with the one that gave them work, however it ends.
"""

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
from types import TracebackType
from typing import Any, Generic, TypeVar

from blastscope.process import tune_process

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Lost:
    """What became of a task whose process ended before it gave a result."""

    code: int | None

    def __str__(self) -> str:
        if self.code is not None and self.code < 0:
            why = ", perhaps for want of memory" if self.code == -9 else ""
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


class Crew(Generic[Task, Result]):
    """A number of processes, each at one task at most; leaving the ``with`` block ends them.

    A process that dies takes only its task with it. All are ended at once, whatever they are at,
    where the block is left by an error or an interrupt, and end themselves where this process is
    killed. Ctrl-C reaches this process alone.

    Args:
        work: what is done with a task, in the process; a function of a module, or a partial of one.
        size: how many processes there are at most.
    """

    def __init__(self, work: Callable[[Task], Result], size: int) -> None:
        self._work = work
        self._size = size
        self._hired: list[_Worker] = []
        self._idle: list[_Worker] = []
        self._busy: dict[Connection[Any, Any], tuple[_Worker, Task]] = {}
        self._context = multiprocessing.get_context("spawn")  # CUDA and threads forbid a fork

    def __enter__(self) -> Crew[Task, Result]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._hired:
            worker.end()

    @property
    def free(self) -> bool:
        """Whether another task can be started."""
        return len(self._busy) < self._size

    def start(self, task: Task) -> None:
        """Begin a task; only where the crew is free."""
        worker = self._idle.pop() if self._idle else self._hire()
        self._busy[worker.pipe] = (worker, task)
        with suppress(OSError):  # it died while it was idle: finished() will find its pipe closed
            worker.pipe.send(task)

    def finished(self) -> list[tuple[Task, Result | Lost]]:
        """Wait until a task is finished; return those that are, with what came of them."""
        outcomes: list[tuple[Task, Result | Lost]] = []
        ready = wait(list(self._busy)) if self._busy else []
        for pipe in [pipe for pipe in self._busy if pipe in ready]:
            worker, task = self._busy.pop(pipe)
            try:
                outcomes.append((task, worker.pipe.recv()))
                self._idle.append(worker)
            except (EOFError, OSError):
                worker.process.join()
                outcomes.append((task, Lost(worker.process.exitcode)))
                self._hired.remove(worker)
                worker.end()
        return outcomes

    def _hire(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        worker = _Worker(self._context.Process(target=_serve, args=(theirs,), daemon=True), ours)
        worker.process.start()
        self._hired.append(worker)
        theirs.close()  # so that the death of the process is the end of the pipe
        with suppress(OSError):  # as in start()
            ours.send(self._work)
        return worker


def _serve(pipe: Connection[Any, Any]) -> None:
    """Do one task after the other; the first thing that the pipe brings is what is done."""
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


Item = TypeVar("Item")


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> float:
    """Return the memory that this process may use, in bytes; infinite where nobody says."""
    found = []
    with suppress(AttributeError, ValueError, OSError):
        found.append(float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES"))
    with suppress(ValueError, OSError):  # a container's share
        found.append(float(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(found, default=math.inf)


@contextmanager
def progress_total(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error for work that says how far it is.

    Yields:
        A function to call with how much is done, and of how much.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    rate = TextColumn("{task.fields[rate]}")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        rate,
        Remaining(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None, rate="")

        def show(done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, total=total, rate=f"{speed:.0f}/s" if speed else "")

        yield show


def in_order(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int | None = None,
    ahead: int | None = None,
) -> Iterator[Result]:
    """Map ``work`` over ``items`` on threads and yield the results in order.

    Threads, not processes: decoding, thresholds, hashing and resizing leave Python's lock, the
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
