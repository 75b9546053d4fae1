"""How time and memory grow with the work: prepare, split, evaluate, errors, predict.

Tables are drawn, and cells hard links to a few files under new names, from 1,000 rows up to
``--most``; each command runs in a process of its own. The exponent is fitted to the seconds (and
bytes) above those of the smallest work, so that starting up does not hide it: 1 is linear.

    python benchmarks/growth.py [--data DIR] [--most 1000000] [--most-pixels 100000] [--figure SVG]

Pixels are prepared at 64 px, and predicted on by ``demo/cnn-small``: files, not networks, are
what grows. They lie in the system's folder for temporary ones; TMPDIR names another.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from common import arguments, link_cells, machine, some_cells, table, watched

from blastscope.api.bundle import make_bundle
from blastscope.data.cell_table import CELLS, HASH
from blastscope.data.preparation import prepare
from blastscope.data.splits import make_split
from blastscope.data.store import StoreSettings
from blastscope.io.predictions import write_predictions
from blastscope.io.tables import write_table
from blastscope.recipes.library import load_recipe
from blastscope.training.train import train

SIZE = 64
CELLS_A_SUBJECT = 100
SHOWS = 0.2
"""The share of the smallest work's cost that has to come on top to be counted as growth."""
OF_PIXELS = ("prepare", "predict")


@dataclass(frozen=True)
class Point:
    """A command at one size of its work."""

    rows: int
    seconds: float
    memory: int


def main() -> None:
    parser = arguments(__doc__, 200)
    parser.add_argument("--most", type=int, default=1_000_000)
    parser.add_argument("--most-pixels", type=int, default=100_000)
    parser.add_argument("--only", nargs="+", choices=list(_COMMANDS), default=list(_COMMANDS))
    parser.add_argument("--figure", type=Path)
    asked = parser.parse_args()
    found: dict[str, list[Point]] = {name: [] for name in asked.only}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        chosen = some_cells(asked.data, asked.cells, place, bmp=True)
        _model(link_cells(chosen, len(chosen), place / "few"), place)
        for rows in _sizes(max(asked.most, asked.most_pixels)):
            work = place / str(rows)
            work.mkdir()
            if rows <= asked.most_pixels and set(asked.only) & set(OF_PIXELS):
                link_cells(chosen, rows, work / "cells")
            for name in asked.only:
                if rows <= (asked.most_pixels if name in OF_PIXELS else asked.most):
                    words = _COMMANDS[name](rows, work)
                    seen = watched([sys.executable, "-m", "blastscope", *words])
                    found[name].append(Point(rows, seen.seconds, seen.memory))
                    print(name, found[name][-1], file=sys.stderr, flush=True)
            shutil.rmtree(work)
    print(machine("polars", "numpy"))
    _show(found)
    if asked.figure:
        _draw(found, asked.figure)


def _sizes(most: int) -> Iterator[int]:
    rows = 1000
    while rows <= most:
        yield rows
        rows *= 10


def _prepare(rows: int, work: Path) -> list[str]:
    return ["prepare", str(work / "cells"), "--out", str(work / "store"), "--size", str(SIZE)]


def _predict(rows: int, work: Path) -> list[str]:
    model = str(work.parent / "bundle")
    out = str(work / "new.parquet")
    return ["predict", str(work / "cells"), "--model", model, "--out", out]


def _split(rows: int, work: Path) -> list[str]:
    place = {name: pl.lit(0, pl.Int32) for name in ("box_x", "box_y", "box_w", "box_h")}
    known = {"file": pl.col("cell") + ".bmp", "fold": pl.lit("1"), "pixel_hash": pl.col("cell")}
    flags = pl.lit([], dtype=pl.List(pl.String()))
    frame = _drawn(rows).with_columns(**known, **place, flags=flags).select(*CELLS.columns)
    write_table(frame, work / "cells.parquet", CELLS, {"synthetic": True, "pixel_hash": HASH})
    out = str(work / "split.parquet")
    return ["split", str(work / "cells.parquet"), "--protocol", "subject", "--out", out]


