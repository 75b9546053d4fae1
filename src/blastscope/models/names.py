"""Layer names: Keras's, which the paper uses, for the layers of timm's networks."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

from blastscope.errors import BlastscopeError

# Keras's block_1 .. block_16 in timm's stages (timm.models.efficientnet, mobilenetv2_100); its
# expanded_conv is timm's blocks.0.0.
_MOBILENETV2_STAGES = ((1, 2), (3, 5), (6, 9), (10, 12), (13, 15), (16, 16))
_WITHOUT_ADDITION = {1, 3, 6, 10, 13, 16}
# timm joins a normalisation with the ReLU after it, so both names mean the same layer here.
_INVERTED_RESIDUAL = {
    "_expand": "conv_pw",
    "_expand_BN": "bn1",
    "_expand_relu": "bn1",
    "_depthwise": "conv_dw",
    "_depthwise_BN": "bn2",
    "_depthwise_relu": "bn2",
    "_project": "conv_pwl",
    "_project_BN": "bn3",
}
_MOBILENETV2_ENDS = {
    "Conv1": "conv_stem",
    "bn_Conv1": "bn1",
    "Conv1_relu": "bn1",
    "expanded_conv": "blocks.0.0",
    "expanded_conv_depthwise": "blocks.0.0.conv_dw",
    "expanded_conv_depthwise_BN": "blocks.0.0.bn1",
    "expanded_conv_depthwise_relu": "blocks.0.0.bn1",
    "expanded_conv_project": "blocks.0.0.conv_pw",
    "expanded_conv_project_BN": "blocks.0.0.bn2",
    "Conv_1": "conv_head",
    "Conv_1_bn": "bn2",
    "out_relu": "bn2",
}


def _mobilenetv2() -> dict[str, str]:
    aliases = dict(_MOBILENETV2_ENDS)
    for stage, (first, last) in enumerate(_MOBILENETV2_STAGES, start=1):
        for number in range(first, last + 1):
            block = f"blocks.{stage}.{number - first}"
            aliases[f"block_{number}"] = block
            for suffix, layer in _INVERTED_RESIDUAL.items():
                aliases[f"block_{number}{suffix}"] = f"{block}.{layer}"
            if number not in _WITHOUT_ADDITION:
                aliases[f"block_{number}_add"] = block
    return aliases


_ALIASES: dict[str, Callable[[], dict[str, str]]] = {"mobilenetv2_100": _mobilenetv2}


def layer_named(name: str, backbone: str, order: Sequence[str]) -> str:
    """Return the backbone's own name of the layer ``name``.

    Args:
        name: timm's name of a layer, or Keras's where the backbone has aliases.
        backbone: the recipe's ``model.backbone``, with or without timm's tag.
        order: the names of the layers that an image passes through.

    Raises:
        BlastscopeError: where there is no such layer; it lists near names.
    """
    aliases = _aliases(backbone)
    own = aliases.get(name, name)
    if own in order:
        return own
    known = [*aliases, *order]
    near = difflib.get_close_matches(name, known, n=5, cutoff=0.5) or known[:5]
    raise BlastscopeError(f"{backbone} has no layer {name}; near it are {', '.join(near)}.")


def layer_to_cut_at(name: str, backbone: str, order: Sequence[str]) -> str:
    """Return the backbone's own name of the last layer to keep.

    Raises:
        BlastscopeError: where there is no such layer, or where the network goes on inside it.
    """
    own = layer_named(name, backbone, order)
    aliases = _aliases(backbone)
    rectified = next(
        (alias for alias, layer in aliases.items() if layer == own and alias.endswith("relu")), name
    )
    if name != own and rectified != name:
        raise BlastscopeError(
            f"{backbone} cannot be cut at {name}, which is one layer with the activation after "
            f"it: cut at {rectified}."
        )
    return own


def _aliases(backbone: str) -> dict[str, str]:
    make = _ALIASES.get(backbone.partition(".")[0])
    return make() if make else {}
