"""The weights as they are stored: as trained, or the large ones in half precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from blastscope.errors import BlastscopeError

if TYPE_CHECKING:
    from blastscope.models.classifier import Classifier
    from blastscope.recipes.schema import Recipe


def stored_weights(content: bytes, half: bool) -> bytes:
    """Return safetensors as a bundle keeps them.

    Args:
        content: safetensors of a checkpoint.
        half: store what has two dimensions and more in half precision. Biases and the figures of
            batch normalisation stay as they are: they are few, and variances may be below what
            half precision can tell from nothing.

    Returns:
        The same bytes unless ``half``.

    Raises:
        BlastscopeError: where a weight is no number, or too large for half precision.
    """
    from safetensors.numpy import load, save

    tensors = load(content)
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise BlastscopeError(f"The weights {name} hold what is no number: train again.")
    if not half:
        return content
    stored = {
        name: tensor.astype(np.float16) if _halved(tensor) else tensor
        for name, tensor in tensors.items()
    }
    for name, tensor in stored.items():
        if not np.isfinite(tensor).all():
            raise BlastscopeError(f"The weights {name} are too large for half precision.")
    return bytes(save(stored))


def fill(classifier: Classifier, stored: bytes) -> Classifier:
    """Fill a network with weights as a bundle keeps them, in the network's own precision.

    Raises:
        RuntimeError: where they are of another network.
    """
    from safetensors.torch import load

    tensors = load(stored)
    for name, own in classifier.state_dict().items():
        if name in tensors:
            tensors[name] = tensors[name].to(own.dtype)
    classifier.load_state_dict(tensors)
    return classifier


def is_larger(recipe: Recipe, stored: bytes) -> bool:
    """Say whether a recipe's network has more weights than are stored for it.

    It is built without memory of its own first, so that a recipe from outside cannot ask for more
    than there is. A backbone that cannot be built so is taken to be no larger.
    """
    import torch
    from safetensors.numpy import load

    from blastscope.models.classifier import build_model

    try:
        with torch.device("meta"):
            wanted = build_model(recipe, pretrained=False)
    except Exception:  # what a backbone does that has no counterpart there
        return False
    held = sum(tensor.size for tensor in load(stored).values())
    return sum(parameter.numel() for parameter in wanted.parameters()) > held


def _halved(tensor: np.ndarray) -> bool:
    return tensor.dtype == np.float32 and tensor.ndim >= 2
