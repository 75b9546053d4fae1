"""How long commands take to begin, against Python itself, and which of them load PyTorch.

Limit: ``python -c pass``. Every command runs in a process of its own, the best of several.

    python benchmarks/start.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from common import machine, table

from blastscope.box import in_the_box
from blastscope.data.preparation import prepare
from blastscope.data.synthetic import write_synthetic

HEAVY = ("torch", "lightning", "sklearn", "timm", "cv2", "matplotlib", "polars", "scipy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_synthetic(place / "cells", 12, 6, 24)
        prepare([place / "cells"], place / "store")
        rows = [_row("python -c pass", [sys.executable, "-c", "pass"], None, asked.rounds)]
        for words in _commands(place):
            name = " ".join(Path(word).name for word in words[:2])
            command = [sys.executable, "-m", "blastscope", *words]
            rows.append(_row(f"blastscope {name}", command, words, asked.rounds))
    print(machine())
    table(
        "From the start of a process to its end",
        ["", "seconds", "of the large libraries it loads"],
        rows,
        f"the best of {asked.rounds}; twelve synthetic cells if a command needs some",
    )


def _commands(place: Path) -> list[list[str]]:
    cells, store, new = (str(place / name) for name in ("cells", "store", "new"))
    image = str(next((place / "cells").rglob("*.bmp")))
    table_of = str(place / "new.csv")
    return [
        ["--help"],
        ["--version"],
        ["train", "--help"],
        ["recipes"],
        ["check", cells],
        ["prepare", cells, "--out", new, "--force"],
        ["split", store, "--protocol", "image", "--seed", "25"],
        ["inspect", str(in_the_box())],
        ["predict", image, "--out", table_of, "--force"],
        ["evaluate", table_of, "--out", str(place / "judged")],
    ]


def _row(name: str, command: Sequence[str], words: Sequence[str] | None, rounds: int) -> list[str]:
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True)
        taken.append(time.perf_counter() - began)
        if done.returncode:
            raise SystemExit(f"{name} failed: {done.stderr}")
    return [f"`{name}`", f"{min(taken):.2f}", "" if words is None else ", ".join(_loaded(words))]


def _loaded(words: Sequence[str]) -> list[str]:
    """Run a command in a process that says at its end which large libraries it has."""
    code = (
        "import sys\ntry:\n    from blastscope.cli import main\n    main()\nfinally:\n"
        f"    print('loaded', *(n for n in {HEAVY!r} if n in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    return done.stderr.rpartition("loaded")[2].split()


if __name__ == "__main__":
    main()
