"""A classifier as a graph of steps (torch.fx), from which parts of it are made."""

from __future__ import annotations

from collections.abc import Sequence

from timm.layers import (  # type: ignore[attr-defined]
    get_notrace_functions,
    is_notrace_module,
)
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _NormBase

from blastscope.models.classifier import Classifier

Features = tuple[Tensor, ...]


class Lower(nn.Module):
    """From images (N, 3, S, S) of 0..255 to what a part of the backbone gives."""

    def __init__(self, classifier: Classifier, graph: fx.GraphModule) -> None:
        super().__init__()
        self.normalise = classifier.normalise
        self.graph = graph

    def forward(self, images: Tensor) -> Features:
        """Return the tensors that the part hands on."""
        return tuple(self.graph(self.normalise(images)))


class Upper(nn.Module):
    """From those tensors to logits (N,)."""

    def __init__(self, classifier: Classifier, graph: fx.GraphModule) -> None:
        super().__init__()
        self.graph = graph
        self.as_map = classifier.backbone.as_map
        self.head = classifier.head

    def forward(self, *features: Tensor) -> Tensor:
        """Return the logits of what the lower part gave."""
        logits: Tensor = self.head(self.as_map(self.graph(*features)))
        return logits.squeeze(1)


class _Tracer(fx.Tracer):
    """Sees leaf layers, and those that timm wants whole, as single steps."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, _NormBase) or is_notrace_module(type(m)):
            return True
        return next(m.children(), None) is None


class _Features(nn.Module):
    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.backbone = classifier.backbone

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone.features(images)


def trace(classifier: Classifier) -> tuple[nn.Module, fx.Graph]:
    """Return a module of the backbone alone and the graph of its steps.

    Raises:
        Exception: whatever the traced code raises where torch.fx cannot follow it.
    """
    root = _Features(classifier)
    graph = _Tracer(autowrap_functions=tuple(get_notrace_functions())).trace(root)  # type: ignore[no-untyped-call]
    return root, graph


def subgraph(
    root: nn.Module,
    nodes: Sequence[fx.Node],
    inputs: Sequence[fx.Node],
    outputs: Sequence[fx.Node] | None,
) -> fx.GraphModule:
    """Make a module of ``nodes`` alone, with new placeholders for ``inputs``.

    Args:
        root: what :func:`trace` gave, which holds the layers.
        nodes: the steps, in the graph's order.
        inputs: steps before them whose outcomes they take.
        outputs: steps whose outcomes are handed on; None if ``nodes`` has the graph's own end.
    """
    part = fx.Graph()
    copies = {node: part.placeholder(f"features_{k}") for k, node in enumerate(inputs)}
    for node in nodes:
        copies[node] = part.node_copy(node, lambda old: copies[old])
    if outputs is not None:
        part.output(tuple(copies[node] for node in outputs))
    module = fx.GraphModule(root, part)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module
