"""Backbones: from an image to a feature map, whole or cut at a layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from math import isqrt
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers import (  # type: ignore[attr-defined]
    DropPath,
    create_feature_extractor,
    register_notrace_module,
)
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from blastscope.errors import BlastscopeError, did_you_mean
from blastscope.models import caffe_resnet
from blastscope.models.layer_names import layer_to_cut_at
from blastscope.models.pretrained import PARTS, load_weights, weights_file
from blastscope.models.scratch import make_trunk
from blastscope.models.sdct import make_sdct
from blastscope.recipes.schema import SCRATCH_TRUNKS, Model
from blastscope.registry import find, names

_CUT = "features"


class Backbone(nn.Module):
    """A network without its classifier."""

    # Whether its layers' outputs are (N, C, H, W), as those of convolutions are, and not tokens or
    # maps with channels last.
    gives_maps: bool

    def __init__(self, name: str, net: nn.Module, size: int) -> None:
        super().__init__()
        self.name = name
        self.net = net  # timm's, a registered one or one of ``models.scratch``
        # What timm records of the network's training; empty for other networks.
        self.config: Mapping[str, Any] = getattr(net, "pretrained_cfg", {})
        self.cut: str | None = None  # timm's name of the last layer that is kept
        self.initial: Path | None = None  # the file that its pretrained weights were read from
        self._channels_last = getattr(net, "output_fmt", "NCHW") == "NHWC"
        self._prefix_tokens = int(getattr(net, "num_prefix_tokens", 0))
        # The layers' names, containers included, in the order in which an image enters them.
        self.layers = self._entered_layers(size)
        self.unused = self._drop_unused()  # the removed children, above all the classifier
        self.shape = self._shape(size)  # (C, H, W) of the feature map

    def forward(self, images: Tensor) -> Tensor:
        """Map normalized images (N, 3, S, S) to features (N, C, H, W)."""
        return self.as_map(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """Return the output of the network itself: tokens or a map, perhaps with channels last."""
        net: Any = self.net
        if self.cut:
            return net(images)[_CUT]  # type: ignore[no-any-return]
        return getattr(net, "forward_features", net)(images)  # type: ignore[no-any-return]

    def as_map(self, features: Tensor) -> Tensor:
        """Reshape the network's output to (N, C, H, W).

        The tokens of a transformer become a map, without the class and register tokens.
        """
        if features.ndim == 3:
            tokens = features[:, self._prefix_tokens :].transpose(1, 2)
            side = isqrt(tokens.shape[2])
            width = side if side * side == tokens.shape[2] else 1
            return tokens.unflatten(2, (-1, width))  # type: ignore[no-any-return, no-untyped-call]
        return features.permute(0, 3, 1, 2) if self._channels_last else features

    def cut_at(self, name: str, size: int) -> None:
        """Remove everything after the layer ``name``, which may be a residual addition.

        Raises:
            BlastscopeError: if the backbone has no such layer or cannot be cut there.
        """
        layer = layer_to_cut_at(name, self.name, self.layers)
        # Layers that differ between training and evaluation stay whole: each keeps its own mode.
        moody = (_NormBase, nn.modules.dropout._DropoutNd, DropPath)
        for kind in {type(module) for module in self.net.modules() if isinstance(module, moody)}:
            register_notrace_module(kind)
        try:
            self.net = create_feature_extractor(self.net, {layer: _CUT})
        except Exception as error:  # torch.fx raises what the traced code raises
            reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
            raise BlastscopeError(f"{self.name} cannot be cut at {name}: {reason}.") from error
        self.cut = layer
        left = {module_name for module_name, _ in self.net.named_modules()}
        self.layers = tuple(layer_name for layer_name in self.layers if layer_name in left)
        self.shape = self._shape(size)

    def _entered_layers(self, size: int) -> tuple[str, ...]:
        entered: list[str] = []
        with ExitStack() as hooks:
            for name, module in self.net.named_modules():
                note = lambda *_, name=name: entered.append(name)  # noqa: E731
                hooks.enter_context(module.register_forward_pre_hook(note))
            self._shape(size)
        return tuple(name for name in dict.fromkeys(entered) if name)

    def _drop_unused(self) -> tuple[str, ...]:
        """Remove the children that no image passes through, those of the classifier."""
        used = {name.partition(".")[0] for name in self.layers}
        unused = tuple(name for name, _ in self.net.named_children() if name not in used)
        for name in unused:
            setattr(self.net, name, nn.Identity())
        return unused

    def _shape(self, size: int) -> tuple[int, int, int]:
        self.eval()
        try:
            with torch.no_grad():
                output = self.features(torch.zeros(1, 3, size, size))
                features = self.as_map(output) if isinstance(output, Tensor) else None
        except (RuntimeError, AssertionError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else "they do not fit"
            raise BlastscopeError(
                f"{self.name} cannot take images of {size} pixels ({reason}): "
                "choose another input.size."
            ) from error
        finally:
            self.train()
        if not isinstance(features, Tensor) or features.ndim != 4:
            raise BlastscopeError(
                f"{self.name} does not return a feature map: choose another backbone."
            )
        self.gives_maps = output.ndim == 4 and not self._channels_last
        _, channels, height, width = features.shape
        return channels, height, width


def make_backbone(
    model: Model, size: int, weights_dir: Path | None = None, pretrained: bool = True
) -> Backbone:
    """Build the backbone of a recipe for images of ``size`` pixels a side.

    Its ImageNet weights, if any, come from ``weights_dir`` or else timm's hub; they are not read if
    not ``pretrained``, for a network that a checkpoint will fill.

    Raises:
        BlastscopeError: if the backbone, its weights or the layer to cut at do not exist.
    """
    make = find("network", model.backbone)
    if make is not None and model.weights == "imagenet":
        raise BlastscopeError(f"{model.backbone} has no ImageNet weights: write weights: none.")
    if make is None:
        built_in: Callable[[str, int], nn.Module]
        built_in = make_trunk if model.backbone in SCRATCH_TRUNKS else _make_timm
        built_in = make_sdct if model.backbone == "sdct" else built_in
        make = partial(built_in, model.backbone)
    backbone = Backbone(model.backbone, make(size), size)
    children = tuple(name for name, _ in backbone.net.named_children())
    path = None
    if pretrained and model.weights == "imagenet":
        path = weights_file(backbone.config, model.backbone, weights_dir, model.cut)
        backbone.initial = path
    in_part = path is not None and path.stem in PARTS.values()
    if path is not None and not in_part:
        load_weights(backbone.net, path, backbone.unused)
    if model.cut is not None:
        backbone.cut_at(model.cut, size)
    if path is not None and in_part:  # a file with the first part alone fits what is left
        load_weights(backbone.net, path, (*backbone.unused, *children))
    return backbone


def _make_timm(name: str, size: int) -> nn.Module:
    if name == caffe_resnet.NAME:
        return caffe_resnet.make_caffe_resnet50()
    if not timm.is_model(name):
        others = names("network")
        near = did_you_mean(name.partition(".")[0], [*timm.list_models(), *others])
        raise BlastscopeError(
            f"There is no backbone {name}{near}: choose one of timm's, {', '.join(others)}, or "
            "import the module that registers it."
        )
    try:
        config = timm.get_pretrained_cfg(name)
        options: dict[str, Any] = {"img_size": size} if config and config.fixed_input_size else {}
        return timm.create_model(name, num_classes=0, **options)
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise BlastscopeError(
            f"timm cannot build {name} for images of {size} pixels: {reason}."
        ) from error
