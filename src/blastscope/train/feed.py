"""What is trained and what it is fed: pixels to all of a network, or features to its upper half."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blastscope.models.classifier import Classifier
from blastscope.recipes.schema import Recipe
from blastscope.splits.parts import PARTS
from blastscope.train.augment import COUNT
from blastscope.train.batches import Inputs as NetworkInputs
from blastscope.train.batches import views_of_training
from blastscope.train.features import features_of
from blastscope.train.halves import halve
from blastscope.train.inputs import Inputs
from blastscope.train.views import PixelViews, ViewList, Views


@dataclass(frozen=True)
class Feed:
    """A source of views and the network, or half, that takes them."""

    views: Views
    network: Callable[..., Tensor]
    cached: bool = False
    layout: torch.memory_format = torch.channels_last
    """How pixels lie when the network is given them; the network's weights should lie alike."""

    def __call__(self, inputs: NetworkInputs) -> Tensor:
        """Return the logits (N,) of a batch."""
        if isinstance(inputs, tuple):
            return self.network(*inputs)
        return self.network(inputs.contiguous(memory_format=self.layout))

    def to(self, device: torch.device) -> None:
        """Move what the network holds besides the classifier's own weights (traced constants)."""
        if isinstance(self.network, torch.nn.Module):
            self.network.to(device)


def pixel_feed(
    classifier: Classifier, inputs: Inputs, layout: torch.memory_format = torch.channels_last
) -> Feed:
    """Feed pixels to the whole network."""
    return Feed(PixelViews(inputs.store.pixels), classifier, layout=layout)


def make_feed(
    classifier: Classifier,
    recipe: Recipe,
    inputs: Inputs,
    device: torch.device,
    on_progress: Callable[[int, int], None] | None = None,
    layout: torch.memory_format = torch.channels_last,
) -> Feed:
    """Feed a recipe's network: from cached features where part of it is frozen.

    Features are kept beside the store (``train.features``). Where the network cannot be parted,
    its features would not fit, or each cell is another picture in every epoch, pixels are fed to
    all of it.

    Args:
        classifier: the network, on the CPU, with the weights that training begins with.
        recipe: says which views will be asked for.
        inputs: store, split and training set.
        device: what features are computed on.
        on_progress: called with the views computed so far, and their total.
        layout: how pixels lie, where they are what is fed.
    """
    varied = recipe.training.augment == "varied"
    halves = None if varied else halve(classifier, recipe.input.size)
    if halves is None:
        return pixel_feed(classifier, inputs, layout)
    wanted = _wanted(recipe, inputs)
    cache = features_of(halves, inputs.store, wanted, device, on_progress)
    if cache is None:
        return pixel_feed(classifier, inputs, layout)
    return Feed(cache, halves.upper, True)


def _wanted(recipe: Recipe, inputs: Inputs) -> ViewList:
    """Return the views of training, of validation, and of the predictions that follow."""
    rows: Any = np.concatenate([inputs.rows[part] for part in PARTS])
    wanted = views_of_training(inputs.training, recipe.training.augment == "dihedral")
    for operation in range(COUNT if recipe.prediction.views == "dihedral" else 1):
        wanted = wanted + ViewList.of(rows, operation)
    return wanted
