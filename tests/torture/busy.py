"""A busy machine: six spinning processes, and commands that must get along beside them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blastscope.parallel import cores
from tests.torture.commands import blastscope
from tests.torture.disk import commands
from tests.torture.material import Material

OTHERS = 6
MOST = 3.0
"""How many times its share of the machine a command may take."""


@contextmanager
def spinning(count: int) -> Iterator[None]:
    """Keep so many processes busy."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def torture_busy(made: Material, scratch: Path) -> tuple[list[tuple[str, float, float]], list[str]]:
    """Time each command alone and beside six busy processes.

    A command that uses all ``c`` cores alone gets ``c / (6 + c)`` of them beside six others: its
    fair time is ``(6 + c) / c`` times the time alone.

    Returns:
        For each command its name, seconds alone, and how many times its fair time it took; faults.
    """
    told, faults = [], []
    fair = (OTHERS + cores()) / cores()
    for name, words in commands(made).items():
        alone = blastscope(*words(scratch / f"alone-{name}"))
        with spinning(OTHERS):
            beside = blastscope(*words(scratch / f"beside-{name}"), seconds=1800)
        times = beside.seconds / (alone.seconds * fair)
        told.append((name, alone.seconds, times))
        for ended in (alone, beside):
            if ended.status != 0:
                faults.append(f"{name}: {ended.fault or ended.error[-300:]}")
        if times > MOST:
            faults.append(f"{name} takes {times:.1f} times its share")
    return told, faults
