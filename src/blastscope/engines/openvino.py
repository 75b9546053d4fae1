"""OpenVINO: another engine for processors, mainly those of Intel; an optional extra."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blastscope.engines.engine import Logits, cells_at_once, in_batches, joined
from blastscope.engines.onnx_checks import PIXELS, VIEW_LOGITS, read_graph
from blastscope.errors import BlastscopeError
from blastscope.parallel import cores

if TYPE_CHECKING:
    from blastscope.data.crop import Pixels


class OpenVinoEngine:
    """A graph in OpenVINO, on the processor, in single precision.

    Attributes:
        name: ``OpenVINO``.
        views: the number of logits of a cell.
        size: the side of the cells in pixels.
    """

    name = "OpenVINO"

    def __init__(
        self,
        model: bytes,
        weights: bytes | None = None,
        threads: int | None = None,
        source: str = "model.onnx",
    ) -> None:
        """Load a model from memory; no file is read.

        Args:
            model: the content of the ONNX file.
            weights: the content of the ``weights.safetensors`` that it points into.
            threads: how many cores may work on it; None for all.
            source: its name in messages.

        Raises:
            BlastscopeError: if OpenVINO is not installed, or the model is refused (see
                ``engines.onnx_checks``) or cannot be loaded.
        """
        try:
            import openvino
        except ImportError as error:
            raise BlastscopeError(
                "OpenVINO is not installed: install it with pip install 'blastscope[openvino]'."
            ) from error
        graph = read_graph(model, weights, source)
        # Without this it computes in bfloat16 if the processor can.
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads or cores()}
        try:
            core = openvino.Core()
            self._compiled = core.compile_model(core.read_model(graph.model), "CPU", settings)
        except Exception as error:  # its errors have no class in common but this
            raise _refused(error, source, "loaded") from error
        self.views, self.size = graph.views, graph.size
        self._source = source

    def view_logits(self, pixels: Pixels) -> Logits:
        """Return the logits (N, V) of cells (N, S, S, 3).

        Raises:
            BlastscopeError: if the model fails on them.
        """
        try:
            found = [
                self._compiled({PIXELS: cells})[VIEW_LOGITS].copy()
                for cells in in_batches(pixels, cells_at_once(self.views))
            ]
            return joined(found, self.views)
        except Exception as error:
            raise _refused(error, self._source, "run") from error


def _refused(error: Exception, source: str, what: str) -> BlastscopeError:
    reason = str(error).strip().rpartition("\n")[2].rstrip(".")
    return BlastscopeError(f"{source} cannot be {what} by OpenVINO: {reason}.")
