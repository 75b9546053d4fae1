"""The last layer of a network in an ONNX graph: read it, compute what it takes, replace it.

A network of this package ends in one linear layer with one output, the logit, to which a term of
the cell's size may be added. What that layer takes are the features of a cell. Everything here
works without PyTorch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from blastscope.engines.engine import cells_at_once, in_batches
from blastscope.engines.onnx_checks import PIXELS, VIEW_LOGITS, WEIGHTS, read_graph
from blastscope.engines.onnx_engines import onnx_session
from blastscope.errors import BlastscopeError

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto

    from blastscope.data.crop import Pixels

Floats = NDArray[np.float64]
WEIGHT, BIAS = "head.logit.weight", "head.logit.bias"
"""The layer's tensors in ``weights.safetensors``."""
_SHAPES_ONLY = ("Reshape", "Squeeze")
_KINDS = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2")}


@dataclass(frozen=True)
class LastLayer:
    """A linear layer with one output: ``features @ weight + bias`` is the logit."""

    weight: Floats  # shape (features,)
    bias: float

    def logits(self, features: Floats) -> Floats:
        """Return the logits (N,) of features (N, F)."""
        found: Floats = features @ self.weight + self.bias
        return found


@dataclass(frozen=True)
class Features:
    """What a network computes of N cells, each the mean over its V views."""

    values: Floats  # what the last layer takes, shape (N, F)
    logits: Floats  # shape (N,), what is added included
    added: Floats  # what is added to that of the last layer, shape (N,)


class FeatureEngine:
    """A graph in ONNX Runtime that also gives what its last layer takes."""

    def __init__(self, model: bytes, weights: bytes, source: str = "model.onnx") -> None:
        """Load a bundle's graph.

        Args:
            model: the content of ``model.onnx``.
            weights: the content of ``weights.safetensors``.
            source: the graph's name in messages.

        Raises:
            BlastscopeError: if the graph is refused, or does not end in a layer as above.
        """
        from onnx import ModelProto, TensorProto, helper

        graph = read_graph(model, weights, source)
        proto = ModelProto.FromString(graph.model)
        gemm, self._adds = _last_gemm(proto.graph, source)
        self.layer = LastLayer(*_values(proto.graph, gemm, source))
        self.views = graph.views
        takes = gemm.input[0]
        if takes not in {value.name for value in proto.graph.output}:
            value = helper.make_tensor_value_info(takes, TensorProto.FLOAT, None)
            proto.graph.output.append(value)
        self._names = [VIEW_LOGITS, takes]
        self._session = onnx_session(proto.SerializeToString())

    def compute(self, pixels: Pixels) -> Features:
        """Compute prepared cells (N, S, S, 3)."""
        values, logits = [np.empty((0, len(self.layer.weight)))], [np.empty(0)]
        for cells in in_batches(pixels, cells_at_once(self.views)):
            of_views, taken = self._session.run(self._names, {PIXELS: cells})
            wide = np.asarray(taken, np.float64).reshape(len(cells), self.views, -1)
            values.append(wide.mean(1))
            logits.append(np.asarray(of_views, np.float64).mean(1))
        found, whole = np.concatenate(values), np.concatenate(logits)
        added = whole - self.layer.logits(found) if self._adds else np.zeros(len(whole))
        return Features(found, whole, added)


def replace_last_layer(
    model: bytes, weights: bytes, layer: LastLayer, source: str = "model.onnx"
) -> tuple[bytes, bytes]:
    """Return a bundle's graph and weights with another last layer, in the precision they have.

    Raises:
        BlastscopeError: if the graph does not end in a layer as above, its weights are not those of
            ``weights``, or the new ones are too large for their precision.
    """
    from onnx import ModelProto

    proto = ModelProto.FromString(model)
    graph = proto.graph
    gemm, _ = _last_gemm(graph, source)
    places, changed = _places(weights), bytearray(weights)
    for name, held, values in (
        (WEIGHT, _tensor(graph, gemm.input[1]), layer.weight),
        (BIAS, _tensor(graph, gemm.input[2]), np.array([layer.bias])),
    ):
        if name not in places or held is None:
            raise _other_end(source)
        kind, first, last = places[name]
        with np.errstate(over="ignore"):
            written = values.astype(kind)
        if not np.isfinite(written).all():
            raise BlastscopeError(f"The new {name} is too large for the precision of {source}.")
        if len(written.tobytes()) != last - first or _width(held) != kind.itemsize:
            raise _other_end(source)
        _keep_others(graph, held, weights, first, last)
        changed[first:last] = written.tobytes()
        _point(held, first, last - first)
    return bytes(proto.SerializeToString(deterministic=True)), bytes(changed)