def _evaluate(rows: int, work: Path) -> list[str]:
    write_predictions(_drawn(rows), work / "a.parquet", {"synthetic": True})
    return ["evaluate", str(work / "a.parquet"), "--out", str(work / "judged")]


def _errors(rows: int, work: Path) -> list[str]:
    for seed, name in enumerate("ab"):
        path = work / f"{name}.parquet"
        write_predictions(_drawn(rows, name, seed), path, {"synthetic": True})
    tables = [str(work / f"{name}.parquet") for name in "ab"]
    return ["errors", *tables, "--out", str(work / "wrong")]


_COMMANDS: dict[str, Callable[[int, Path], list[str]]] = {
    "prepare": _prepare,
    "split": _split,
    "evaluate": _evaluate,
    "errors": _errors,
    "predict": _predict,
}


def _drawn(rows: int, model: str = "a", seed: int = 0) -> pl.DataFrame:
    """Draw a prediction table: every subject has ``CELLS_A_SUBJECT`` test cells."""
    rng = np.random.default_rng(seed)
    subject = np.arange(rows) // CELLS_A_SUBJECT
    is_all = subject % 3 > 0
    p_all = 1 / (1 + np.exp(-(rng.normal(1.5, 1, rows) * np.where(is_all, 1, -1))))
    return pl.DataFrame(
        {
            "cell": [f"UID_{'' if a else 'H'}{s}_{k}_1" for k, (s, a) in
                     enumerate(zip(subject, is_all, strict=True))],
            "subject": [f"{'' if a else 'H'}{s}" for s, a in zip(subject, is_all, strict=True)],
            "label": np.where(is_all, "all", "hem"),
            "part": "test",
            "model": f"{model} (synthetic)",
            "p_all": p_all,
        }
    )  # fmt: skip


def _model(cells: Path, place: Path) -> None:
    recipe = load_recipe("demo/cnn-small", [f"input.size={SIZE}", "training.epochs=1"])
    store = prepare([cells], place / "store", StoreSettings(size=SIZE)).path
    run = train(recipe, store, make_split(store, "image", 24)[0], place / "run").path
    make_bundle(run, place / "bundle")


def _show(found: dict[str, list[Point]]) -> None:
    sizes = sorted({point.rows for points in found.values() for point in points})
    rows = []
    for name, points in found.items():
        at = {point.rows: f"{point.seconds:.1f} s, {point.memory / 1e6:.0f} MB" for point in points}
        powers = [_exponent(points, kind) for kind in ("seconds", "memory")]
        rows.append([f"`{name}`", *(at.get(size, "") for size in sizes), *powers])
    columns = ["", *(f"{size:,} rows" for size in sizes), "exponent, time", "memory"]
    table("Cost as work grows", columns, rows)


def _exponent(points: list[Point], kind: str) -> str:
    """Fit the power of what comes on top of the smallest work, if that is not mere noise."""
    base, *more = points
    rows = np.array([point.rows - base.rows for point in more], float)
    above = np.array([getattr(point, kind) - getattr(base, kind) for point in more], float)
    good = above > SHOWS * getattr(base, kind)
    if good.sum() < 2:
        return "flat" if kind == "memory" and not good.any() else ""
    return f"{np.polyfit(np.log(rows[good]), np.log(above[good]), 1)[0]:.2f}"


def _draw(found: dict[str, list[Point]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    time, memory = figure.subplots(1, 2)
    for name, points in found.items():
        rows = [point.rows for point in points]
        time.loglog(rows, [point.seconds for point in points], "o-", label=name)
        memory.loglog(rows, [point.memory / 1e6 for point in points], "o-", label=name)
    time.set(xlabel="rows", ylabel="seconds, from the start of the process")
    memory.set(xlabel="rows", ylabel="most memory, MB")
    for axes in (time, memory):
        axes.grid(visible=True, which="major", alpha=0.3)
    time.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
