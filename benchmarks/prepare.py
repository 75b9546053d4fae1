"""Preparing 450 × 450 BMPs, against a plain OpenCV loop and against decoding alone.

Rival: the paper's way (section 3.1), one image after the other: read, grey, threshold, first
contour, square crop, resize, into an array in memory. Once as it is usually written
(``cv2.resize`` as it comes, bilinear), once resizing by area as ``prepare`` does, so that
chromatin does not alias. Limit: reading and decoding the same files on all cores, and nothing
else. Everything runs in processes of their own, files warm, in turn.

    python benchmarks/prepare.py [--data DIR] [--cells 3000] [--many 20000]

Files lie in the system's folder for temporary ones, some 5 GB; TMPDIR names another.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from common import arguments, link_cells, machine, some_cells, table, watched

from blastscope.data.layouts import CellFile
from blastscope.parallel import cores
from blastscope.process import tune_process

SIZE = 224
ROUNDS = 3
FEW = 1000


def main() -> None:
    if sys.argv[1:2] == ["--work"]:
        _work(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), sys.argv[5:])
        return
    parser = arguments(__doc__, 3000)
    parser.add_argument("--many", type=int, default=20000, help="cells of the look at memory")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        chosen = some_cells(asked.data, asked.cells, place, bmp=True)
        cells = link_cells(chosen, len(chosen), place / "cells")
        print(machine("opencv-python-headless", "numpy"))
        _speed(cells, len(chosen), place)
        _memory(chosen, asked.many, place)


def _speed(cells: Path, count: int, place: Path) -> None:
    rows = []
    for clahe in (False, True):
        flags = ["--clahe"] * clahe
        best = _best(cells, place, flags)
        limit, ours = best["decode"], best["prepare"]
        for what, name in _NAMES.items():
            if what == "decode" and clahe:
                continue
            told = [f"{count / best[what]:,.0f}", f"{limit / best[what]:.0%}"]
            told.append("" if what in ("prepare", "decode") else f"{best[what] / ours:.2f}×")
            rows.append([name + ", CLAHE" * clahe, *told])
    table(
        f"`prepare`: {count:,} BMPs of 450 × 450 to {SIZE} px, {cores()} cores",
        ["", "cells/s", "of decoding", "prepare is ahead by"],
        rows,
        f"the best of {ROUNDS}, files in the system's cache, start of the process not counted",
    )


_NAMES = {
    "decode": "reading and decoding alone, all cores",
    "prepare": "`prepare`: hash, box, flags, store on disk, resumable",
    "loop": "plain loop, bilinear, into memory",
    "loop-area": "plain loop, by area, into memory",
}


def _best(cells: Path, place: Path, flags: Sequence[str]) -> dict[str, float]:
    best = dict.fromkeys(_NAMES, float("inf"))
    for _ in range(ROUNDS):
        for what in best:
            shutil.rmtree(place / "store", ignore_errors=True)
            words = [sys.executable, __file__, "--work", what, str(cells), str(place / "store")]
            best[what] = min(best[what], float(watched([*words, *flags]).said))
    return best


def _memory(chosen: Sequence[CellFile], many: int, place: Path) -> None:
    rows = []
    for count in (FEW, many):
        cells = link_cells(chosen, count, place / f"cells-{count}")
        words = [sys.executable, __file__, "--work", "prepare", str(cells), str(place / "flat")]
        seen = watched(words)
        rows.append([f"{count:,}", f"{count / float(seen.said):,.0f}", f"{seen.memory / 1e6:.0f}"])
        shutil.rmtree(place / "flat")
    table(
        "Memory of `prepare`",
        ["cells", "cells/s", "most memory, MB"],
        rows,
        "memory without the pages of the store's own file, which the system may drop at any time",
    )


def _work(what: str, cells: Path, out: Path, flags: Sequence[str]) -> None:
    """Do one of the things that are compared, in this process, and print its seconds."""
    files = sorted(map(str, cells.rglob("*.bmp")))
    clahe = "--clahe" in flags
    if what == "decode":
        tune_process()  # so that the limit is one
        began = time.perf_counter()
        with ThreadPoolExecutor(cores()) as pool:
            list(pool.map(_decode, [files[k : k + 64] for k in range(0, len(files), 64)]))
    elif what == "prepare":
        from blastscope.data.preparation import prepare
        from blastscope.data.store import StoreSettings

        tune_process()
        began = time.perf_counter()
        prepare([cells], out, StoreSettings(size=SIZE, clahe=clahe))
    else:
        began = time.perf_counter()
        _loop(files, clahe, cv2.INTER_AREA if what == "loop-area" else cv2.INTER_LINEAR)
    print(time.perf_counter() - began)


def _decode(files: Sequence[str]) -> None:
    for file in files:
        cv2.imread(file)


def _loop(files: Sequence[str], clahe: bool, how: int) -> None:
    prepared = np.empty((len(files), SIZE, SIZE, 3), np.uint8)
    for place, file in enumerate(files):
        image = cv2.imread(file)
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        _, mask = cv2.threshold(grey, 1, 255, cv2.THRESH_BINARY)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        x, y, w, h = cv2.boundingRect(contours[0])
        side = max(w, h)
        top, left = (side - h) // 2, (side - w) // 2
        square = np.zeros((side, side, 3), np.uint8)
        square[top : top + h, left : left + w] = image[y : y + h, x : x + w]
        if clahe:
            yuv = cv2.cvtColor(square, cv2.COLOR_BGR2YUV)
            equalise = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8))
            yuv[:, :, 0] = equalise.apply(yuv[:, :, 0])
            square = cv2.cvtColor(yuv, cv2.COLOR_YUV2BGR)
        shrinks = side > SIZE
        prepared[place] = cv2.resize(
            square, (SIZE, SIZE), interpolation=how if shrinks else cv2.INTER_LINEAR
        )


if __name__ == "__main__":
    main()
