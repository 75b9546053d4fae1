"""The eight ways to lay a square image: quarter turns, with and without a flip.

A cell under the microscope has no up (paper, Section 3.1), so each of them is as good a picture
of it. Operation ``k + 4 f`` turns by ``k`` quarters, counter-clockwise, and then, where ``f`` is
1, flips left and right.
"""

from __future__ import annotations

import numpy as np
import torch

ROTATIONS = np.array([1, 2, 3], np.uint8)
FLIPS = np.array([4, 6], np.uint8)
"""Left-right, and up-down (half a turn and left-right)."""
COUNT = 8


def lay(pixels: torch.Tensor, operation: int) -> torch.Tensor:
    """Apply one operation to all images of a batch, N × C × S × S."""
    turned = torch.rot90(pixels, operation % 4, dims=(2, 3))
    return turned.flip(3) if operation >= 4 else turned


def dihedral(pixels: torch.Tensor, operations: torch.Tensor) -> torch.Tensor:
    """Apply an operation to each image of a batch.

    Args:
        pixels: N × C × S × S, of any type.
        operations: N numbers in 0..7.

    Returns:
        A new tensor of the same shape and type.
    """
    result = torch.empty_like(pixels, memory_format=torch.contiguous_format)
    for operation in sorted(set(operations.tolist())):
        chosen = operations == operation
        result[chosen] = lay(pixels[chosen], operation)
    return result
