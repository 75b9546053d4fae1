"""What is trained and its input: pixels for all of a network, or cached features for its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blastscope.io.predictions import PARTS
from blastscope.models.classifier import Classifier
from blastscope.models.dihedral import view_operations
from blastscope.models.frozen_split import split_frozen
from blastscope.recipes.schema import Recipe
from blastscope.training.batches import Inputs as NetworkInputs
from blastscope.training.batches import PixelViews, ViewList, Views, views_of_training
from blastscope.training.dataset import TrainingData
from blastscope.training.features import features_of


@dataclass(frozen=True)
class NetworkInput:
    """A source of views, and the network, or the end of one, that takes them."""

    views: Views
    network: Callable[..., Tensor]
    cached: bool = False
    # The memory format of pixels; the network's weights should have the same.
    layout: torch.memory_format = torch.channels_last

    def __call__(self, inputs: NetworkInputs) -> Tensor:
        """Return the logits (N,) of a batch."""
        if isinstance(inputs, tuple):
            return self.network(*inputs)
        return self.network(inputs.contiguous(memory_format=self.layout))

    def to(self, device: torch.device) -> None:
        """Move what the network holds beside the classifier's own weights (traced constants)."""
        if isinstance(self.network, torch.nn.Module):
            self.network.to(device)


def pixel_input(
    classifier: Classifier, inputs: TrainingData, layout: torch.memory_format = torch.channels_last
) -> NetworkInput:
    """Return pixels as the input of the whole network."""
    return NetworkInput(PixelViews(inputs.store.pixels), classifier, layout=layout)


def make_network_input(
    classifier: Classifier,
    recipe: Recipe,
    inputs: TrainingData,
    device: torch.device,
    on_progress: Callable[[int, int], None] | None = None,
    layout: torch.memory_format = torch.channels_last,
) -> NetworkInput:
    """Return the input of a recipe's network: cached features if part of it is frozen.

    Features are kept beside the store (``training.features``). If the network cannot be split, its
    features would not fit, or the pixels of a cell change in every epoch, the input is pixels. The
    network is on the CPU, with the weights that training begins with. ``on_progress`` is called
    with the views computed so far, and their total.
    """
    # An auxiliary head looks at the pixels themselves, to know where the cell is.
    keeps = recipe.training.keeps_views and recipe.model.auxiliary is None
    split = split_frozen(classifier, recipe.input.size) if keeps else None
    if split is not None:
        cache = features_of(split, inputs.store, _wanted(recipe, inputs), device, on_progress)
        if cache is not None:
            return NetworkInput(cache, split.upper, True)
    return pixel_input(classifier, inputs, layout)


def _wanted(recipe: Recipe, inputs: TrainingData) -> ViewList:
    """Return the views of training, of validation, and of the predictions that follow."""
    rows: Any = np.concatenate([inputs.rows[part] for part in PARTS])
    wanted = views_of_training(inputs.training, recipe.training.dihedral)
    for operation in view_operations(recipe.prediction.views):
        wanted = wanted + ViewList.of(rows, operation)
    return wanted
