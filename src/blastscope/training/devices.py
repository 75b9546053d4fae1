"""Train one network on several devices, of one machine or several: one process a device.

Each process is a rank of a PyTorch process group (NCCL on GPUs, gloo on a CPU) and computes its
share of every batch; Lightning's DDP averages the gradients. ``torchrun`` starts the processes, or
:func:`run_ranks` does. Rank 0 alone writes; all read the same folders.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from blastscope.errors import BlastscopeError
from blastscope.parallel import LostTask, ProcessCrew, cores

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

Result = TypeVar("Result")
_PATIENCE = timedelta(days=7)
"""How long a rank waits for another: rank 0 may have to compute all features first."""
_LET_THE_CAUSE_SPEAK = 1.0
"""Seconds before a rank tells an error that may only follow from the end of another one."""
_FROM_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


@dataclass(frozen=True)
class Rank:
    """One of the processes that train a network together.

    Attributes:
        number: its number among all, from 0 on.
        count: how many there are.
        local: its number on its own machine.
        nodes: how many machines there are.
    """

    number: int = 0
    count: int = 1
    local: int = 0
    nodes: int = 1

    @property
    def first(self) -> bool:
        """Whether it is the one that writes."""
        return self.number == 0

    def share(self, cells: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return its share of cells: every ``count``-th, so that each cell is in one share."""
        return cells[self.number :: self.count]

    def share_of_batch(self, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return its share of a batch; never empty, because every rank must take every step.

        A rank without a cell of its own takes the first one, with the weight 0
        (:meth:`weight`).
        """
        own = self.share(batch)
        return own if len(own) else batch[:1]

    def weight(self, cells: int) -> float:
        """Return the weight of its mean loss over a batch of ``cells``.

        The mean of the ranks' weighted losses is then the mean over the cells, also if the shares
        are not of one size.
        """
        return len(range(self.number, cells, self.count)) * self.count / cells

    def wait(self) -> None:
        """Wait until all ranks have come so far."""
        if self.count > 1:
            import torch.distributed as dist

            dist.barrier()


ALONE = Rank()
"""The only process of a training on one device."""


def check_devices(devices: int, nodes: int, device: str, batch: int) -> None:
    """Refuse a request that cannot be met here.

    Args:
        devices: how many devices of each machine; processes, if ``device`` is ``cpu``.
        nodes: how many machines.
        device: as ``choose_device`` takes it.
        batch: the recipe's batch, which all devices share.

    Raises:
        BlastscopeError: if there are fewer devices, the batch is too small to share, or processes
            that torchrun has started are not as many.
    """
    from blastscope.engines.torch_engine import choose_device

    count, kind = devices * nodes, choose_device(device).type
    started = _started_by_torchrun()
    if started is not None and started.count != count:
        raise BlastscopeError(
            f"torchrun started {started.count} processes, and --devices {devices} --nodes {nodes} "
            f"asks for {count}: give both the same numbers."
        )
    if count == 1:
        return
    if kind == "mps":
        raise BlastscopeError("An Apple GPU is one device: leave --devices and --nodes out.")
    if kind == "cuda":
        import torch

        there = torch.cuda.device_count()
        if devices > there:
            raise BlastscopeError(
                f"--devices {devices} asks for more GPUs than the {there} of this machine: give "
                f"at most {there}, or --device cpu for processes on its processor."
            )
    if batch < count:
        raise BlastscopeError(
            f"A batch of {batch} cells cannot be shared by {count} devices: set training.batch to "
            f"{count} or more, or give fewer devices."
        )
    if nodes > 1 and started is None:
        missing = [name for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")
                   if name not in os.environ]  # fmt: skip
        if missing:
            raise BlastscopeError(
                f"--nodes {nodes} needs {', '.join(missing)} in the environment of every machine: "
                "start the command with torchrun, or set them."
            )


def _started_by_torchrun() -> Rank | None:
    """Return the rank that torchrun gave this process; None if it did not start it."""
    if any(name not in os.environ for name in _FROM_TORCHRUN):
        return None
    number, count, local = (int(os.environ[name]) for name in _FROM_TORCHRUN)
    return Rank(number, count, local)


def is_a_rank() -> bool:
    """Whether torchrun has started this process as one of several."""
    started = _started_by_torchrun()
    return started is not None and started.count > 1


@contextmanager
def joined_by_torchrun(nodes: int, device: str) -> Iterator[Rank]:
    """Join the process group of the processes that torchrun has started."""
    found = _started_by_torchrun()
    assert found is not None
    with _joined(Rank(found.number, found.count, found.local, nodes), device, "env://") as rank:
        yield rank


@contextmanager
def _joined(rank: Rank, device: str, meeting: str) -> Iterator[Rank]:
    import torch
    import torch.distributed as dist

    from blastscope.engines.torch_engine import choose_device

    cuda = choose_device(device).type == "cuda"
    if cuda:
        torch.cuda.set_device(rank.local)
    os.environ["LOCAL_RANK"] = str(rank.local)  # by these Lightning knows that we are started
    os.environ.setdefault("NODE_RANK", str(rank.number // (rank.count // rank.nodes)))
    dist.init_process_group(
        "nccl" if cuda else "gloo",
        init_method=meeting,
        rank=rank.number,
        world_size=rank.count,
        timeout=_PATIENCE,
    )
    try:
        yield rank
    finally:
        dist.destroy_process_group()


def device_of(rank: Rank, device: torch.device) -> torch.device:
    """Return the device of a rank: its own GPU, or the processor."""
    import torch

    if rank.count == 1 or device.type != "cuda":
        return device
    return torch.device("cuda", rank.local)


def run_ranks(
    work: Callable[[Rank], Result], devices: int, nodes: int, device: str
) -> tuple[Rank, Result]:
    """Run one process for each device of this machine, until the ranks of all machines are done.

    If one of them fails or is killed, the others end as well.

    Args:
        work: a function of a module, or a partial of one.

    Returns:
        The first rank of this machine, and what ``work`` returned in it.

    Raises:
        BlastscopeError: if a process failed.
    """
    node = int(os.environ.get("NODE_RANK", "0")) if nodes > 1 else 0
    threads = max(1, cores() // devices)
    first: tuple[Rank, Result] | None = None
    with tempfile.TemporaryDirectory(prefix="blastscope-") as folder:
        meeting = "env://" if nodes > 1 else (Path(folder) / "meeting").as_uri()
        do = partial(_run_rank, work=work, device=device, meeting=meeting, threads=threads)
        with ProcessCrew(do, devices) as crew:
            for local in range(devices):
                crew.start(Rank(node * devices + local, devices * nodes, local, nodes))
            left = devices
            while left:
                for rank, outcome in crew.finished():
                    left -= 1
                    if isinstance(outcome, LostTask | _Failed):
                        raise BlastscopeError(
                            f"The training of device {rank.number} of {rank.count} failed: "
                            f"{str(outcome).removesuffix('.')}."
                        )
                    if rank.local == 0:
                        first = rank, outcome
    assert first is not None
    return first


@dataclass(frozen=True)
class _Failed:
    reason: str

    def __str__(self) -> str:
        return self.reason


def _run_rank(
    rank: Rank, *, work: Callable[[Rank], Any], device: str, meeting: str, threads: int
) -> Any:
    """Do the work of a rank, in its process; what goes wrong is returned."""
    import torch

    torch.set_num_threads(threads)
    try:
        with _joined(rank, device, meeting):
            result = work(rank)
            rank.wait()  # for the first one, which writes after the others are done
            return result
    except BlastscopeError as error:
        return _Failed(str(error))
    except Exception as error:  # a full GPU, a full disk, a lost rank
        time.sleep(_LET_THE_CAUSE_SPEAK)
        reason = next(iter(str(error).splitlines()), "")
        return _Failed(f"{type(error).__name__}: {reason}".rstrip(": "))