def set_checkpoint(model: bytes, checkpoint: str) -> bytes:
    """Return a graph whose metadata name another checkpoint."""
    from onnx import ModelProto

    proto = ModelProto.FromString(model)
    for entry in proto.metadata_props:
        if entry.key == "checkpoint":
            entry.value = checkpoint
    return bytes(proto.SerializeToString(deterministic=True))


def _last_gemm(graph: GraphProto, source: str) -> tuple[NodeProto, bool]:
    """Return the node that makes the logit, and whether something is added to it.

    Behind it there is nothing but changes of shape, and at most one addition.
    """
    made_by: dict[str, NodeProto] = {name: node for node in graph.node for name in node.output}

    def behind_shapes(name: str) -> NodeProto | None:
        node = made_by.get(name)
        while node is not None and node.op_type in _SHAPES_ONLY:
            node = made_by.get(node.input[0])
        return node

    node, adds = behind_shapes(VIEW_LOGITS), False
    if node is not None and node.op_type == "Add":
        terms = [behind_shapes(name) for name in node.input]
        node, adds = next((one for one in terms if one and one.op_type == "Gemm"), None), True
    if node is None or node.op_type != "Gemm" or len(node.input) != 3:
        raise _other_end(source)
    numbers = {
        one.name: one.f if one.name in ("alpha", "beta") else one.i for one in node.attribute
    }
    plain = all(numbers.get(name, 1.0) == 1.0 for name in ("alpha", "beta"))
    if not plain or numbers.get("transA", 0) or numbers.get("transB", 0) != 1:
        raise _other_end(source)
    return node, adds


def _tensor(graph: GraphProto, name: str) -> TensorProto | None:
    """Return the tensor of a name, or the one in half precision that is widened to it."""
    widened = next(
        (n.input[0] for n in graph.node if n.op_type == "Cast" and name in n.output), name
    )
    return next((one for one in graph.initializer if one.name == widened), None)


def _values(graph: GraphProto, gemm: NodeProto, source: str) -> tuple[Floats, float]:
    from onnx import numpy_helper

    weight, bias = (_tensor(graph, name) for name in gemm.input[1:])
    if weight is None or bias is None or list(weight.dims)[:1] != [1] or list(bias.dims) != [1]:
        raise _other_end(source)
    values = numpy_helper.to_array(weight).astype(np.float64)
    return values.reshape(-1), float(numpy_helper.to_array(bias).astype(np.float64)[0])


def _places(weights: bytes) -> dict[str, tuple[np.dtype[np.floating], int, int]]:
    """Return the type of each float tensor of a safetensors file, and where it lies."""
    start = 8 + int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8:start])
    return {
        name: (_KINDS[one["dtype"]], *(start + place for place in one["data_offsets"]))
        for name, one in header.items()
        if name != "__metadata__" and one["dtype"] in _KINDS
    }


def _keep_others(
    graph: GraphProto, own: TensorProto, weights: bytes, first: int, last: int
) -> None:
    """Put other tensors that share a stretch of the weights, being equal so far, into the graph."""
    for other in graph.initializer:
        place = {entry.key: entry.value for entry in other.external_data}
        if other is own or other.name == own.name or not place:
            continue
        begins = int(place.get("offset", "0"))
        ends = begins + int(place["length"])
        if begins < last and first < ends:
            other.raw_data = weights[begins:ends]
            other.ClearField("external_data")
            other.ClearField("data_location")


def _point(tensor: TensorProto, offset: int, length: int) -> None:
    from onnx.external_data_helper import set_external_data

    tensor.raw_data = b"\0"  # only what has raw data may be moved out
    set_external_data(tensor, WEIGHTS, offset, length)
    for field in ("raw_data", "float_data", "int32_data"):
        tensor.ClearField(field)


def _width(tensor: TensorProto) -> int:
    """Return the bytes of a number; 0 if it is neither single nor half precision."""
    from onnx import TensorProto

    if tensor.data_type == TensorProto.FLOAT:
        return 4
    return 2 if tensor.data_type == TensorProto.FLOAT16 else 0


def _other_end(source: str) -> BlastscopeError:
    return BlastscopeError(
        f"{source} does not end in one linear layer as this blastscope writes it, so its last "
        "layer cannot be adapted: make the bundle again."
    )
