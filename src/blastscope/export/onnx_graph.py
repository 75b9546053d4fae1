"""A classifier as an ONNX graph: prepared cells in, the logit of every view and p(ALL) out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from blastscope import __version__
from blastscope.engines.onnx_checks import OUTPUTS, PIXELS
from blastscope.errors import BlastscopeError
from blastscope.export.shared_weights import share_weights
from blastscope.models.classifier import Classifier
from blastscope.models.dihedral import dihedral_view, view_operations
from blastscope.process import quiet

if TYPE_CHECKING:
    from onnx import ModelProto


class _Graph(nn.Module):
    """What the file computes, normalisation and views included."""

    def __init__(self, classifier: Classifier, operations: Sequence[int]) -> None:
        super().__init__()
        self.classifier = classifier
        self.operations = operations

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Map uint8 (N, S, S, 3) to the logits (N, V) and the probability (N,)."""
        upright = pixels.permute(0, 3, 1, 2)
        laid = torch.stack([dihedral_view(upright, k) for k in self.operations], 1)
        logits = self.classifier(laid.flatten(0, 1)).reshape(-1, len(self.operations))
        return logits, torch.sigmoid(logits.mean(1))


def onnx_graph(
    classifier: Classifier,
    views: str,
    size: int,
    weights: bytes | None = None,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """Return a classifier as a serialised ONNX model, for any number of cells at a time.

    The input ``pixels`` is uint8 (N, S, S, 3), RGB, as a store holds prepared cells. The outputs
    are ``view_logits``, float32 (N, V), in the order of ``models.dihedral.view_operations``, and
    ``p_all``, float32 (N,): the logistic function of their mean, not calibrated.

    Args:
        classifier: the network; it is left as it is.
        views: the recipe's ``prediction.views``.
        size: the side S of the cells in pixels.
        weights: the content of the ``weights.safetensors`` that will lie beside the file: the
            graph points into it rather than hold the same numbers again. Without it the graph
            stands alone.

    Raises:
        BlastscopeError: if the network cannot be written as ONNX, or ``weights`` are damaged.
    """
    model = _exported(classifier, view_operations(views), size)
    _tidy(model)
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=value)
    if weights is not None:
        share_weights(model, weights)
    return bytes(model.SerializeToString(deterministic=True))


def _exported(classifier: Classifier, operations: Sequence[int], size: int) -> ModelProto:
    from onnxscript.optimizer import fold_constants, remove_unused_nodes

    network = _Graph(deepcopy(classifier).cpu(), operations).eval()
    # Two cells, for torch.export takes a single one for a constant.
    cells = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    # The exporter's remarks are for those who write exporters.
    with quiet("torch.onnx", "torch.export", "onnxscript"):
        try:
            program = torch.onnx.export(
                network,
                (cells,),
                dynamo=True,
                input_names=[PIXELS],
                output_names=list(OUTPUTS),
                dynamic_shapes={PIXELS: {0: torch.export.Dim("cells")}},
                optimize=False,  # which would fold weights, so that they are no longer shared
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            name = classifier.backbone.name
            raise BlastscopeError(f"{name} cannot be written as ONNX: {reason}.") from error
    assert program is not None  # it is, unless a file is asked for
    # What the exporter computes anew from constants keeps a runtime from joining a convolution
    # with its BatchNorm, which makes a network some three times as slow. Weights stay as they are.
    fold_constants(
        program.model, should_fold=lambda node: False if node.op_type == "Transpose" else None
    )
    remove_unused_nodes(program.model)
    return program.model_proto


def _tidy(model: ModelProto) -> None:
    """Drop the exporter's notes, which hold paths of this machine, and biases of nothing."""
    from onnx import numpy_helper

    graph = model.graph
    named = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        bias = named.get(node.input[2]) if node.op_type == "Conv" and node.input[2:] else None
        if bias is not None and not numpy_helper.to_array(bias).any():
            del node.input[2]
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for name, tensor in named.items() if name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    model.producer_name, model.producer_version = "blastscope", __version__
    graph.name = "blastscope"
    del graph.value_info[:]
    model.ClearField("metadata_props")
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
