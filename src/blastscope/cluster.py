"""Work on a Ray cluster: tasks with retries, told of as :class:`blastscope.parallel.ProcessCrew`.

A task is a function of a module with one argument. It may run on any machine, so that all of them
must see the same folders at the same paths and have the same blastscope. A task whose process or
machine dies is begun again: it must go on with what its work folder has.

The cluster is that of ``RAY_ADDRESS``, the one that this process is connected to, or a local one
with the cores that this process may use.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar

from blastscope.errors import BlastscopeError
from blastscope.io.provenance import command
from blastscope.io.remote import refuse_url
from blastscope.parallel import LostTask, cores
from blastscope.process import environment, tune_process

Task = TypeVar("Task")
Result = TypeVar("Result")

_PATIENCE = 10.0
"""Seconds in which a cluster must answer."""
LOCAL, RAY = "local", "ray"
RETRIES = 3
"""How many times a task is begun again after its process or machine died."""
_STORE_BYTES = 256 * 2**20
"""Memory of a local cluster's object store; tasks exchange tables, not images."""
_SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
"""Nothing is reported to anybody; and a busy machine gives tasks as much as other processes."""


def check_engine(engine: str, jobs: int = 1) -> None:
    """Refuse an engine that is not known or not installed.

    Args:
        engine: ``local`` or ``ray``.
        jobs: how many jobs of the local engine run at a time.

    Raises:
        BlastscopeError: if it cannot be used.
    """
    if engine not in (LOCAL, RAY):
        raise BlastscopeError(f"{engine!r} is not an engine: choose local or ray.")
    if engine == LOCAL:
        return
    if find_spec("ray") is None:
        raise BlastscopeError(
            "--engine ray needs Ray: install it with pip install 'blastscope[cluster]'."
        )
    if jobs > 1:
        raise BlastscopeError(
            "--jobs is for the local engine: leave it out, and Ray runs as many as the cluster "
            "has cores for."
        )


def refuse_urls(engine: str, inputs: Iterable[object]) -> None:
    """Refuse inputs of object stores, which are copied to one machine, for tasks of a cluster.

    Raises:
        BlastscopeError: if the engine is ``ray`` and an input is one.
    """
    if engine == RAY:
        for one in inputs:
            refuse_url(
                one if isinstance(one, str | os.PathLike) else None,
                "is copied to one machine: copy it to a folder that the cluster shares.",
            )


