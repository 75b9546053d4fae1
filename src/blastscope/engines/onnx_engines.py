"""ONNX Runtime and OpenVINO: the engines of bundles on a processor; they need no PyTorch.

OpenVINO is an optional extra, mainly for processors of Intel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from blastscope.engines.engine import Logits, cells_at_once, in_batches, joined
from blastscope.engines.onnx_checks import PIXELS, VIEW_LOGITS, read_graph
from blastscope.errors import BlastscopeError
from blastscope.parallel import busy, cores

if TYPE_CHECKING:
    from blastscope.data.crop import Pixels

_ERRORS_ONLY = 3


class _OnnxEngine:
    """A graph on the processor, in single precision."""

    name = ""
    reason_line = 0  # the line of an error of this engine that says what is wrong

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
            BlastscopeError: if the engine is not installed, or the model is refused
                (``engines.onnx_checks``) or cannot be loaded.
        """
        graph = read_graph(model, weights, source)
        self.views = graph.views  # the number of logits of a cell
        self.size = graph.size  # the side of the cells in pixels
        self._source = source
        with self._refusing("loaded"):
            # An engine's own count of cores ignores the limits of a container.
            self._run = self._load(graph.model, threads or cores())

    def view_logits(self, pixels: Pixels) -> Logits:
        """Return the logits (N, V) of cells (N, S, S, 3).

        Raises:
            BlastscopeError: if the model fails on them.
        """
        with self._refusing("run"):
            batches = in_batches(pixels, cells_at_once(self.views))
            return joined([self._run({PIXELS: cells}) for cells in batches], self.views)

    def _load(self, model: bytes, threads: int) -> Callable[[dict[str, Any]], Logits]:
        """Return the function that computes the logits of a batch."""
        raise NotImplementedError

    @contextmanager
    def _refusing(self, what: str) -> Iterator[None]:
        try:
            yield
        except BlastscopeError:
            raise
        except Exception as error:  # the errors of engines have no class in common but this
            reason = str(error).strip().split("\n")[self.reason_line].rstrip(".")
            raise BlastscopeError(
                f"{self._source} cannot be {what} by {self.name}: {reason}."
            ) from error


class OnnxRuntimeEngine(_OnnxEngine):
    """A graph in ONNX Runtime; several threads may call it at once."""

    name = "ONNX Runtime"

    def _load(self, model: bytes, threads: int) -> Callable[[dict[str, Any]], Logits]:
        session = onnx_session(model, threads)
        return lambda cells: session.run([VIEW_LOGITS], cells)[0]


def onnx_session(model: bytes, threads: int | None = None) -> Any:
    """Load a serialized model that was checked; ``threads``: None for all cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or cores()
    options.log_severity_level = _ERRORS_ONLY
    # Threads that spin while they wait are faster alone, and slower beside other work.
    spin = "0" if busy() else "1"
    options.add_session_config_entry("session.intra_op.allow_spinning", spin)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class OpenVinoEngine(_OnnxEngine):
    """A graph in OpenVINO."""

    name = "OpenVINO"
    reason_line = -1

    def _load(self, model: bytes, threads: int) -> Callable[[dict[str, Any]], Logits]:
        try:
            import openvino
        except ImportError as error:
            raise BlastscopeError(
                "OpenVINO is not installed: install it with pip install 'blastscope[openvino]'."
            ) from error
        # Without the hint it computes in bfloat16 if the processor can.
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(model), "CPU", settings)
        return lambda cells: compiled(cells)[VIEW_LOGITS].copy()
