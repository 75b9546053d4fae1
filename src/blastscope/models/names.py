"""The layer that a recipe means: by timm's name, or by Keras's where the paper uses the network."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from blastscope.errors import BlastscopeError
from blastscope.models.keras_names import Span, keras_layers


def layer_named(name: str, backbone: str, order: Sequence[str]) -> str:
    """Return the backbone's own name of the layer with which training from ``name`` begins.

    That of a block is the block, or its first layer where timm has no such block.

    Args:
        name: timm's name of a layer or block, or Keras's where the backbone has them.
        backbone: the recipe's ``model.backbone``, with or without timm's tag.
        order: the names of the layers that an image passes through.

    Raises:
        BlastscopeError: where there is no such layer; it lists near names. Where what timm calls
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
        BlastscopeError: where there is no such layer, or where the network goes on inside it.
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
