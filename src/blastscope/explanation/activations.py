"""What a network's layers make of a cell: a map a channel (paper, figures 36 and 37)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from blastscope.explanation.models import ExplainedModel
from blastscope.models.backbones import Backbone

TINY = 1e-6
"""A map that varies by no more than this share of its largest value does not vary."""


@dataclass(frozen=True)
class Layer:
    """A layer whose outcome is a map.

    Attributes:
        name: of the module within the backbone's network.
        title: for a reader: ``first convolution (conv1 to relu1)``.
        shape: (C, h, w) of its outcome.
    """

    name: str
    title: str
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class LayerMaps:
    """What a layer makes of images: float32, (N, C, h, w)."""

    layer: Layer
    maps: NDArray[np.float32]

    @property
    def dead(self) -> NDArray[np.bool_]:
        """Which maps do not vary on their image, (N, C)."""
        least, most = self.maps.min(axis=(2, 3)), self.maps.max(axis=(2, 3))
        return np.asarray(most - least <= TINY * np.maximum(np.abs(least), np.abs(most)))


def feature_maps(
    model: ExplainedModel, images: Tensor, layers: Sequence[Layer]
) -> tuple[LayerMaps, ...]:
    """Return what layers make of images as they lie, whatever views the model predicts with.

    The network is left as soon as the last of the layers has spoken.

    Args:
        model: the network.
        images: (N, 3, S, S), RGB, 0..255.
        layers: of :func:`layers.choose_layers`, for this model.
    """
    backbone = model.classifier.backbone
    modules = dict(backbone.net.named_modules())
    found: dict[str, Tensor] = {}

    def keep(name: str, _: object, outcome: object) -> None:
        laid = as_map(outcome, backbone, modules[name], len(images))
        if name not in found and laid is not None:  # a layer that is used again: its first use
            # A copy at once, for a later layer may write in the same place.
            found[name] = laid.detach().to("cpu", torch.float32, copy=True)
        if len(found) == len(names):
            raise _Enough

    names = {layer.name for layer in layers}
    with listening({name: modules[name] for name in names}, keep):
        if names:
            run_through(model, images.to(model.device))
    return tuple(LayerMaps(layer, found[layer.name].numpy()) for layer in layers)


class _Enough(Exception):  # noqa: N818 - no error: it leaves a network early
    """All that was wanted is there."""


@contextmanager
def listening(
    modules: dict[str, nn.Module], keep: Callable[[str, object, object], None]
) -> Iterator[None]:
    """Call ``keep`` with a module's name, what it is given and its outcome, whenever it ends."""

    def hook(name: str) -> Callable[[nn.Module, tuple[object, ...], object], None]:
        return lambda _, given, outcome: keep(name, given[0] if given else None, outcome)

    hooks = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
    try:
        yield
    except _Enough:
        pass
    finally:
        for one in hooks:
            one.remove()


def run_through(model: ExplainedModel, images: Tensor) -> None:
    """Let images pass the model's backbone, for those who listen."""
    with torch.no_grad():
        model.classifier.backbone.features(model.classifier.normalise(images))


def as_map(outcome: object, backbone: Backbone, module: nn.Module, images: int) -> Tensor | None:
    """Lay an outcome out as (N, C, h, w); None where it has no places side by side."""
    if not isinstance(outcome, Tensor) or outcome.ndim not in (3, 4) or len(outcome) != images:
        return None
    if outcome.ndim == 3:
        laid = backbone.as_map(outcome)
        tokens = outcome.shape[1]
        if laid.shape[3] == 1 and isqrt(tokens) ** 2 == tokens:  # before a class token has joined
            laid = outcome.transpose(1, 2).unflatten(2, (isqrt(tokens), -1))  # type: ignore[no-untyped-call]
    else:
        first, last = outcome.shape[2] == outcome.shape[3], outcome.shape[1] == outcome.shape[2]
        if first and last:  # as many channels as fields a side: a convolution has them first
            last = not backbone.gives_maps and not isinstance(module, nn.Conv2d)
        laid = outcome.permute(0, 3, 1, 2) if last else outcome
    square = laid.shape[2] == laid.shape[3] and laid.shape[2] > 1
    return laid if square else None
