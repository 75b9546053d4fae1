"""The randomization test: whether a map depends on what the network learned.

Adebayo et al. (Sanity checks for saliency maps, NeurIPS 2018): randomize the weights layer by
layer, from the head down, and compute the map each time. A map that stays the same shows the image
and not what was learned. Here the weights are permuted within each tensor, so that a layer keeps
its weights and loses only their positions. By chance one permutation may draw a map like the
trained one, or its opposite, for every cell at once; so there are three.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from blastscope.explanation.attribution import attribute
from blastscope.explanation.cell_image import Map
from blastscope.explanation.cells import ExplainedCells
from blastscope.explanation.map_measures import spearman
from blastscope.explanation.models import ExplainedModel
from blastscope.explanation.tables import RANDOMIZATION
from blastscope.models.classifier import Classifier

SAMPLE = 32
SEED = 24
DRAWS = 3
TRAINED, ANOTHER = "as trained", "another cell"
GROUPS = 8
_FEWEST = 4  # of the backbone's own stages; if there are fewer, they are divided further
_STATISTICS = ("running_mean", "running_var")


def randomize(model: ExplainedModel, dataset: ExplainedCells, rows: Sequence[int]) -> pl.DataFrame:
    """Permute the weights of a network's copies from the head down, and compare Grad-CAM maps.

    The network itself is left as it is: a copy's weights are read from the run. The rows are those
    that :func:`sample` draws.

    Returns:
        The columns of ``RANDOMIZATION``. A row's correlation is Spearman's, of the signed map
            on its own grid with that of the trained network; null if a map is flat. Stage 0 is
            the network as trained, each later one permutes the weights of one more group of
            layers. Stage -1 is the trained network's map of another cell, drawn at random: maps
            that are no more similar than those have nothing in common but the network. ``draw``
            tells the three copies apart, each from the trained weights; stages -1 and 0 have
            draw 0 alone.
    """
    images = dataset.images(model.settings, rows)
    trained = attribute(model, images, "grad-cam").signed
    others = np.roll(trained, 1, axis=0) if len(rows) > 1 else np.zeros_like(trained)
    cells = [dataset.files[row].cell for row in rows]
    found: list[pl.DataFrame] = []

    def add(draw: int, stage: int, layer: str, signed: Map) -> None:
        alike = spearman(trained, signed)
        values = (model.name, stage, layer, cells, alike, draw)
        rows = dict(zip(RANDOMIZATION.columns, values, strict=True))
        found.append(pl.DataFrame(rows, schema=dict(RANDOMIZATION.columns)))

    add(0, -1, ANOTHER, others)
    add(0, 0, TRAINED, trained)
    generator = torch.Generator().manual_seed(SEED)
    for draw in range(DRAWS):
        permuted = replace(model)  # whose weights are read anew
        for stage, group in enumerate(layer_groups(permuted.classifier), start=1):
            for tensor in group.tensors:
                _permute(tensor, generator)
            add(draw, stage, group.name, attribute(permuted, images, "grad-cam").signed)
    return pl.concat(found).with_columns(pl.col("correlation").fill_nan(None))


def _permute(tensor: Tensor, generator: torch.Generator) -> None:
    order = torch.randperm(tensor.numel(), generator=generator).to(tensor.device)
    with torch.no_grad():
        tensor.copy_(tensor.flatten()[order].reshape(tensor.shape))


def sample(labels: Sequence[str | None], most: int = SAMPLE) -> NDArray[np.int64]:
    """Draw rows evenly over the classes, in random order; those without a label are one class."""
    drawn = np.random.default_rng(SEED).permutation(len(labels))
    turn = dict.fromkeys(labels, 0)
    turns = []
    for row in drawn:
        turns.append(turn[labels[row]])
        turn[labels[row]] += 1
    chosen = drawn[np.argsort(turns, kind="stable")[:most]]
    return np.random.default_rng(SEED).permutation(chosen)


@dataclass(frozen=True)
class LayerGroup:
    """Neighbouring layers."""

    name: str  # by the backbone's own stages: ``layer4``, ``blocks.1 to blocks.2``, or ``head``
    # The network's own tensors that hold what they learned: weights and biases, and the means and
    # variances of normalizations.
    tensors: tuple[Tensor, ...]

    @property
    def layers(self) -> int:
        """How many layers with weights it has, without normalizations."""
        return sum(tensor.ndim > 1 for tensor in self.tensors)


def layer_groups(classifier: Classifier) -> list[LayerGroup]:
    """Divide all that a network learned into at most ``GROUPS`` groups, the head first.

    The backbone is divided into its own stages, or, if it has only one or two, into their numbered
    blocks. If those are too many, the smallest neighbours are joined.
    """
    backbone = classifier.backbone
    # What belongs to no layer, such as a transformer's tokens, enters at the bottom: position 0.
    position = {name: k for k, name in enumerate(backbone.layers, start=1)}
    learned = _learned(backbone.net)
    learned.sort(key=lambda item: position.get(item[0].rpartition(".")[0], 0))
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
