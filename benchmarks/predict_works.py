"""What ``predict_files.py`` compares, each run in a process of its own."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from blastscope.data.crop import Pixels, locate, prepared
from blastscope.data.images import read_image
from blastscope.engines.engine import mean_probability
from blastscope.prediction.members import open_network
from blastscope.process import tune_process
from blastscope.training.finished_run import FinishedRun

BATCH, SINGLE = 32, 48


def engine(model: Path, place: Path, *, single: bool = False) -> float:
    """Ask ONNX Runtime for cells that lie in memory."""
    from blastscope.engines.onnx_engines import OnnxRuntimeEngine

    run = open_network(model)
    loaded = OnnxRuntimeEngine(run.onnx(), run.weights())  # type: ignore[attr-defined]
    return _asked(loaded.view_logits, np.load(place / "prepared.npy"), single=single)


def _asked(ask: Callable[[Pixels], object], cells: Pixels, *, single: bool) -> float:
    ask(cells[:2])
    began = time.perf_counter()
    if not single:
        ask(cells)
        return len(cells) / (time.perf_counter() - began)
    for cell in cells[:SINGLE]:
        ask(cell[None])
    return min(SINGLE, len(cells)) / (time.perf_counter() - began)


def ours(model: Path, place: Path) -> float:
    """Run the command's function, from files to a table."""
    from blastscope.prediction.predict import predict

    tune_process()
    files = _files(place)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        predict(files, [model], Path(folder) / "new.parquet", engine="onnxruntime")
        return len(files) / (time.perf_counter() - began)


def ours_single(model: Path, place: Path) -> float:
    """Load a model once and give it a path at a time."""
    from blastscope import load

    tune_process()
    files, loaded = _files(place)[:SINGLE], load(model, engine="onnxruntime")
    loaded.predict(files[0])
    began = time.perf_counter()
    for file in files:
        loaded.predict(file)
    return len(files) / (time.perf_counter() - began)


def torch_loop(model: Path, place: Path, batch: int = BATCH, most: int | None = None) -> float:
    """Read, prepare and ask an eager network, a batch after the other, as a notebook does."""
    import torch

    run, files = open_network(model), _files(place)[:most]
    network, views = run.classifier().eval(), run.recipe.prediction.views
    from blastscope.models.dihedral import count_views, dihedral_view

    said = []
    with torch.inference_mode():
        network(torch.zeros(2, 3, run.settings.size, run.settings.size, dtype=torch.uint8))
        began = time.perf_counter()
        for first in range(0, len(files), batch):
            cells = np.stack([_prepare(run, file) for file in files[first : first + batch]])
            pixels = torch.from_numpy(cells).permute(0, 3, 1, 2)
            ways = range(count_views(views))
            logits = torch.stack([network(dihedral_view(pixels, k)) for k in ways], 1)
            said.append(mean_probability(logits.numpy()))
    return len(files) / (time.perf_counter() - began)


def store(model: Path, place: Path) -> float:
    """Prepare the cells as the model needs them, for works that take them from memory."""
    run, files = open_network(model), _files(place)
    np.save(place / "prepared.npy", np.stack([_prepare(run, file) for file in files]))
    return float(len(files))


def int8(model: Path, place: Path, *, form: str) -> float:
    """Ask ONNX Runtime for cells in memory, in single precision or in eight bits."""
    from blastscope.engines.onnx_engines import OnnxRuntimeEngine

    content = _forms(model, place)[form]
    cells = np.load(place / "prepared.npy")
    return max(_asked(OnnxRuntimeEngine(content).view_logits, cells, single=False) for _ in "abc")


def int8_cost(model: Path, place: Path) -> str:
    """Say what eight bits cost on the labelled cells."""
    from blastscope.data.layouts import list_cells
    from blastscope.export.quantization import int8_cost

    forms, cells = _forms(model, place), np.load(place / "prepared.npy")
    truth = np.array([item.label == "all" for item in list_cells([place / "cells"]).cells])
    rest = slice(None, None, 2)  # the others set its ranges
    full, small = int8_cost(forms["fp32"], forms["int8"], cells[rest], truth[rest])
    return (
        f"On {full.cells} labelled cells that set no range: AUC {full.auc:.4f} in single precision,"
        f" {small.auc:.4f} in int8 ({full.auc - small.auc:+.4f} lost); p(ALL) moves by "
        f"{small.mean_difference:.4f} on average and {small.difference:.4f} at most; "
        f"{full.megabytes:.1f} and {small.megabytes:.1f} MB.\n"
    )


def _forms(model: Path, place: Path) -> dict[str, bytes]:
    """Make, or read, both forms of the network as files that stand alone."""
    from blastscope.export.onnx_graph import onnx_graph
    from blastscope.export.quantization import quantize

    paths = {form: place / f"{form}.onnx" for form in ("fp32", "int8")}
    if not paths["int8"].is_file():
        run, cells = open_network(model), np.load(place / "prepared.npy")
        views = run.recipe.prediction.views
        full = onnx_graph(run.classifier(), views, run.settings.size)
        paths["fp32"].write_bytes(full)
        some = cells[1::2][:256]
        paths["int8"].write_bytes(quantize(full, some, 8 if views == "dihedral" else 1))
    return {form: path.read_bytes() for form, path in paths.items()}


def _files(place: Path) -> list[Path]:
    from blastscope.data.layouts import list_cells

    return [item.path for item in list_cells([place / "cells"]).cells]


def _prepare(run: FinishedRun, path: Path) -> Pixels:
    settings, pixels = run.settings, read_image(path).pixels
    box = locate(pixels, settings.contour).box
    return prepared(pixels, box, settings.size, settings.scale, settings.clahe)


WORKS: dict[str, Callable[[Path, Path], str | float]] = {
    "engine": engine,
    "engine-single": partial(engine, single=True),
    "ours": ours,
    "ours-single": ours_single,
    "torch": torch_loop,
    "torch-single": partial(torch_loop, batch=1, most=SINGLE),
    "store": store,
    "int8-fp32": partial(int8, form="fp32"),
    "int8-int8": partial(int8, form="int8"),
    "int8-cost": int8_cost,
}
