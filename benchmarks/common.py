"""What the benchmarks share: the machine in a line, cells, clocks, memory, tables in Markdown."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2

from blastscope.data.layouts import CellFile, list_cells
from blastscope.data.synthetic import write_synthetic
from blastscope.parallel import cores

_GIB = 2**30


def arguments(doc: str | None, cells: int) -> argparse.ArgumentParser:
    """Return a parser that knows where cells come from and how many are taken."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="labelled cells; synthetic ones without")
    parser.add_argument("--cells", type=int, default=cells)
    return parser


def machine(*packages: str) -> str:
    """Say in a line what is measured on: processor, cores that may be used, memory, versions."""
    name = platform.processor() or platform.machine()
    told = Path("/proc/cpuinfo")
    if told.is_file():
        lines = [line for line in told.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    made = [f"{package} {version(package)}" for package in packages]
    count = cores()
    parts = [f"{count} core{'s' * (count > 1)} of {name}", f"{memory:.0f} GiB", platform.system()]
    return ", ".join([*parts, f"Python {platform.python_version()}", *made])


def table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], note: str = ""
) -> None:
    """Print a table in Markdown, its columns aligned so that a terminal shows it as well."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]

    def line(texts: Sequence[str]) -> str:
        cells = (f"{text:{width}}" for text, width in zip(texts, widths, strict=True))
        return f"| {' | '.join(cells)} |"

    rule = ["-" * width for width in widths]
    print("", f"**{title}**", "", line(columns), line(rule), *map(line, rows), sep="\n")
    print(f"\n{note}" if note else "", flush=True)


@dataclass(frozen=True)
class Timed:
    """The best time of several, in seconds, and what the work returned that time."""

    seconds: float
    result: Any

    def a_second(self, items: int) -> float:
        """Return how many of ``items`` were done a second."""
        return items / self.seconds


def in_turn(works: dict[str, Callable[[], Any]], rounds: int = 3) -> dict[str, Timed]:
    """Time every work once a round, one after the other, so that a slow minute is everybody's."""
    found: dict[str, Timed] = {}
    for _ in range(rounds):
        for name, work in works.items():
            began = time.perf_counter()
            result = work()
            taken = Timed(time.perf_counter() - began, result)
            if name not in found or taken.seconds < found[name].seconds:
                found[name] = taken
    return found


def some_cells(data: Path | None, cells: int, place: Path, *, bmp: bool = False) -> list[CellFile]:
    """Return cells, evenly from all of ``data``, or synthetic ones drawn into ``place``.

    With ``bmp`` other files are written again as BMP, the format of the C-NMC set.
    """
    if data is None:
        data = place / "synthetic"
        write_synthetic(data, cells, min(24, cells // 2), 24)
    found = list_cells([data]).cells
    chosen = found[:: max(1, len(found) // cells)][:cells]
    if not bmp or all(item.path.suffix == ".bmp" for item in chosen):
        return chosen
    return _as_bmp(chosen, place / "bmp")


def _as_bmp(chosen: Sequence[CellFile], folder: Path) -> list[CellFile]:
    def write(item: CellFile) -> None:
        target = (folder / item.file).with_suffix(".bmp")
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), cv2.imread(str(item.path)))

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(write, chosen))
    return list_cells([folder]).cells


def link_cells(chosen: Sequence[CellFile], cells: int, folder: Path) -> Path:
    """Lay out a data set of so many cells: hard links to the files of a few, under new names."""
    for number in range(cells):
        item = chosen[number % len(chosen)]
        target = folder / (item.label or "hem") / _name(item, number)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(item.path, target)
        except OSError:  # on another disk
            shutil.copyfile(item.path, target)
    return folder


def _name(item: CellFile, number: int) -> str:
    subject = item.subject or "1"
    return f"UID_{subject}_{number}_1_{item.label or 'hem'}{item.path.suffix}"


@dataclass(frozen=True)
class Watched:
    """A process that has ended: how long it took, and its most memory (no mapped files), bytes."""

    seconds: float
    memory: int
    said: str


def watched(words: Sequence[str], every: float = 0.02) -> Watched:
    """Run a command and look at its memory as it runs (Linux only; 0 elsewhere).

    Raises:
        SystemExit: where the command fails, with what it said.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        list(words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    status, most = Path(f"/proc/{process.pid}/status"), 0
    while process.poll() is None:
        most = max(most, _anonymous(status))
        time.sleep(every)
    seconds = time.perf_counter() - began
    said = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} failed: {said}")
    return Watched(seconds, most, said)


def _anonymous(status: Path) -> int:
    try:
        text = status.read_text()
    except OSError:  # it has ended, or this is no Linux
        return 0
    lines = [line for line in text.splitlines() if line.startswith("RssAnon")]
    return int(lines[0].split()[1]) * 1024 if lines else 0
