"""A network in two halves: the frozen one, always the same for the same cell, and the rest.

Where the whole backbone is frozen, it is the first half, with the pooling that follows it. Where
training begins at a layer inside, the network is traced (torch.fx) and parted just before the
first thing that can change; a residual block may then hand on more than one tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from timm.layers import (  # type: ignore[attr-defined]
    DropPath,
    get_notrace_functions,
    is_notrace_module,
)
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from blastscope.models.classifier import Classifier

Features = tuple[Tensor, ...]


@dataclass(frozen=True)
class Halves:
    """Both halves of a classifier; they share its weights."""

    frozen: nn.Module
    """Maps images (N, 3, S, S) of 0..255 to tensors, each (N, ...)."""
    upper: nn.Module
    """Maps those to logits (N,)."""
    description: str
    """Where the network is parted, as text that is the same for the same parting."""


class _WholeBackbone(nn.Module):
    """Normalisation, backbone, and the head's pooling where it begins with one."""

    def __init__(self, classifier: Classifier, pooling: nn.Module) -> None:
        super().__init__()
        self.normalise = classifier.normalise
        self.backbone = classifier.backbone
        self.pooling = pooling

    def forward(self, images: Tensor) -> Features:
        return (self.pooling(self.backbone(self.normalise(images))),)


class _Head(nn.Module):
    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(features)
        return logits.squeeze(1)


class _Lower(nn.Module):
    def __init__(self, classifier: Classifier, graph: fx.GraphModule) -> None:
        super().__init__()
        self.normalise = classifier.normalise
        self.graph = graph

    def forward(self, images: Tensor) -> Features:
        return tuple(self.graph(self.normalise(images)))


class _Upper(nn.Module):
    def __init__(self, classifier: Classifier, graph: fx.GraphModule) -> None:
        super().__init__()
        self.graph = graph
        self.as_map = classifier.backbone.as_map
        self.head = classifier.head

    def forward(self, *features: Tensor) -> Tensor:
        logits: Tensor = self.head(self.as_map(self.graph(*features)))
        return logits.squeeze(1)


def halve(classifier: Classifier, size: int) -> Halves | None:
    """Part a classifier where its frozen part ends.

    Args:
        classifier: the network, on the CPU.
        size: the side of its images in pixels.

    Returns:
        The halves; None where nothing is frozen, or where the network cannot be parted (torch.fx
        cannot follow it, or the halves do not give what the whole gives).
    """
    halves = part(classifier)
    if halves is None or any(weight.requires_grad for weight in halves.frozen.parameters()):
        return None
    return halves if _agree(classifier, halves, size) else None


def part(classifier: Classifier) -> Halves | None:
    """Part a classifier as :func:`halve` does, without proof that the halves make the whole."""
    changing = _changing(classifier)
    if not any(changing(module) for module in classifier.backbone.modules()):
        return _whole(classifier)
    try:
        return _parted(classifier, changing)
    except Exception:  # torch.fx raises whatever the traced code raises on a placeholder
        return None


class _changing:  # noqa: N801 - a predicate with a set behind it
    """Whether a module has, itself, anything that training changes or draws at random."""

    def __init__(self, classifier: Classifier) -> None:
        self.kept = {id(module) for module in classifier.kept_in_evaluation}

    def __call__(self, module: nn.Module) -> bool:
        if any(parameter.requires_grad for parameter in module.parameters(recurse=False)):
            return True
        moody = isinstance(module, _NormBase | _DropoutNd | DropPath)
        return moody and id(module) not in self.kept


def _whole(classifier: Classifier) -> Halves:
    steps = list(classifier.head.named_children())
    # Flattening and pooling have no weights: what they give is as fixed as what they are given.
    count = 2 if steps[0][0] == "gap" else 1
    pooling = nn.Sequential(*(module for _, module in steps[:count]))
    rest = nn.Sequential(*(module for _, module in steps[count:]))
    names = [name for name, _ in steps[:count]]
    description = f"{_kind(classifier)}, {' '.join(names)}"
    return Halves(_WholeBackbone(classifier, pooling), _Head(rest), description)


def _kind(classifier: Classifier) -> str:
    """Say what no weight shows: where the backbone is cut, and the order of the colours."""
    backbone = classifier.backbone
    colours = "BGR" if classifier.normalise.reverse else "RGB"
    return f"{backbone.name}, {colours}, cut {backbone.cut}, {list(backbone.shape)}"


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


def _parted(classifier: Classifier, changing: _changing) -> Halves | None:
    root = _Features(classifier)
    graph = _Tracer(autowrap_functions=tuple(get_notrace_functions())).trace(root)  # type: ignore[no-untyped-call]
    fixed = _fixed_nodes(root, graph, changing)
    last = graph.output_node()
    frontier = [
        node
        for node in graph.nodes
        if node in fixed and node.op != "get_attr" and any(u not in fixed for u in node.users)
    ]
    if not frontier or last in fixed or all(node.op == "placeholder" for node in frontier):
        return None
    lower = _part(root, [node for node in graph.nodes if node in fixed], (), frontier)
    rest = [node for node in graph.nodes if node not in fixed or node.op == "get_attr"]
    upper = _part(root, rest, frontier, None)
    description = f"{_kind(classifier)}\n{lower.code.strip()}"
    return Halves(_Lower(classifier, lower), _Upper(classifier, upper), description)


def _fixed_nodes(root: nn.Module, graph: fx.Graph, changing: _changing) -> set[fx.Node]:
    """Return the steps whose outcome depends on nothing that changes."""
    fixed: set[fx.Node] = set()
    for node in graph.nodes:
        if any(source not in fixed for source in node.all_input_nodes):
            continue
        if node.op == "call_module":
            step = root.get_submodule(str(node.target))
            if any(changing(module) for module in step.modules()):  # some steps hold layers
                continue
        if node.op == "get_attr" and _attribute(root, str(node.target)).requires_grad:
            continue
        if node.op != "output":
            fixed.add(node)
    return fixed


def _attribute(root: nn.Module, path: str) -> Tensor:
    owner, _, name = path.rpartition(".")
    attribute: Tensor = getattr(root.get_submodule(owner), name)
    return attribute


def _part(
    root: nn.Module,
    nodes: Sequence[fx.Node],
    inputs: Sequence[fx.Node],
    outputs: Sequence[fx.Node] | None,
) -> fx.GraphModule:
    """Make a module of ``nodes`` alone, with new placeholders for ``inputs``."""
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


def _agree(classifier: Classifier, halves: Halves, size: int) -> bool:
    """Whether the halves, one after the other, give what the whole gives, tensor by tensor."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=generator)
    classifier.eval()
    try:
        with torch.no_grad():
            features = halves.frozen(images)
            sound = all(isinstance(f, Tensor) and f.ndim > 1 and len(f) == 2 for f in features)
            return sound and torch.allclose(
                classifier(images), halves.upper(*features), rtol=1e-3, atol=1e-4
            )
    finally:
        classifier.train()
