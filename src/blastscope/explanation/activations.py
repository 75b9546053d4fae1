"""Activations of a network's layers: a map a channel (paper, figures 36 and 37)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
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
    """A layer whose output is a map."""

    name: str  # of the module within the backbone's network
    title: str  # for a reader: ``first convolution (conv1 to relu1)``
    shape: tuple[int, int, int]  # (C, h, w) of its output


@dataclass(frozen=True)
class LayerMaps:
    """The activations of a layer: float32, (N, C, h, w)."""

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
    """Return the activations of layers for images (N, 3, S, S), RGB, 0..255, in one view.

    The network is left as soon as the last of the layers has its output. The layers are those that
    :func:`layer_choice.choose_layers` chose for this model.
    """
    backbone = model.classifier.backbone
    modules = dict(backbone.net.named_modules())
    found: dict[str, Tensor] = {}

    def keep(name: str, _: object, output: object) -> None:
        laid = as_map(output, backbone, modules[name], len(images))
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


class _Enough(Exception):  # noqa: N818 - not an error: it leaves a network early
    """Every layer has its output."""


@contextmanager
def listening(
    modules: dict[str, nn.Module], keep: Callable[[str, object, object], None]
) -> Iterator[None]:
    """Call ``keep`` with a module's name, its input and its output, whenever it ends."""

    def hook(name: str) -> Callable[[nn.Module, tuple[object, ...], object], None]:
        return lambda _, inputs, output: keep(name, inputs[0] if inputs else None, output)

    with ExitStack() as hooks, suppress(_Enough):
        for name, module in modules.items():
            hooks.enter_context(module.register_forward_hook(hook(name)))
        yield


def run_through(model: ExplainedModel, images: Tensor) -> None:
    """Pass images through the model's backbone, for the hooks."""
    with torch.no_grad():
        model.classifier.backbone.features(model.classifier.normalise(images))


def as_map(output: object, backbone: Backbone, module: nn.Module, images: int) -> Tensor | None:
    """Return an output as (N, C, h, w); None if it is not a map."""
    if not isinstance(output, Tensor) or output.ndim not in (3, 4) or len(output) != images:
        return None
    if output.ndim == 3:
        laid = backbone.as_map(output)
        tokens = output.shape[1]
        if laid.shape[3] == 1 and isqrt(tokens) ** 2 == tokens:  # before a class token has joined
            laid = output.transpose(1, 2).unflatten(2, (isqrt(tokens), -1))  # type: ignore[no-untyped-call]
    else:
        first, last = output.shape[2] == output.shape[3], output.shape[1] == output.shape[2]
        if first and last:  # as many channels as positions a side: a convolution has them first
            last = not backbone.gives_maps and not isinstance(module, nn.Conv2d)
        laid = output.permute(0, 3, 1, 2) if last else output
    square = laid.shape[2] == laid.shape[3] and laid.shape[2] > 1
    return laid if square else None
