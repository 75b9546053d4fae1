"""Weights kept once: a graph whose tensors lie in the safetensors file beside it.

A safetensors file is eight bytes with the length of a JSON header, the header, and the tensors
as they lie in memory. ONNX lets a tensor be any stretch of a file beside the graph, so the two
can have one copy of the weights. Where the file holds half precision, the graph widens it to
single as it is loaded, and computes in single.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from blastscope.engines.onnx_checks import WEIGHTS
from blastscope.errors import BlastscopeError

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

_HALF, _SINGLE = "F16", "F32"


class _Place(NamedTuple):
    """Where a tensor lies in the file."""

    offset: int
    length: int
    half: bool


def share_weights(model: ModelProto, weights: bytes) -> None:
    """Point a graph's tensors into a safetensors file, as far as the file has them to the bit.

    What it does not have stays in the graph.

    Args:
        model: changed in place; its tensors are inline.
        weights: the content of ``weights.safetensors``.

    Raises:
        BlastscopeError: if ``weights`` is not a safetensors file.
    """
    from onnx import TensorProto, helper

    places = _places(weights)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or not tensor.raw_data:
            continue
        place = places.get(_digest(tensor.raw_data))
        if place is None:
            continue
        if place.half:
            single = tensor.name
            tensor.name, tensor.data_type = f"{single}.half", TensorProto.FLOAT16
            casts.append(
                helper.make_node(
                    "Cast", [tensor.name], [single], f"widen.{single}", to=TensorProto.FLOAT
                )
            )
        _point(tensor, place)
    nodes = [*casts, *model.graph.node]  # a node stands behind those whose outcome it takes
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _point(tensor: TensorProto, place: _Place) -> None:
    from onnx import TensorProto

    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (
        ("location", WEIGHTS),
        ("offset", place.offset),
        ("length", place.length),
    ):
        tensor.external_data.add(key=key, value=str(value))


def _places(weights: bytes) -> dict[bytes, _Place]:
    """Return the place of each tensor of single or half precision, by its digest in single."""
    try:
        start = 8 + int.from_bytes(weights[:8], "little")
        header = json.loads(weights[8:start])
        header.pop("__metadata__", None)
        places = {}
        for entry in header.values():
            kind, (first, last) = entry["dtype"], entry["data_offsets"]
            if kind not in (_HALF, _SINGLE):
                continue
            place = _Place(start + first, last - first, kind == _HALF)
            held = weights[place.offset : place.offset + place.length]
            if place.half:
                held = np.frombuffer(held, "<f2").astype("<f4").tobytes()
            places[_digest(held)] = place
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BlastscopeError(
            f"{WEIGHTS} is not a safetensors file ({error}): write it again."
        ) from error
    return places


def _digest(values: bytes) -> bytes:
    return hashlib.sha256(values).digest()
