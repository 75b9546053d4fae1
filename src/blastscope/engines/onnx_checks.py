"""Check an ONNX graph before it is run: its inputs, outputs, operations and weights.

A model may come from anywhere. An ONNX file can name other files of the machine, addresses in
memory and operations of other makers, so each file is checked here before an engine runs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from blastscope.errors import BlastscopeError

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto, ValueInfoProto

PIXELS = "pixels"
VIEW_LOGITS, P_ALL = "view_logits", "p_all"
OUTPUTS = (VIEW_LOGITS, P_ALL)
WEIGHTS = "weights.safetensors"
"""The only file that a graph's tensors may lie in."""
_STANDARD = ("", "ai.onnx")


@dataclass(frozen=True)
class Graph:
    """A graph that may be run."""

    model: bytes  # the serialised ONNX model, with its weights in it
    views: int  # the number of logits of a cell
    size: int  # the side of the cells in pixels
    source: str  # its name in messages


def read_graph(model: bytes, weights: bytes | None = None, source: str = "model.onnx") -> Graph:
    """Check a serialized ONNX model and put its weights into it; no file is read.

    Tensors may point into ``weights``, the content of ``weights.safetensors``.

    Raises:
        BlastscopeError: if it is damaged, has other inputs or outputs than
            ``export.onnx_graph`` writes, has operations that are not ONNX's own or graphs
            within the graph, or names another file than ``weights``.
    """
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    try:
        proto = ModelProto.FromString(model)
    except DecodeError as error:
        raise BlastscopeError(f"{source} is damaged or not an ONNX file: get it again.") from error
    _refuse_foreign(proto, source)
    size, views = _shapes(proto, source)
    if _fill(proto, weights, source):
        model = proto.SerializeToString()
    return Graph(model, views, size, source)


def _refuse_foreign(proto: ModelProto, source: str) -> None:
    """Refuse all but plain standard nodes, whose tensors are inline."""
    domains = {opset.domain for opset in proto.opset_import}
    domains |= {node.domain for node in proto.graph.node}
    foreign = sorted(domains.difference(_STANDARD))
    if foreign:
        raise BlastscopeError(
            f"{source} has operations of {foreign[0]!r}, which are not ONNX's own: do not use it."
        )
    graph = proto.graph
    if proto.functions or proto.training_info or graph.sparse_initializer:
        raise BlastscopeError(
            f"{source} has functions or sparse tensors, so blastscope did not write it: do not use "
            "it."
        )
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                raise BlastscopeError(
                    f"{source} has a graph within the graph ({node.op_type}), so blastscope did "
                    "not write it: do not use it."
                )
            held = [*attribute.tensors, attribute.t]
            sparse = [*attribute.sparse_tensors, attribute.sparse_tensor]
            held += [part for tensor in sparse for part in (tensor.values, tensor.indices)]
            if any(_is_external(tensor) for tensor in held):
                raise _elsewhere(node.name, source)


def _shapes(proto: ModelProto, source: str) -> tuple[int, int]:
    """Return the side of the cells and the number of views."""
    from onnx import TensorProto

    graph = proto.graph
    inputs = {value.name: value for value in graph.input}
    outputs = {value.name: value for value in graph.output}
    if set(inputs) == {PIXELS} and set(outputs) == set(OUTPUTS):
        pixels = _shape(inputs[PIXELS], TensorProto.UINT8)
        logits = _shape(outputs[VIEW_LOGITS], TensorProto.FLOAT)
        p_all = _shape(outputs[P_ALL], TensorProto.FLOAT)
        match pixels, logits, p_all:
            case [0, size, other, 3], [0, views], [0] if size == other and size and views:
                return size, views
    raise BlastscopeError(
        f"{source} is not a model of blastscope, with the input {PIXELS}, uint8 (N, S, S, 3), and "
        f"the outputs {VIEW_LOGITS}, float32 (N, V), and {P_ALL}, float32 (N): use another."
    )


def _shape(value: ValueInfoProto, kind: int) -> list[int] | None:
    """Return a tensor's shape, 0 for an open dimension; None if it is of another type."""
    tensor = value.type.tensor_type
    if tensor.elem_type != kind or not tensor.HasField("shape"):
        return None
    return [dimension.dim_value for dimension in tensor.shape.dim]


def _fill(proto: ModelProto, weights: bytes | None, source: str) -> bool:
    """Put the tensors of ``weights`` into the graph; return whether there were any."""
    outside = [tensor for tensor in proto.graph.initializer if _is_external(tensor)]
    for tensor in outside:
        external = {entry.key: entry.value for entry in tensor.external_data}
        if external.get("location") != WEIGHTS:
            raise _elsewhere(tensor.name, source)
        if weights is None:
            raise BlastscopeError(
                f"{source} needs the {WEIGHTS} that it was made with: put it beside it."
            )
        try:
            offset, length = int(external.get("offset", "0")), int(external["length"])
        except (KeyError, ValueError):
            offset, length = -1, -1
        if not 0 <= offset <= offset + length <= len(weights) or length != _bytes_of(tensor):
            raise BlastscopeError(
                f"{source} does not fit its {WEIGHTS} (tensor {tensor.name!r}): get both again."
            )
        tensor.raw_data = weights[offset : offset + length]
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
    return bool(outside)


def _bytes_of(tensor: TensorProto) -> int:
    from onnx import TensorProto

    widths: dict[int, int] = {TensorProto.FLOAT: 4, TensorProto.FLOAT16: 2}
    return widths.get(tensor.data_type, 0) * int(prod(tensor.dims))


def _is_external(tensor: TensorProto) -> bool:
    return tensor.data_location == tensor.EXTERNAL or bool(tensor.external_data)


def _elsewhere(name: str, source: str) -> BlastscopeError:
    return BlastscopeError(
        f"{source} has a tensor, {name!r}, that lies in another file or in memory instead of "
        f"{WEIGHTS}: do not use it."
    )
