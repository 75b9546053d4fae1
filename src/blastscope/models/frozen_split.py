"""A network in two halves: the frozen one, always the same for the same cell, and the rest.

Where the whole backbone is frozen, it is the first half, with the pooling that follows it. Where
training begins at a layer inside, the network is traced (torch.fx) and parted just before the
first thing that can change; a residual block may then hand on more than one tensor.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from timm.layers import DropPath  # type: ignore[attr-defined]
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from blastscope.models.classifier import Classifier
from blastscope.models.graph_split import Features, Lower, Upper, subgraph, trace


@dataclass(frozen=True)
class FrozenSplit:
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


def split_frozen(classifier: Classifier, size: int) -> FrozenSplit | None:
    """Part a classifier where its frozen part ends.

    Args:
        classifier: the network, on the CPU.
        size: the side of its images in pixels.

    Returns:
        The halves; None if nothing is frozen, or where the network cannot be parted (torch.fx
        cannot follow it, or the halves do not give what the whole gives).
    """
    halves = part(classifier)
    if halves is None or any(weight.requires_grad for weight in halves.frozen.parameters()):
        return None
    return halves if _agree(classifier, halves, size) else None


def part(classifier: Classifier) -> FrozenSplit | None:
    """Split a classifier as :func:`split_frozen` does, without proof that both parts make it."""
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


def _whole(classifier: Classifier) -> FrozenSplit:
    steps = list(classifier.head.named_children())
    # Flattening and pooling have no weights: what they give is as fixed as what they are given.
    count = 2 if steps[0][0] == "gap" else 1
    pooling = nn.Sequential(*(module for _, module in steps[:count]))
    rest = nn.Sequential(*(module for _, module in steps[count:]))
    names = [name for name, _ in steps[:count]]
    description = f"{_kind(classifier)}, {' '.join(names)}"
    return FrozenSplit(_WholeBackbone(classifier, pooling), _Head(rest), description)


def _kind(classifier: Classifier) -> str:
    """Say what no weight shows: where the backbone is cut, and what is done to colours."""
    backbone = classifier.backbone
    colours = "BGR" if classifier.normalise.reverse else "RGB"
    colours += ", normalized per cell" if classifier.normalise.per_cell else ""
    return f"{backbone.name}, {colours}, cut {backbone.cut}, {list(backbone.shape)}"


def _parted(classifier: Classifier, changing: _changing) -> FrozenSplit | None:
    root, graph = trace(classifier)
    fixed = _fixed_nodes(root, graph, changing)
    last = graph.output_node()
    frontier = [
        node
        for node in graph.nodes
        if node in fixed and node.op != "get_attr" and any(u not in fixed for u in node.users)
    ]
    if not frontier or last in fixed or all(node.op == "placeholder" for node in frontier):
        return None
    lower = subgraph(root, [node for node in graph.nodes if node in fixed], (), frontier)
    rest = [node for node in graph.nodes if node not in fixed or node.op == "get_attr"]
    upper = subgraph(root, rest, frontier, None)
    description = f"{_kind(classifier)}\n{lower.code.strip()}"
    return FrozenSplit(Lower(classifier, lower), Upper(classifier, upper), description)


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


def _agree(classifier: Classifier, halves: FrozenSplit, size: int) -> bool:
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
