"""The weights as they are stored: as trained, or the large ones in half precision."""

from __future__ import annotations

import numpy as np

from blastscope.errors import BlastscopeError


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


def _halved(tensor: np.ndarray) -> bool:
    return tensor.dtype == np.float32 and tensor.ndim >= 2
