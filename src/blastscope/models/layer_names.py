"""The layer that a recipe means: by timm's name, or by Keras's if the paper uses the network.

Keras's names are those of keras.applications without the classifier, for timm's VGG16, ResNet-50
and MobileNetV2. Blocks and stages have bare names, which Keras lacks: ``block4``, ``conv4_block6``,
``conv4``, ``block_10``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from blastscope.errors import BlastscopeError


class Span(NamedTuple):
    """What a name of Keras's stands for in timm's network."""

    first: str  # the layer that an image enters first, from which training begins
    last: str  # the layer with the same output, after which a cut network ends
    # The name to train from instead, if timm's order differs from Keras's after it.
    begin_at: str | None = None
    # The name to cut at instead, if timm joins this layer with the one after it.
    cut_at: str | None = None


def keras_layers(architecture: str) -> Mapping[str, Span]:
    """Return Keras's names of a network of timm's; none if it is not one of the paper's.

    Args:
        architecture: timm's name without the tag of the weights, such as ``vgg16``.
    """
    make = _FAMILIES.get(architecture)
    return make() if make else {}


def _one(layer: str) -> Span:
    return Span(layer, layer)


def _vgg16() -> dict[str, Span]:
    """Number timm's layers: each convolution, its ReLU, which Keras counts to it, and the pools."""
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
    stem = {"conv1_conv": "conv1", "conv1_bn": "bn1", "conv1_relu": "act1", "pool1_pool": "maxpool"}
    names = {name: _one(layer) for name, layer in stem.items()}
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
        # timm has no module for the addition; training that begins with it leaves the block out.
        f"{name}_add": Span(f"{own}.act3", own, cut_at=f"{name}_out"),
        f"{name}_out": Span(f"{own}.act3", own),
    }
    for keras, timm, count in (("conv", "conv", 3), ("bn", "bn", 3), ("relu", "act", 2)):
        for number in range(1, count + 1):
            names[f"{name}_{number}_{keras}"] = _one(f"{own}.{timm}{number}")
    if shortcut:
        # Keras lists 0_conv, 3_conv, 0_bn, 3_bn; timm calls conv3, bn3 and then the shortcut. The
        # layers after 0_conv in Keras are those after conv3 in timm; between these they differ.
        begin = f"{name}_0_conv"
        names[begin] = Span(f"{own}.conv3", f"{own}.downsample.0")
        names[f"{name}_0_bn"] = Span(f"{own}.bn3", f"{own}.downsample.1", begin_at=begin)
        for layer in ("3_conv", "3_bn"):
            names[f"{name}_{layer}"] = names[f"{name}_{layer}"]._replace(begin_at=begin)
    return names


def _mobilenetv2() -> dict[str, Span]:
    own = "blocks.0.0"
    names = {
        **_convolution("Conv1", "bn_Conv1", "Conv1_relu", "conv_stem", "bn1"),
        "expanded_conv": _one(own),
        **_step("expanded_conv_depthwise", f"{own}.conv_dw", f"{own}.bn1"),
        "expanded_conv_project": _one(f"{own}.conv_pw"),
        "expanded_conv_project_BN": _one(f"{own}.bn2"),
        **_convolution("Conv_1", "Conv_1_bn", "out_relu", "conv_head", "bn2"),
    }
    number = 0
    for stage, blocks in enumerate((2, 3, 4, 3, 3, 1), start=1):
        for position in range(blocks):
            number += 1
            name, own = f"block_{number}", f"blocks.{stage}.{position}"
            names |= {
                name: _one(own),
                **_step(f"{name}_expand", f"{own}.conv_pw", f"{own}.bn1"),
                **_step(f"{name}_depthwise", f"{own}.conv_dw", f"{own}.bn2"),
                f"{name}_project": _one(f"{own}.conv_pwl"),
                f"{name}_project_BN": _one(f"{own}.bn3"),
            }
            if position > 0:  # it keeps width and size, so it adds its input
                # timm calls its stochastic depth, which drops nothing here, just before it adds.
                names[f"{name}_add"] = Span(f"{own}.drop_path", own)
    return names


def _step(name: str, layer: str, norm: str) -> dict[str, Span]:
    return _convolution(name, f"{name}_BN", f"{name}_relu", layer, norm)


def _convolution(conv: str, bn: str, relu: str, layer: str, norm: str) -> dict[str, Span]:
    """Name a convolution, its BatchNorm and its ReLU; timm has the last two as one layer."""
    joined = {bn: Span(norm, norm, cut_at=relu), relu: Span(f"{norm}.act", norm)}
    return {conv: _one(layer), **joined}


_FAMILIES: dict[str, Callable[[], dict[str, Span]]] = {
    "vgg16": _vgg16,
    "resnet50": _resnet50,
    "mobilenetv2_100": _mobilenetv2,
}


def layer_named(name: str, backbone: str, layers: Sequence[str]) -> str:
    """Return the backbone's own name of the layer with which training from ``name`` begins.

    For a block it is the block, or its first layer if timm has no such block.

    Args:
        name: timm's name of a layer or block, or Keras's if the backbone has them.
        backbone: the recipe's ``model.backbone``, with or without timm's tag.
        layers: the names of the layers that an image passes through, in order.

    Raises:
        BlastscopeError: if there is no such layer (it lists similar names), or timm calls other
            layers after it than Keras lists (it names the layer to choose instead).
    """
    span = _span(name, backbone, layers)
    if span.begin_at is not None:
        raise BlastscopeError(
            f"{backbone} cannot be trained from {name}, beside which the block's shortcut runs: "
            f"train from {span.begin_at}."
        )
    return span.first


def layer_to_cut_at(name: str, backbone: str, layers: Sequence[str]) -> str:
    """Return the backbone's own name of the last layer to keep; for a block, its end.

    The arguments are those of :func:`layer_named`.

    Raises:
        BlastscopeError: if there is no such layer, or timm joins it with the next one.
    """
    span = _span(name, backbone, layers)
    if span.cut_at is not None:
        raise BlastscopeError(
            f"{backbone} cannot be cut at {name}, which is one layer with the activation after "
            f"it: cut at {span.cut_at}."
        )
    return span.last


def _span(name: str, backbone: str, layers: Sequence[str]) -> Span:
    keras = keras_layers(backbone.partition(".")[0])
    span = keras.get(name, _one(name))
    if span.first in layers:
        return span
    known = [*(alias for alias, there in keras.items() if there.first in layers), *layers]
    near = difflib.get_close_matches(name, known, n=5, cutoff=0.5) or known[:5]
    raise BlastscopeError(f"{backbone} has no layer {name}; near it are {', '.join(near)}.")
