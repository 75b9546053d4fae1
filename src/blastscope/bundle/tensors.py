"""The weights as they are stored: as trained, or the large ones in half precision."""

from __future__ import annotations

import numpy as np

from blastscope.errors import BlastscopeError


def stored_weights(content: bytes, half: bool) -> bytes:
    """Return safetensors as a bundle keeps them.

    Args:
        content: safetensors of a checkpoint.
        half: store tensors of two dimensions and more in half precision. Biases and the statistics
            of batch normalization stay as they are: they are few, and half precision may round
            a variance to zero.

    Returns:
        The same bytes unless ``half``.

    Raises:
        BlastscopeError: if a weight is not finite or too large for half precision.
    """
    from safetensors.numpy import load, save

    tensors = load(content)
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise BlastscopeError(f"The weights {name} contain NaN or infinity: train again.")
    if not half:
        return content
    stored = {
        name: tensor.astype(np.float16) if _halved(tensor) else tensor
        for name, tensor in tensors.items()
    }
    for name, tensor in stored.items():
        if not np.isfinite(tensor).all():
            raise BlastscopeError(
                f"The weights {name} are too large for half precision: leave --half out."
            )
    return bytes(save(stored))


def _halved(tensor: np.ndarray) -> bool:
    return tensor.dtype == np.float32 and tensor.ndim >= 2
