"""The layer that a recipe means: by timm's name, or by Keras's where the paper uses the network.

Keras's names, which the paper uses, for the layers of timm's VGG16, ResNet-50 and MobileNetV2.

The names are those of keras.applications without the classifier, and the bare names of blocks and
stages besides, which Keras has not: ``block4``, ``conv4_block6``, ``conv4``, ``block_10``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from blastscope.errors import BlastscopeError


class Span(NamedTuple):
    """What a name of Keras's stands for in timm's network.

    Attributes:
        first: the layer that an image enters first, where training from this name begins.
        last: the layer that gives what this one gives, where a cut at this name ends.
        begin_at: the name to train from instead, where timm's order is not Keras's behind it.
        cut_at: the name to cut at instead, where timm joins this layer with the one after it.
    """

    first: str
    last: str
    begin_at: str | None = None
    cut_at: str | None = None


def keras_layers(architecture: str) -> Mapping[str, Span]:
    """Return Keras's names of a network of timm's; none where it is not one of the paper's.

    Args:
        architecture: timm's name without the tag of the weights, such as ``vgg16``.
    """
    make = _FAMILIES.get(architecture)
    return make() if make else {}


def _one(layer: str) -> Span:
    return Span(layer, layer)


def _vgg16() -> dict[str, Span]:
    """Number timm's layers: a ReLU after each convolution, which Keras's has in it, and pools."""
    names = {}
    position = 0
    for block, convolutions in enumerate((2, 2, 3, 3, 3), start=1):
        pool = f"features.{position + 2 * convolutions}"
        names[f"block{block}"] = Span(f"features.{position}", pool)
        for number in range(1, convolutions + 1):
            relu = f"features.{position + 1}"
            names[f"block{block}_conv{number}"] = Span(f"features.{position}", relu)
            position += 2
        names[f"block{block}_pool"] = _one(pool)
        position += 1
    return names


def _resnet50() -> dict[str, Span]:
    names = {
        "conv1_conv": _one("conv1"),
        "conv1_bn": _one("bn1"),
        "conv1_relu": _one("act1"),
        "pool1_pool": _one("maxpool"),
    }
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        own = f"layer{stage}"
        names[f"conv{stage + 1}"] = Span(f"{own}.0", f"{own}.{blocks - 1}")
        for number in range(blocks):
            name = f"conv{stage + 1}_block{number + 1}"
            names |= _bottleneck(name, f"{own}.{number}", shortcut=number == 0)
    return names


def _bottleneck(name: str, own: str, shortcut: bool) -> dict[str, Span]:
    names = {
        name: _one(own),
        # The addition is no module of timm's; training that begins with it passes the block over.
        f"{name}_add": Span(f"{own}.act3", own, cut_at=f"{name}_out"),
        f"{name}_out": Span(f"{own}.act3", own),
    }
    for number in (1, 2, 3):
        names[f"{name}_{number}_conv"] = _one(f"{own}.conv{number}")
        names[f"{name}_{number}_bn"] = _one(f"{own}.bn{number}")
    for number in (1, 2):
        names[f"{name}_{number}_relu"] = _one(f"{own}.act{number}")
    if shortcut:
        # Keras lists 0_conv, 3_conv, 0_bn, 3_bn, where timm calls conv3, bn3 and then the shortcut.
        # What is behind 0_conv in the one is behind conv3 in the other; inside they differ.
        begin = f"{name}_0_conv"
        names[begin] = Span(f"{own}.conv3", f"{own}.downsample.0")
        names[f"{name}_0_bn"] = Span(f"{own}.bn3", f"{own}.downsample.1", begin_at=begin)
        for layer in ("3_conv", "3_bn"):
            names[f"{name}_{layer}"] = names[f"{name}_{layer}"]._replace(begin_at=begin)
    return names


def _mobilenetv2() -> dict[str, Span]:
    names = {
        "Conv1": _one("conv_stem"),
        **_normalisation("bn_Conv1", "Conv1_relu", "bn1"),
        "expanded_conv": _one("blocks.0.0"),
        "expanded_conv_depthwise": _one("blocks.0.0.conv_dw"),
        **_normalisation(
            "expanded_conv_depthwise_BN", "expanded_conv_depthwise_relu", "blocks.0.0.bn1"
        ),
        "expanded_conv_project": _one("blocks.0.0.conv_pw"),
        "expanded_conv_project_BN": _one("blocks.0.0.bn2"),
        "Conv_1": _one("conv_head"),
        **_normalisation("Conv_1_bn", "out_relu", "bn2"),
    }
    number = 0
    for stage, blocks in enumerate((2, 3, 4, 3, 3, 1), start=1):
        for place in range(blocks):
            number += 1
            # A block adds its input where it keeps the width and the size.
            addition = place > 0
            names |= _inverted_residual(f"block_{number}", f"blocks.{stage}.{place}", addition)
    return names


def _inverted_residual(name: str, own: str, addition: bool) -> dict[str, Span]:
    names = {
        name: _one(own),
        f"{name}_expand": _one(f"{own}.conv_pw"),
        **_normalisation(f"{name}_expand_BN", f"{name}_expand_relu", f"{own}.bn1"),
        f"{name}_depthwise": _one(f"{own}.conv_dw"),
        **_normalisation(f"{name}_depthwise_BN", f"{name}_depthwise_relu", f"{own}.bn2"),
        f"{name}_project": _one(f"{own}.conv_pwl"),
        f"{name}_project_BN": _one(f"{own}.bn3"),
    }
    if addition:
        # timm calls its stochastic depth, which drops nothing here, just before it adds.
        names[f"{name}_add"] = Span(f"{own}.drop_path", own)
    return names


def _normalisation(name: str, relu: str, own: str) -> dict[str, Span]:
    """Name a BatchNorm and the ReLU after it, which timm has as one layer."""
    return {name: Span(own, own, cut_at=relu), relu: Span(f"{own}.act", own)}


_FAMILIES: dict[str, Callable[[], dict[str, Span]]] = {
    "vgg16": _vgg16,
    "resnet50": _resnet50,
    "mobilenetv2_100": _mobilenetv2,
}


def layer_named(name: str, backbone: str, order: Sequence[str]) -> str:
    """Return the backbone's own name of the layer with which training from ``name`` begins.

    That of a block is the block, or its first layer where timm has no such block.

    Args:
        name: timm's name of a layer or block, or Keras's where the backbone has them.
        backbone: the recipe's ``model.backbone``, with or without timm's tag.
        order: the names of the layers that an image passes through.

    Raises:
        BlastscopeError: if there is no such layer; it lists near names. Where what timm calls
            after the layer is not what Keras lists after it; it says what to name instead.
    """
    span = _span(name, backbone, order)
    if span.begin_at is not None:
        raise BlastscopeError(
            f"{backbone} cannot be trained from {name}, beside which the block's shortcut runs: "
            f"train from {span.begin_at}."
        )
    return span.first


def layer_to_cut_at(name: str, backbone: str, order: Sequence[str]) -> str:
    """Return the backbone's own name of the last layer to keep; that of a block is its end.

    Args:
        name: timm's name of a layer or block, or Keras's where the backbone has them.
        backbone: the recipe's ``model.backbone``, with or without timm's tag.
        order: the names of the layers that an image passes through.

    Raises:
        BlastscopeError: if there is no such layer, or where the network goes on inside it.
    """
    span = _span(name, backbone, order)
    if span.cut_at is not None:
        raise BlastscopeError(
            f"{backbone} cannot be cut at {name}, which is one layer with the activation after "
            f"it: cut at {span.cut_at}."
        )
    return span.last


def _span(name: str, backbone: str, order: Sequence[str]) -> Span:
    keras = keras_layers(backbone.partition(".")[0])
    span = keras.get(name, Span(name, name))
    if span.first in order:
        return span
    known = [*(alias for alias, there in keras.items() if there.first in order), *order]
    near = difflib.get_close_matches(name, known, n=5, cutoff=0.5) or known[:5]
    raise BlastscopeError(f"{backbone} has no layer {name}; near it are {', '.join(near)}.")
