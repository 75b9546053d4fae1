"""ONNX Runtime: the engine of bundles on a processor; it needs no PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blastscope.engines.engine import Logits, cells_at_once, in_batches, joined
from blastscope.engines.onnx_checks import PIXELS, VIEW_LOGITS, read_graph
from blastscope.errors import BlastscopeError
from blastscope.parallel import cores

if TYPE_CHECKING:
    from blastscope.data.crop import Pixels

_ERRORS_ONLY = 3


class OnnxRuntimeEngine:
    """A graph in ONNX Runtime, on the processor.

    Attributes:
        name: ``ONNX Runtime``.
        views: the number of logits of a cell.
        size: the side of the cells in pixels.
    """

    name = "ONNX Runtime"

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
            BlastscopeError: if the model is refused (``engines.onnx_checks``) or cannot be loaded.
        """
        import onnxruntime

        graph = read_graph(model, weights, source)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = (
            threads or cores()
        )  # its own count ignores the limits of a container
        options.log_severity_level = _ERRORS_ONLY
        try:
            self._session = onnxruntime.InferenceSession(
                graph.model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors have no class in common but this
            raise _refused(error, source, "loaded") from error
        self.views, self.size = graph.views, graph.size
        self._source = source

    def view_logits(self, pixels: Pixels) -> Logits:
        """Return the logits (N, V) of cells (N, S, S, 3); several threads may call it at once.

        Raises:
            BlastscopeError: if the model fails on them.
        """
        try:
            found = [
                self._session.run([VIEW_LOGITS], {PIXELS: cells})[0]
                for cells in in_batches(pixels, cells_at_once(self.views))
            ]
            return joined(found, self.views)
        except Exception as error:
            raise _refused(error, self._source, "run") from error


def _refused(error: Exception, source: str, what: str) -> BlastscopeError:
    reason = str(error).strip().partition("\n")[0].rstrip(".")
    return BlastscopeError(f"{source} cannot be {what} by ONNX Runtime: {reason}.")
