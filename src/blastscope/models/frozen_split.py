"""Split a network into its frozen part, which gives the same for the same cell, and the rest.

If the whole backbone is frozen, it is the first part, with the pooling that follows it. If training
begins at a layer inside, the network is traced (torch.fx) and split just before the first step that
can change; a residual block may then pass on more than one tensor.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter

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
Predicate = Callable[[nn.Module], bool]


@dataclass(frozen=True)
class FrozenSplit:
    """The frozen part of a classifier and the rest; both share its weights."""

    frozen: nn.Module  # maps images (N, 3, S, S) of 0..255 to tensors, each (N, ...)
    upper: nn.Module  # maps those to logits (N,)
    description: str  # where the network is split, as text: equal for equal splits


class _WholeBackbone(nn.Module):
    """Normalization, backbone, and the pooling with which the head begins."""

    def __init__(self, classifier: Classifier, pooling: nn.Module) -> None:
        super().__init__()
        self.normalise = classifier.normalise
        self.backbone = classifier.backbone
        self.pooling = pooling

    def forward(self, images: Tensor) -> Features:
        return (self.pooling(self.backbone(self.normalise(images))),)


def split_frozen(classifier: Classifier, size: int) -> FrozenSplit | None:
    """Split a classifier on the CPU where its frozen part ends.

    None if nothing is frozen or the network cannot be split: torch.fx cannot trace it, or both
    parts together do not give the logits of the whole for images of ``size`` pixels.
    """
    found = split_unchecked(classifier)
    if found is None or any(weight.requires_grad for weight in found.frozen.parameters()):
        return None
    return found if _agree(classifier, found, size) else None


def split_unchecked(classifier: Classifier) -> FrozenSplit | None:
    """Split a classifier as :func:`split_frozen` does, without the check of the logits."""
    if classifier.size_term is not None:  # it needs the image, which the rest would not have
        return None
    changing = _changing(classifier)
    if not any(changing(module) for module in classifier.backbone.modules()):
        return _whole(classifier)
    try:
        return _split_inside(classifier, changing)
    except Exception:  # torch.fx raises what the traced code raises on a placeholder
        return None


def _changing(classifier: Classifier) -> Predicate:
    """Return a test: whether training changes a module's own weights, or it is random."""
    kept = {id(module) for module in classifier.kept_in_evaluation}

    def changing(module: nn.Module) -> bool:
        if any(parameter.requires_grad for parameter in module.parameters(recurse=False)):
            return True
        moody = isinstance(module, _NormBase | _DropoutNd | DropPath)
        return moody and id(module) not in kept

    return changing


def _whole(classifier: Classifier) -> FrozenSplit:
    steps = list(classifier.head.named_children())
    # Flattening and pooling have no weights: their output is as fixed as their input.
    count = [name for name, _ in steps].index("flatten") + 1
    pooling = nn.Sequential(*(module for _, module in steps[:count]))
    rest = nn.Sequential(*(module for _, module in steps[count:]), nn.Flatten(0))
    description = f"{_kind(classifier)}, {' '.join(name for name, _ in steps[:count])}"
    return FrozenSplit(_WholeBackbone(classifier, pooling), rest, description)


def _kind(classifier: Classifier) -> str:
    """Describe what the weights do not show: the cut and the colour channels."""
    backbone = classifier.backbone
    colours = "BGR" if classifier.normalise.reverse else "RGB"
    colours += ", normalized per cell" if classifier.normalise.per_cell else ""
    colours += ", optical density" if classifier.normalise.density else ""
    return f"{backbone.name}, {colours}, cut {backbone.cut}, {list(backbone.shape)}"


def _split_inside(classifier: Classifier, changing: Predicate) -> FrozenSplit | None:
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
    lower = subgraph(root, [node for node in graph.nodes if node in fixed], (), tuple(frontier))
    rest = [node for node in graph.nodes if node not in fixed or node.op == "get_attr"]
    upper = subgraph(root, rest, frontier, None)
    description = f"{_kind(classifier)}\n{lower.code.strip()}"
    frozen = nn.Sequential(OrderedDict(normalise=classifier.normalise, graph=lower))
    return FrozenSplit(frozen, Upper(classifier, upper), description)


def _fixed_nodes(root: nn.Module, graph: fx.Graph, changing: Predicate) -> set[fx.Node]:
    """Return the steps whose output does not depend on anything that changes."""
    fixed: set[fx.Node] = set()
    for node in graph.nodes:
        if any(source not in fixed for source in node.all_input_nodes):
            continue
        if node.op == "call_module":
            step = root.get_submodule(str(node.target))
            if any(changing(module) for module in step.modules()):
                continue
        if node.op == "get_attr" and attrgetter(str(node.target))(root).requires_grad:
            continue
        if node.op != "output":
            fixed.add(node)
    return fixed


def _agree(classifier: Classifier, split: FrozenSplit, size: int) -> bool:
    """Return whether both parts, one after the other, give the logits of the whole."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=generator)
    classifier.eval()
    try:
        with torch.no_grad():
            features = split.frozen(images)
            sound = all(isinstance(f, Tensor) and f.ndim > 1 and len(f) == 2 for f in features)
            return sound and torch.allclose(
                classifier(images), split.upper(*features), rtol=1e-3, atol=1e-4
            )
    finally:
        classifier.train()


class Upper(nn.Module):
    """From the tensors at the split to logits (N,)."""

    def __init__(self, classifier: Classifier, graph: fx.GraphModule) -> None:
        super().__init__()
        self.graph = graph
        self.as_map = classifier.backbone.as_map
        self.head = classifier.head

    def forward(self, *features: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.head(self.as_map(self.graph(*features)))
        return logits.squeeze(1)


class _Tracer(fx.Tracer):
    """Traces leaf layers, and those that timm keeps whole, as single steps."""

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
        Exception: whatever the traced code raises if torch.fx cannot trace it.
    """
    root = _Features(classifier)
    graph = _Tracer(autowrap_functions=tuple(get_notrace_functions())).trace(root)  # type: ignore[no-untyped-call]
    return root, graph


def subgraph(
    root: nn.Module,
    nodes: Sequence[fx.Node],
    inputs: Sequence[fx.Node],
    outputs: fx.Node | tuple[fx.Node, ...] | None,
) -> fx.GraphModule:
    """Build a module of ``nodes`` alone, in order, with new placeholders for ``inputs``.

    ``root`` is the module of :func:`trace`, which has the layers; ``inputs`` are earlier steps that
    ``nodes`` use; ``outputs`` is what is returned, None if ``nodes`` includes the graph's end.
    """
    part = fx.Graph()
    copies = {node: part.placeholder(f"features_{k}") for k, node in enumerate(inputs)}
    for node in nodes:
        copies[node] = part.node_copy(node, lambda old: copies[old])
    if outputs is not None:
        part.output(fx.map_arg(outputs, lambda node: copies[node]))
    module = fx.GraphModule(root, part)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module
