"""The eight dihedral views of a square image: quarter turns, with and without a flip.

A cell under the microscope has no up (paper, Section 3.1), so each view is as good an image of it.
Operation ``k + 4 f`` turns by ``k`` quarters, counter-clockwise, and then flips left and right if
``f`` is 1. Augmentation draws from the eight; test-time augmentation (TTA) averages over them.
NumPy arrays and PyTorch tensors go through the same definition, which imports no PyTorch.

Operation ``8 + k`` turns by an eighth and ``k`` quarters, with bilinear interpolation and black
from outside; only the views ``rotations8`` of a prediction use it.
"""

from __future__ import annotations

from functools import cache
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
INVERSE = (0, 3, 2, 1, 4, 5, 6, 7, 11, 10, 9, 8)
"""The operation that undoes each: a flip after a turn undoes itself."""
OPERATIONS = len(INVERSE)
EIGHTHS = (0, 8, 1, 9, 2, 10, 3, 11)
"""Turns by 0, 45, ..., 315 degrees."""
CHANNELS_FIRST, CHANNELS_LAST = (-2, -1), (-3, -2)
"""The axes of rows and columns in (…, C, S, S) and in (…, S, S, C)."""
_STEPS = (
    (False, False, False), (False, True, True), (True, True, False), (True, False, True),
    (False, True, False), (True, True, True), (True, False, False), (False, False, True),
)  # fmt: skip
"""Of each operation: flip the rows, flip the columns, then exchange rows and columns."""


def view_operations(setting: str) -> tuple[int, ...]:
    """Return the operations of a recipe's ``prediction.views``, each of which makes a view."""
    return {"one": (0,), "dihedral": tuple(range(VIEWS)), "rotations8": EIGHTHS}[setting]


def count_views(setting: str) -> int:
    """Return the number of views of a recipe's ``prediction.views``."""
    return len(view_operations(setting))


def dihedral_view(images: Images, operation: int, axes: tuple[int, int] = CHANNELS_FIRST) -> Images:
    """Return one view of all images of a batch, perhaps as a view of the same memory.

    Args:
        images: any number of axes, two of them of the same length.
        operation: 0 to 11.
    """
    if operation >= VIEWS:
        return dihedral_view(_eighth_turn(images, axes), operation - VIEWS, axes)
    flip_rows, flip_columns, exchange = _STEPS[operation]
    flipped = [axis for axis, asked in zip(axes, (flip_rows, flip_columns), strict=True) if asked]
    view: Any = images
    if flipped:
        view = np.flip(view, tuple(flipped)) if isinstance(view, np.ndarray) else view.flip(flipped)
    return cast("Images", view.swapaxes(*axes) if exchange else view)


def _eighth_turn(images: Images, axes: tuple[int, int]) -> Images:
    """Turn images by 45 degrees, counter-clockwise, about their centre.

    Only additions of shifted rows, so that NumPy, PyTorch and an ONNX file compute the same. The
    result has the type of ``images``; of integers it is rounded.
    """
    array, last = isinstance(images, np.ndarray), axes == CHANNELS_LAST
    given: Any = images
    shape: tuple[int, ...] = given.shape
    side = shape[axes[0]]
    flat = given.astype(np.float32) if array else given.float()
    pixels = (*shape[:-3], side * side, shape[-1]) if last else (*shape[:-2], side * side)
    flat = flat.reshape(pixels)
    turned: Any = 0
    for index, weight in zip(*_corners(side), strict=True):
        share: Any = weight[:, None] if last else weight
        if array:
            corner = flat.take(index, axis=-2 if last else -1)
        else:
            share = flat.new_tensor(share)
            # By way of floats, which are exact for so small a number: no PyTorch is imported here.
            corner = flat.index_select(-2 if last else -1, flat.new_tensor(index).long())
        turned = turned + share * corner
    turned = turned.reshape(shape)
    whole = given.dtype.kind != "f" if array else not given.dtype.is_floating_point
    turned = turned.round() if whole else turned
    return cast("Images", turned.astype(given.dtype) if array else turned.to(given.dtype))


@cache
def _corners(side: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return where the four neighbours of each turned pixel lie, and their weights.

    Both are (4, side * side); a neighbour outside has no weight.
    """
    centre, half = (side - 1) / 2, np.sqrt(0.5)
    rows, columns = np.mgrid[:side, :side] - centre
    # The content turns counter-clockwise: a pixel takes what lay clockwise of it.
    y, x = half * (rows + columns) + centre, half * (columns - rows) + centre
    top, left = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    found, weights = [], []
    for down in (0, 1):
        for right in (0, 1):
            row, column = top + down, left + right
            weight = (1 - np.abs(y - row)) * (1 - np.abs(x - column))
            inside = (row >= 0) & (row < side) & (column >= 0) & (column < side)
            place = np.clip(row, 0, side - 1) * side + np.clip(column, 0, side - 1)
            found.append(place.ravel())
            weights.append(np.where(inside, weight, 0).ravel())
    return np.stack(found), np.stack(weights).astype(np.float32)


def dihedral_views(images: Images, operations: Any) -> Images:
    """Return new images (N, C, S, S), each in a view of its own.

    ``operations`` are N numbers of 0 to 11, an array or tensor as ``images``.
    """
    if isinstance(images, np.ndarray):
        result: Any = np.empty_like(images, order="C")
    else:
        result = images.new_empty(images.shape)
    for operation in sorted({int(one) for one in operations}):
        chosen = operations == operation
        result[chosen] = dihedral_view(images[chosen], operation)
    return cast("Images", result)