class RayCrew(Generic[Task, Result]):
    """Tasks of a Ray cluster; leaving the ``with`` block cancels those under way.

    Args:
        work: what is done with a task; a function of a module, or a partial of one.
        tasks: how many there will be; each gets its share of the cluster's cores, one or more.
        device: as ``choose_device`` takes it; unless it is ``cpu``, each task gets a GPU of a
            cluster that has any.
    """

    def __init__(self, work: Callable[[Task], Result], tasks: int, device: str = "cpu") -> None:
        self._work = work
        self._tasks = tasks
        self._device = device
        self._busy: dict[Any, Task] = {}
        self._most = 1
        self._begin: Any = None

    def __enter__(self) -> RayCrew[Task, Result]:
        ray = _ray()
        self._connection = connected()
        self._connection.__enter__()
        cpus = int(ray.cluster_resources().get("CPU", 1))
        largest = max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
        threads = max(1, min(largest, cpus // max(1, self._tasks)))
        gpus = int(self._device != "cpu" and ray.cluster_resources().get("GPU", 0) >= 1)
        # More than can run are handed over, so that none waits for this process.
        self._most = 2 * max(1, cpus // threads)
        do = ray.remote(_in_worker)
        do = do.options(num_cpus=threads, num_gpus=gpus, max_retries=RETRIES)
        origin = _Origin(command(sys.argv), str(Path.cwd()))
        self._begin = partial(do.remote, ray.put(self._work), threads, origin)
        return self

    def __exit__(self, *error: object) -> None:
        ray = _ray()
        for reference in self._busy:
            ray.cancel(reference, force=True)
        self._connection.__exit__(None, None, None)

    @property
    def free(self) -> bool:
        """Whether another task can be started."""
        return len(self._busy) < self._most

    def start(self, task: Task) -> None:
        """Hand a task to the cluster; only if the crew is free."""
        self._busy[self._begin(task)] = task

    def finished(self) -> list[tuple[Task, Result | LostTask]]:
        """Wait until a task is finished; return all finished ones, with their results.

        Raises:
            Exception: what ``work`` raised.
        """
        if not self._busy:
            return []
        ray = _ray()
        under_way = list(self._busy)
        ray.wait(under_way, num_returns=1)
        ready, _ = ray.wait(under_way, num_returns=len(under_way), timeout=0)
        return [(self._busy.pop(reference), _outcome(reference)) for reference in ready]


def on_ray(
    work: Callable[[Task], Result], tasks: Iterable[Task], count: int, device: str = "cpu"
) -> Iterator[tuple[Task, Result]]:
    """Do ``count`` tasks on the cluster and yield each with its result, as they are finished.

    ``tasks`` are read as the cluster has room, so that they need not be in memory together.

    Raises:
        BlastscopeError: if the process of a task died again and again.
        Exception: what ``work`` raised.
    """
    left = iter(tasks)
    with RayCrew(work, count, device) as crew:
        while True:
            while crew.free:
                try:
                    crew.start(next(left))
                except StopIteration:
                    break
            done = crew.finished()
            if not done:
                return
            for task, outcome in done:
                if isinstance(outcome, LostTask):
                    raise BlastscopeError(f"A task of the cluster failed: {outcome}.")
                yield task, outcome


@dataclass(frozen=True)
class _LostOnCluster(LostTask):
    reason: str = ""

    def __str__(self) -> str:
        return self.reason


def _outcome(reference: Any) -> Any:
    from ray.exceptions import RayError, RayTaskError

    try:
        return _ray().get(reference)
    except RayTaskError as error:
        raise error.cause from None
    except RayError as error:  # its process was killed, its machine is gone, memory ran out
        kind = type(error).__name__
        return _LostOnCluster(None, f"its process died, and {RETRIES} retries as well ({kind})")


@dataclass(frozen=True)
class _Origin:
    """Where tasks come from: the command, without its secrets, and its folder."""

    command: list[str]
    folder: str


def _in_worker(work: Callable[[Task], Result], threads: int, origin: _Origin, task: Task) -> Result:
    """Do a task in a process of the cluster."""
    try:
        os.chdir(origin.folder)  # paths may be relative to it
    except OSError as error:
        raise BlastscopeError(
            f"{os.uname().nodename} does not see the folder {origin.folder}: share it with every "
            "machine of the cluster, at the same path."
        ) from error
    sys.argv = list(origin.command)  # a run records the user's command, not that of Ray's process
    tune_process(threads)
    return work(task)


def _ray() -> Any:
    """Return Ray; few of its functions are typed."""
    return import_module("ray")


@contextmanager
def connected() -> Iterator[None]:
    """Connect to the cluster, or begin a local one; a connection of the caller's stays.

    Raises:
        BlastscopeError: if the cluster cannot be used.
    """
    ray = _ray()
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    _refuse_silent(address or "")
    local = {"num_cpus": cores(), "include_dashboard": False, "object_store_memory": _STORE_BYTES}
    with environment(_SETTINGS):
        try:
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                **({} if address else local),
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise BlastscopeError(
                f"The Ray cluster {address or 'on this machine'} cannot be used ({reason}): "
                "correct RAY_ADDRESS, or leave --engine ray out."
            ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _refuse_silent(address: str) -> None:
    """Refuse a HOST:PORT that nothing answers at, which Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():  # such as auto
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise BlastscopeError(
            f"The Ray cluster {address} does not answer: start it, or correct RAY_ADDRESS."
        ) from error
