"""Open a classifier at Grad-CAM's target layer.

The target layer is the end of the backbone, whose map the head takes. On small images that map may
have no more than two by two positions; then the target layer is the last one further down through
which everything passes and whose map is fine enough.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, fx, nn

from blastscope.models.classifier import Classifier
from blastscope.models.frozen_split import Upper, subgraph, trace

GRID = 5
"""The fewest positions a side. The paper's networks, at the paper's sizes, have 5 (its own CNN), 7
or 14 where they end, so for them nothing but the end is ever chosen."""


class TargetLayerNetwork(nn.Module):
    """A classifier in two parts, split at the target layer."""

    def __init__(
        self,
        lower: nn.Module,
        upper: nn.Module,
        layer: str,
        shape: tuple[int, int, int],
        size_term: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.lower = lower  # from images (N, 3, S, S) of 0..255 to a map (N, C, H, W)
        # does nothing; what it gives is the map, for those who hook layers
        self.tap = nn.Identity()
        self.upper = upper  # from the map to logits (N,), above zero for ALL
        self.layer = layer  # the name of the target layer
        self.shape = shape  # the map's (C, H, W)
        self.size_term = size_term  # what is added to the logits; no map has a part in it

    def forward(self, images: Tensor) -> Tensor:
        """Return the classifier's logits."""
        logits: Tensor = self.upper(self.tap(self.lower(images)))
        return logits if self.size_term is None else logits + self.size_term(images)


def open_at_target_layer(classifier: Classifier, size: int, grid: int = GRID) -> TargetLayerNetwork:
    """Open a classifier at the last layer whose map has at least ``grid`` positions a side.

    It is the end of the backbone if that is fine enough, if torch.fx cannot trace the network, or
    if its inner maps are laid out differently (transformers, whose tokens make the map). The result
    shares the network's weights, which no longer require gradients; images have ``size`` pixels a
    side.
    """
    classifier.eval().requires_grad_(False)
    shape = classifier.backbone.shape
    if min(shape[1:]) < grid and classifier.backbone.gives_maps:
        inner = _opened_inside(classifier, size, grid)
        if inner is not None:
            return inner.eval()
    lower = nn.Sequential(classifier.normalise, classifier.backbone)
    upper = nn.Sequential(classifier.head, nn.Flatten(0))
    of_size = classifier.size_term
    return TargetLayerNetwork(lower, upper, "the end of the base", shape, of_size).eval()


def _opened_inside(classifier: Classifier, size: int, grid: int) -> TargetLayerNetwork | None:
    try:
        root, graph = trace(classifier)
        shapes = _Shapes(fx.GraphModule(root, graph))
        device = next(classifier.parameters()).device
        with torch.no_grad():
            shapes.run(classifier.normalise(torch.zeros(2, 3, size, size, device=device)))
    except Exception:  # torch.fx raises whatever the traced code raises on a placeholder
        return None
    nodes = list(graph.nodes)
    fine = [k for k in _bottlenecks(nodes) if _is_fine(shapes.of.get(nodes[k].name), grid)]
    if not fine:
        return None
    k = fine[-1]
    constants = [node for node in nodes[: k + 1] if node.op == "get_attr"]
    below = subgraph(root, nodes[: k + 1], (), nodes[k])
    above = subgraph(root, [*constants, *nodes[k + 1 :]], [nodes[k]], None)
    _, *shape = shapes.of[nodes[k].name]
    lower, upper = nn.Sequential(classifier.normalise, below), Upper(classifier, above)
    of_size, layer = classifier.size_term, _name_of(nodes[k])
    return TargetLayerNetwork(lower, upper, layer, (shape[0], shape[1], shape[2]), of_size)


class _Shapes(fx.Interpreter):
    """Runs a graph and keeps the shape of each step's tensor."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.of: dict[str, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> object:
        outcome = super().run_node(n)
        if isinstance(outcome, Tensor):
            self.of[n.name] = tuple(outcome.shape)
        return outcome


def _bottlenecks(nodes: list[fx.Node]) -> Iterator[int]:
    """Yield the steps whose output is all that later steps take of the earlier ones."""
    last_use = {node: k for k, user in enumerate(nodes) for node in user.all_input_nodes}
    open_until: set[fx.Node] = set()
    for k, node in enumerate(nodes):
        if node.op != "get_attr" and node in last_use:
            open_until.add(node)
        open_until = {other for other in open_until if last_use[other] > k}
        if open_until == {node} and node.op != "placeholder":
            yield k


def _is_fine(shape: tuple[int, ...] | None, grid: int) -> bool:
    """Whether a map is (2, C, H, W), as its many channels show, and has enough positions."""
    if shape is None or len(shape) != 4 or shape[0] != 2 or shape[2] != shape[3]:
        return False
    return shape[2] >= grid and shape[1] > 3


def _name_of(node: fx.Node) -> str:
    """Return the layer's name in the backbone; of a residual's addition, that it is one."""
    if node.op == "call_module":
        return str(node.target).removeprefix("backbone.net.")
    source = next((n for n in node.all_input_nodes if n.op == "call_module"), None)
    after = f" after {_name_of(source)}" if source is not None else ""
    return f"{node.name.rstrip('_0123456789')}{after}"
