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
    from onnx import ModelProto

_HALF, _SINGLE = "F16", "F32"


class _Stretch(NamedTuple):
    """Where a tensor lies in the file."""

    offset: int
    length: int
    half: bool


def share_weights(model: ModelProto, weights: bytes) -> None:
    """Point a graph's tensors into ``weights.safetensors``, as far as that has them to the bit.

    What it does not have stays in the graph, which is changed in place.

    Raises:
        BlastscopeError: if ``weights`` is not the content of a safetensors file.
    """
    from onnx import TensorProto, helper
    from onnx.external_data_helper import set_external_data

    stretches = _stretches(weights)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or not tensor.raw_data:
            continue
        stretch = stretches.get(_digest(tensor.raw_data))
        if stretch is None:
            continue
        if stretch.half:
            single = tensor.name
            tensor.name, tensor.data_type = f"{single}.half", TensorProto.FLOAT16
            to = TensorProto.FLOAT
            cast = helper.make_node("Cast", [tensor.name], [single], f"widen.{single}", to=to)
            casts.append(cast)
        set_external_data(tensor, WEIGHTS, stretch.offset, stretch.length)
        tensor.ClearField("raw_data")
    nodes = [*casts, *model.graph.node]  # a node stands behind those whose outcome it takes
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _stretches(weights: bytes) -> dict[bytes, _Stretch]:
    """Return the stretch of each tensor of single or half precision, by its digest in single."""
    try:
        start = 8 + int.from_bytes(weights[:8], "little")
        header = json.loads(weights[8:start])
        header.pop("__metadata__", None)
        found = {}
        for entry in header.values():
            kind, (first, last) = entry["dtype"], entry["data_offsets"]
            if kind not in (_HALF, _SINGLE):
                continue
            stretch = _Stretch(start + first, last - first, kind == _HALF)
            held = weights[stretch.offset : stretch.offset + stretch.length]
            if stretch.half:
                held = np.frombuffer(held, "<f2").astype("<f4").tobytes()
            found[_digest(held)] = stretch
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BlastscopeError(
            f"{WEIGHTS} is not a safetensors file ({error}): write it again."
        ) from error
    return found


def _digest(values: bytes) -> bytes:
    return hashlib.sha256(values).digest()
