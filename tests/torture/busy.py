"""A busy machine: six spinning processes, and commands that must get along beside them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import blastscope as bs
from blastscope.parallel import cores
from tests.torture.commands import blastscope
from tests.torture.disk import Words, commands
from tests.torture.kills import verbs
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


def every_command(made: Material) -> dict[str, Words]:
    """Return all commands that compute but those that only call others; their input is made."""
    fields = made.folder / "fields"
    if not fields.exists():
        bs.synthesize_fields(fields, 2, seed=3)
    cell = min(made.cells.rglob("*.bmp"))
    store, data = ("--store", made.store), ("--data", made.store)
    searched = {name: verb.words for name, verb in verbs(made).items()}
    return searched | commands(made) | {
        "check": lambda out: ("check", made.cells),
        "split": lambda out: (
            "split", made.store, "--protocol", "subject", "--out", out / "split.parquet"
        ),
        "baselines": lambda out: ("baselines", made.store),
        "normalize-stain": lambda out: (
            "normalize-stain", made.cells, "--method", "reinhard", "--out", out / "normal"
        ),
        "segment": lambda out: ("segment", fields, "--out", out / "cells"),
        "leakage": lambda out: (
            "leakage", made.recipe, *store, "--set", "training.epochs=1", "--out", out / "leak"
        ),
        "compare": lambda out: ("compare", f"a={made.table}", f"b={made.run}", "--out", out / "c"),
        "errors": lambda out: ("errors", made.run, "--out", out / "errors"),
        "ensemble": lambda out: (
            "ensemble", f"a={made.table}", f"b={made.run}", "--out", out / "both"
        ),
        "explain": lambda out: ("explain", made.run, "--cells", cell, "--out", out / "maps"),
        "audit": lambda out: ("audit", made.run, *data, "--out", out / "audit"),
        "stress": lambda out: ("stress", made.run, *store, "--out", out / "stress"),
        "export": lambda out: (
            "export", made.run, "--cells", made.store, "--out", out / "net.onnx"
        ),
        "adapt": lambda out: ("adapt", "--labelled", made.cells, "--out", out / "own.zip"),
        "verify": lambda out: ("verify", made.run),
    }  # fmt: skip


def torture_busy(made: Material, scratch: Path) -> tuple[list[tuple[str, float, float]], list[str]]:
    """Time each command alone and beside six busy processes.

    A command that uses all ``c`` cores alone gets ``c / (6 + c)`` of them beside six others: its
    fair time is ``(6 + c) / c`` times the time alone.

    Returns:
        For each command its name, seconds alone, and how many times its fair time it took; faults.
    """
    told, faults = [], []
    fair = (OTHERS + cores()) / cores()
    for name, words in every_command(made).items():
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
