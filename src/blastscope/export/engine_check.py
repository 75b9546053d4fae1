"""Check that engines agree on real cells, and measure how fast they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray

from blastscope.data.crop import Pixels
from blastscope.engines.engine import Engine, mean_probability
from blastscope.engines.onnx_engines import OnnxRuntimeEngine, OpenVinoEngine
from blastscope.engines.torch_engine import TorchEngine
from blastscope.errors import BlastscopeError
from blastscope.training.finished_run import FinishedRun

AGREES = 1e-4
"""The largest difference of p(ALL) that is tolerated. Another order of sums in single precision
makes 1e-6, a wrong normalization or view 1e-2 and more."""


@dataclass(frozen=True)
class EngineMeasurement:
    """What an engine did on the cells."""

    engine: str  # its name
    cells: int  # how many there were
    # The largest difference of p(ALL) from PyTorch's; None for PyTorch itself.
    difference: float | None
    cells_per_second: float  # its speed, all views of a cell included
    load_seconds: float  # from weights or file to a loaded engine


@dataclass(frozen=True)
class Timed:
    """The probabilities that an engine gave, (N,), and how long it took."""

    engine: str
    p_all: NDArray[np.float64]
    cells_per_second: float
    load_seconds: float


def timed(load: Callable[[], Engine], pixels: Pixels) -> Timed:
    """Load an engine and predict every cell, after one that is not counted."""
    start = time.perf_counter()
    engine = load()
    loaded = time.perf_counter()
    engine.view_logits(pixels[:1])
    begun = time.perf_counter()
    p_all = mean_probability(engine.view_logits(pixels))
    seconds = time.perf_counter() - begun
    return Timed(engine.name, p_all, len(pixels) / seconds, loaded - start)


def compare_engines(
    run: FinishedRun, model: bytes, pixels: Pixels
) -> tuple[EngineMeasurement, ...]:
    """Predict prepared cells (N, S, S, 3) in PyTorch, ONNX Runtime and, if installed, OpenVINO.

    ``model`` is the run's network as an ONNX file that stands alone.
    """
    views, cpu = run.recipe.prediction.views, torch.device("cpu")
    loads: list[Callable[[], Engine]] = [lambda: OnnxRuntimeEngine(model)]
    if find_spec("openvino"):
        loads.append(lambda: OpenVinoEngine(model))
    reference = timed(lambda: TorchEngine(run.classifier(), views, cpu), pixels)
    found = [_measured(reference, None)]
    for load in loads:
        one = timed(load, pixels)
        found.append(_measured(one, float(np.abs(one.p_all - reference.p_all).max())))
    return tuple(found)


def _measured(one: Timed, difference: float | None) -> EngineMeasurement:
    return EngineMeasurement(
        one.engine, len(one.p_all), difference, one.cells_per_second, one.load_seconds
    )


def refuse_difference(run: FinishedRun, measured: Sequence[EngineMeasurement]) -> None:
    """Refuse engines that do not agree.

    Raises:
        BlastscopeError: if one differs from PyTorch by ``AGREES`` or more, or is not finite.
    """
    for one in measured:
        if one.difference is not None and not one.difference < AGREES:
            raise BlastscopeError(
                f"The probabilities of {run.path} differ between {one.engine} and PyTorch by up to "
                f"{one.difference:.2g} on {one.cells} cells, and less than {AGREES:g} is allowed: "
                "report this network; nothing was written."
            )
