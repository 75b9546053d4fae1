"""Divide a network into groups of layers, from the head down, to randomize one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from torch import Tensor, nn

from blastscope.models.classifier import Classifier

GROUPS = 8
_FEWEST = 4  # of the backbone's own stages; if there are fewer, they are divided further
_STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True)
class LayerGroup:
    """Neighbouring layers.

    Attributes:
        name: by the backbone's own stages: ``layer4``, ``blocks.1 to blocks.2``, or ``head``.
        tensors: the network's own tensors that hold what they learned: weights and biases, and the
            means and variances of normalizations.
    """

    name: str
    tensors: tuple[Tensor, ...]

    @property
    def layers(self) -> int:
        """How many layers with weights it has, without normalizations."""
        return sum(tensor.ndim > 1 for tensor in self.tensors)


def layer_groups(classifier: Classifier) -> list[LayerGroup]:
    """Divide all that a network learned into at most ``GROUPS`` groups, the head first.

    The backbone is divided into its own stages, or, if it has only one or two, into their numbered
    blocks. If those are too many, the smallest neighbours are joined.

    Args:
        classifier: the network.
    """
    backbone = classifier.backbone
    # What belongs to no layer, such as a transformer's tokens, enters at the bottom: place 0.
    place = {name: k for k, name in enumerate(backbone.order, start=1)}
    learned = _learned(backbone.net)
    learned.sort(key=lambda item: place.get(item[0].rpartition(".")[0], 0))
    groups = _divided(learned, 1)
    if len(groups) < _FEWEST:
        groups = _divided(learned, 2)
    while len(groups) > GROUPS - 1:
        sizes = [one.layers + another.layers for one, another in pairwise(groups)]
        k = sizes.index(min(sizes))
        groups[k : k + 2] = [_joined(groups[k], groups[k + 1])]
    head = LayerGroup("head", tuple(tensor for _, tensor in _learned(classifier.head)))
    return [head, *reversed(groups)]


def _learned(module: nn.Module) -> list[tuple[str, Tensor]]:
    statistics = [item for item in module.named_buffers() if item[0].endswith(_STATISTICS)]
    return [*module.named_parameters(), *statistics]


def _divided(learned: Sequence[tuple[str, Tensor]], depth: int) -> list[LayerGroup]:
    """Group tensors by stage; a normalization alone joins the group that it follows."""
    groups: list[LayerGroup] = []
    for name, items in groupby(learned, key=lambda item: _stage(item[0], depth)):
        group = LayerGroup(name, tuple(tensor for _, tensor in items))
        if groups and not group.layers:
            groups[-1] = LayerGroup(groups[-1].name, groups[-1].tensors + group.tensors)
        else:
            groups.append(group)
    return groups


def _stage(name: str, depth: int) -> str:
    """Return the stage of a tensor: ``blocks``, or ``blocks.3`` at depth 2."""
    first, *rest = name.split(".")
    return f"{first}.{rest[0]}" if depth == 2 and rest and rest[0].isdigit() else first


def _joined(lower: LayerGroup, upper: LayerGroup) -> LayerGroup:
    first, last = lower.name.partition(" to ")[0], upper.name.rpartition(" to ")[2]
    return LayerGroup(f"{first} to {last}", lower.tensors + upper.tensors)
