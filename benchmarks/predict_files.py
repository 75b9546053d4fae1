"""Prediction from image files to a table, against a plain loop and against the engine alone.

Rival: PyTorch as it is usually written: one file after the other is decoded, found and prepared
(with the package's own functions), batches of 32 go through the same network, eager. Limit: ONNX
Runtime on cells that are prepared already and lie in memory. A fresh process is timed as well,
from its start to the answer for one file.

    python benchmarks/predict_files.py [--model BUNDLE] [--data DIR] [--cells 512] [--threads N]

Without ``--data`` synthetic cells are drawn; without ``--model`` it is the model in the box.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from blastscope.box import in_the_box
from blastscope.cells.images import read_image
from blastscope.cells.layouts import list_cells
from blastscope.cells.locate import locate
from blastscope.cells.synthetic import write_synthetic
from blastscope.engines.engine import mean_probability
from blastscope.engines.onnx_runtime import OnnxRuntimeEngine
from blastscope.engines.torch_engine import TorchEngine
from blastscope.predict.predict import predict
from blastscope.predict.runs import FinishedRun
from blastscope.predict.voters import open_network
from blastscope.prepare.pixels import Pixels, prepared

BATCH = 32


def main() -> None:
    asked = _arguments()
    if asked.threads:
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: asked.threads]))
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = asked.model or in_the_box()
    run = open_network(model)
    with _files(asked.data, asked.cells) as files:
        pixels = np.stack([_prepare(run, path) for path in files])
        rows = [
            ("engine alone, cells in memory", *_best(lambda: _engine_alone(run, pixels))),
            ("blastscope predict, from files", *_best(lambda: _ours(model, files))),
            ("plain PyTorch loop, from files", *_best(lambda: _plain(run, files))),
        ]
        fresh = min(_fresh(model, files[0]) for _ in range(3))
    limit, said = rows[0][1], rows[0][2]
    table = Table("", "cells/s", "of the engine alone", "max |Δp|")
    for name, seconds, p in rows:
        speed = len(files) / seconds
        table.add_row(
            name, f"{speed:.0f}", f"{limit / seconds:.0%}", f"{np.abs(p - said).max():.1e}"
        )
    console = Console()
    console.print(
        f"{len(files)} files, {len(os.sched_getaffinity(0))} cores; {run.recipe.model.backbone} "
        f"at {run.settings.size} pixels, views: {run.recipe.prediction.views}; the best of three"
    )
    console.print(table)
    console.print(
        f"ahead of the plain loop {rows[2][1] / rows[1][1]:.2f}×; a fresh process answers for one "
        f"file in {fresh:.2f} s"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--cells", type=int, default=512)
    parser.add_argument("--threads", type=int, help="how many cores may be used")
    return parser.parse_args()


@contextmanager
def _files(data: Path | None, cells: int) -> Iterator[list[Path]]:
    """Yield image files, so many at most, evenly from all."""
    with tempfile.TemporaryDirectory() as folder:
        if data is None:
            data = Path(folder) / "cells"
            write_synthetic(data, cells, 16, 24)
        found = [item.path for item in list_cells([data]).cells]
        yield found[:: max(1, len(found) // cells)][:cells]


def _best(work: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        found = work()
        taken.append(time.perf_counter() - began)
    return min(taken), found


def _prepare(run: FinishedRun, path: Path) -> Pixels:
    settings, pixels = run.settings, read_image(path).pixels
    box = locate(pixels, settings.contour).box
    return prepared(pixels, box, settings.size, settings.scale, settings.clahe)


def _engine_alone(run: FinishedRun, pixels: Pixels) -> np.ndarray:
    engine = _loaded(run)
    return mean_probability(engine.view_logits(pixels))


_ENGINES: dict[Path, OnnxRuntimeEngine] = {}


def _loaded(run: FinishedRun) -> OnnxRuntimeEngine:
    """Load once: the limit has nothing but the computing."""
    if run.path not in _ENGINES:
        _ENGINES[run.path] = OnnxRuntimeEngine(run.onnx(), run.weights())  # type: ignore[attr-defined]
    return _ENGINES[run.path]


def _ours(model: Path, files: Sequence[Path]) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        made = predict(list(files), [model], Path(folder) / "new.parquet", engine="onnxruntime")
    column = "p_raw" if "p_raw" in made.frame.columns else "p_all"
    return made.frame[column].to_numpy()


def _plain(run: FinishedRun, files: Sequence[Path]) -> np.ndarray:
    engine = TorchEngine(run.classifier(), run.recipe.prediction.views, torch.device("cpu"))
    said = []
    for first in range(0, len(files), BATCH):
        batch = np.stack([_prepare(run, path) for path in files[first : first + BATCH]])
        said.append(mean_probability(engine.view_logits(batch)))
    return np.concatenate(said)


def _fresh(model: Path, file: Path) -> float:
    """Time a process of its own, from its start to its end."""
    words = [sys.executable, "-m", "blastscope", "predict", str(file), "--model", str(model)]
    began = time.perf_counter()
    subprocess.run([*words, "--out", "-"], check=True, capture_output=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
