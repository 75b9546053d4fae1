"""The eight dihedral views of a square image: quarter turns, with and without a flip.

A cell under the microscope has no up (paper, Section 3.1), so each view is as good an image of it.
Operation ``k + 4 f`` turns by ``k`` quarters, counter-clockwise, and then flips left and right if
``f`` is 1. Augmentation draws from the eight; test-time augmentation (TTA) averages over them.
NumPy arrays and PyTorch tensors go through the same definition, which imports no PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Images = TypeVar("Images", NDArray[Any], "Tensor")

VIEWS = 8
ROTATIONS = np.array([1, 2, 3], np.uint8)
FLIPS = np.array([4, 6], np.uint8)
"""Left-right, and up-down (half a turn and left-right)."""
INVERSE = (0, 3, 2, 1, 4, 5, 6, 7)
"""The operation that undoes each: a flip after a turn undoes itself."""
CHANNELS_FIRST, CHANNELS_LAST = (-2, -1), (-3, -2)
"""The axes of rows and columns in (…, C, S, S) and in (…, S, S, C)."""
_STEPS = (
    (False, False, False), (False, True, True), (True, True, False), (True, False, True),
    (False, True, False), (True, True, True), (True, False, False), (False, False, True),
)  # fmt: skip
"""Of each operation: flip the rows, flip the columns, then exchange rows and columns."""


def count_views(setting: str) -> int:
    """Return the number of views of a recipe's ``prediction.views``, ``one`` or ``dihedral``."""
    return VIEWS if setting == "dihedral" else 1


def dihedral_view(images: Images, operation: int, axes: tuple[int, int] = CHANNELS_FIRST) -> Images:
    """Return one view of all images of a batch, perhaps as a view of the same memory.

    Args:
        images: any number of axes, two of them of the same length.
        operation: 0 to 7.
    """
    flip_rows, flip_columns, exchange = _STEPS[operation]
    flipped = [axis for axis, asked in zip(axes, (flip_rows, flip_columns), strict=True) if asked]
    view: Any = images
    if flipped:
        view = np.flip(view, tuple(flipped)) if isinstance(view, np.ndarray) else view.flip(flipped)
    return cast("Images", view.swapaxes(*axes) if exchange else view)


def dihedral_views(images: Images, operations: Any) -> Images:
    """Return new images (N, C, S, S), each in a view of its own.

    ``operations`` are N numbers of 0 to 7, an array or tensor as ``images``.
    """
    if isinstance(images, np.ndarray):
        result: Any = np.empty_like(images, order="C")
    else:
        result = images.new_empty(images.shape)
    for operation in sorted({int(one) for one in operations}):
        chosen = operations == operation
        result[chosen] = dihedral_view(images[chosen], operation)
    return cast("Images", result)
