"""Quantize a graph to eight bits, and measure what that costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from blastscope.data.crop import Pixels
from blastscope.engines.engine import cells_at_once, in_batches
from blastscope.engines.onnx_checks import PIXELS
from blastscope.engines.onnx_engines import OnnxRuntimeEngine
from blastscope.errors import BlastscopeError
from blastscope.evaluation.metrics import compute_metrics
from blastscope.export.engine_check import Timed, timed
from blastscope.process import quiet

if TYPE_CHECKING:
    from onnx import ModelProto


_WEIGHTED = ("Conv", "Gemm", "MatMul")
_QUANTISED = [*_WEIGHTED, "Add", "MaxPool", "Clip", "Relu"]


@dataclass(frozen=True)
class PrecisionCost:
    """A form of a network on labelled cells."""

    form: str  # ``fp32`` or ``int8``
    megabytes: float  # the size of its file, in millions of bytes
    cells: int  # how many there were
    weighted_f1: float  # called ALL above one half
    auc: float | None  # None if the cells are of one class
    difference: float | None  # the largest difference of p(ALL) from fp32; None of fp32 itself
    mean_difference: float | None  # likewise, the mean
    cells_per_second: float  # in ONNX Runtime, all views of a cell included


def quantize(model: bytes, pixels: Pixels, views: int) -> bytes:
    """Return a graph whose later layers work in eight bits (static quantization, QDQ).

    The first quarter of the convolutions and dense layers stays in single precision: it holds few
    of the weights and makes most of the error (docs/export.md). Weights are signed and scaled by
    channel; what passes between layers is unsigned, in the range that it has on the prepared cells
    ``pixels``, (N, S, S, 3). The model of ``export.onnx_graph`` must stand alone.

    Raises:
        BlastscopeError: if the network cannot be quantized.
    """
    from onnx import ModelProto
    from onnxruntime import quantization as q
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(q.CalibrationDataReader):  # type: ignore[misc]
        """Hands the cells over a batch at a time."""

        def __init__(self) -> None:
            self.batches = in_batches(pixels, cells_at_once(views))

        def get_next(self) -> dict[str, Any] | None:
            return next(({PIXELS: batch} for batch in self.batches), None)

    with TemporaryDirectory(prefix="blastscope-") as folder, quiet("root"):
        whole, joined, small = (Path(folder) / f"{n}.onnx" for n in ("whole", "joined", "small"))
        whole.write_bytes(model)
        try:
            # Joins each convolution with its BatchNorm, so that they are rounded once.
            quant_pre_process(str(whole), str(joined), skip_symbolic_shape=True)
            q.quantize_static(
                joined,
                small,
                Reader(),
                quant_format=q.QuantFormat.QDQ,
                op_types_to_quantize=_QUANTISED,
                nodes_to_exclude=_early(ModelProto.FromString(joined.read_bytes())),
                per_channel=True,
                activation_type=q.QuantType.QUInt8,
                weight_type=q.QuantType.QInt8,
            )
        except Exception as error:  # it raises what its many parts raise
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            raise BlastscopeError(f"The network cannot be written in int8: {reason}.") from error
        proto = ModelProto.FromString(small.read_bytes())
    _only_standard_opset(proto)
    return bytes(proto.SerializeToString(deterministic=True))


def _early(model: ModelProto) -> list[str]:
    """Return the names of the nodes before the second quarter of those that have weights."""
    nodes = list(model.graph.node)
    weighted = [k for k, node in enumerate(nodes) if node.op_type in _WEIGHTED]
    first = weighted[len(weighted) // 4] if weighted else len(nodes)
    return [node.name for node in nodes[:first]]


def _only_standard_opset(proto: ModelProto) -> None:
    """Drop the opsets that were named and are not used; an engine refuses them."""
    used = {node.domain for node in proto.graph.node}
    kept = [opset for opset in proto.opset_import if opset.domain in used]
    del proto.opset_import[:]
    proto.opset_import.extend(kept)


def int8_cost(
    full: bytes, small: bytes, pixels: Pixels, is_all: NDArray[np.bool_]
) -> tuple[PrecisionCost, PrecisionCost]:
    """Measure a network in single precision and in int8 on labelled cells (N, S, S, 3).

    The cells must set no range of int8; ``is_all`` is the truth, (N,).
    """
    before = timed(lambda: OnnxRuntimeEngine(full), pixels)
    after = timed(lambda: OnnxRuntimeEngine(small), pixels)
    off = np.abs(after.p_all - before.p_all)

    def cost(form: str, model: bytes, one: Timed) -> PrecisionCost:
        metrics, differs = compute_metrics(is_all, one.p_all), form == "int8"
        auc = metrics["auc"]
        return PrecisionCost(
            form=form,
            megabytes=len(model) / 1e6,
            cells=len(is_all),
            weighted_f1=float(metrics["weighted_f1"] or 0),
            auc=None if auc is None else float(auc),
            difference=float(off.max()) if differs else None,
            mean_difference=float(off.mean()) if differs else None,
            cells_per_second=one.cells_per_second,
        )

    return cost("fp32", full, before), cost("int8", small, after)
