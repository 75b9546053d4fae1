"""Networks small enough to work out by hand, in the place of a run's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from blastscope.data.store import StoreSettings
from blastscope.explanation.models import ExplainedModel


class Base(nn.Module):
    """A 1 × 1 convolution; ``gives_maps`` as a real backbone has it."""

    gives_maps = True

    def __init__(self, weights: Tensor, size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, len(weights), 1, bias=False)
        self.conv.weight.data = weights[:, :, None, None]
        self.shape = (len(weights), size, size)

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images).relu()


class Network(nn.Module):
    """Pixels as they are, a base, and a linear head on its flattened map."""

    def __init__(self, base: nn.Module, head: Tensor, bias: float = 0.0) -> None:
        super().__init__()
        self.normalise = nn.Identity()
        self.backbone = base
        linear = nn.Linear(head.numel(), 1)
        linear.weight.data, linear.bias.data = head.reshape(1, -1), torch.tensor([bias])
        self.head = nn.Sequential(nn.Flatten(), linear)
        self.size_term = None

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(self.normalise(images.float()))).squeeze(1)


def model_of(network: nn.Module, size: int, views: str = "one", **settings: Any) -> ExplainedModel:
    """Dress a network as a run's."""
    recipe = SimpleNamespace(prediction=SimpleNamespace(views=views), name="by hand")
    store = StoreSettings(size=max(size, 16), **settings)
    object.__setattr__(store, "size", size)  # smaller than any store's
    run: Any = SimpleNamespace(settings=store, recipe=recipe, classifier=lambda: network)
    return ExplainedModel("by hand", run, torch.device("cpu"))


def linear_model(
    base: Tensor, head: Tensor, size: int, bias: float = 0.0, views: str = "one"
) -> ExplainedModel:
    """A network of ``relu(base · pixels)``, then ``head`` (channels, size, size)."""
    return model_of(Network(Base(base, size), head, bias), size, views)
