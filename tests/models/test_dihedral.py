"""The eight dihedral operations are a group, and the same for NumPy and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import rotate

from blastscope.models.dihedral import (
    CHANNELS_LAST,
    INVERSE,
    VIEWS,
    count_views,
    dihedral_view,
    dihedral_views,
    view_operations,
)

OPERATIONS = st.integers(0, VIEWS - 1)
IMAGES = st.integers(1, 6).flatmap(lambda side: arrays(np.uint8, (2, 3, side, side)))
ASYMMETRIC = np.arange(9).reshape(1, 1, 3, 3)


@pytest.mark.parametrize("operation", range(VIEWS))
def test_an_operation_is_numpys_quarter_turns_and_then_a_flip(operation):
    turned = np.rot90(ASYMMETRIC, operation % 4, axes=(2, 3))
    expected = turned[..., ::-1] if operation >= 4 else turned
    np.testing.assert_array_equal(dihedral_view(ASYMMETRIC, operation), expected)


def of(operation: int) -> bytes:
    return np.ascontiguousarray(dihedral_view(ASYMMETRIC, operation)).tobytes()


def test_the_eight_are_different_and_closed_under_composition():
    names = {of(k): k for k in range(VIEWS)}
    assert len(names) == VIEWS
    for first in range(VIEWS):
        products = set()
        for second in range(VIEWS):
            both = dihedral_view(dihedral_view(ASYMMETRIC, first), second)
            products.add(names[np.ascontiguousarray(both).tobytes()])
        assert products == set(range(VIEWS))


@given(IMAGES, OPERATIONS)
def test_an_inverse_undoes_its_operation(images, operation):
    there = dihedral_view(images, operation)
    np.testing.assert_array_equal(dihedral_view(there, INVERSE[operation]), images)


@given(IMAGES, OPERATIONS)
def test_numpy_and_torch_and_both_layouts_agree(images, operation):
    expected = dihedral_view(images, operation)
    found = dihedral_view(torch.from_numpy(images), operation)
    np.testing.assert_array_equal(found.numpy(), expected)
    last = dihedral_view(images.transpose(0, 2, 3, 1), operation, CHANNELS_LAST)
    np.testing.assert_array_equal(last.transpose(0, 3, 1, 2), expected)


@given(IMAGES, st.lists(OPERATIONS, min_size=2, max_size=2))
def test_each_image_gets_a_view_of_its_own(images, operations):
    expected = np.concatenate(
        [dihedral_view(images[k : k + 1], o) for k, o in enumerate(operations)]
    )
    found = dihedral_views(images, np.array(operations))
    np.testing.assert_array_equal(found, expected)
    tensors = dihedral_views(torch.from_numpy(images), torch.tensor(operations))
    np.testing.assert_array_equal(tensors.numpy(), expected)


def smooth(side: int) -> np.ndarray:
    """A pattern without symmetry that turning by half pixels hardly blurs, on black."""
    y, x = np.mgrid[:side, :side] / (side - 1) * 2 - 1
    inside = np.clip(1 - (y**2 + x**2) * 1.6, 0, None)
    return np.stack([inside * (1 + np.sin(3 * x + k) * np.cos(2 * y)) * 100 for k in range(3)])


@pytest.mark.parametrize("side", [64, 65])
def test_two_eighths_are_a_quarter_in_numpy_and_pytorch(side):
    image = smooth(side).astype(np.float32)[None]
    twice = dihedral_view(dihedral_view(image, 8), 8)
    assert np.abs(twice - dihedral_view(image, 1)).max() < 5
    assert np.abs(twice - image).max() > 20
    tensor = torch.from_numpy(image)
    for k in range(8, 12):
        found = dihedral_view(tensor, k)
        np.testing.assert_allclose(found.numpy(), dihedral_view(image, k), atol=1e-3)
        undone = dihedral_view(found, INVERSE[k])
        assert (undone - tensor).abs().max() < 5
        last = dihedral_view(image.transpose(0, 2, 3, 1), k, CHANNELS_LAST)
        np.testing.assert_allclose(last.transpose(0, 3, 1, 2), found.numpy(), atol=1e-3)


def test_eight_rotations_are_torchvisions():
    image = torch.from_numpy(smooth(64)).float()[None]
    assert count_views("rotations8") == 8
    for number, operation in enumerate(view_operations("rotations8")):
        expected = rotate(image, 45.0 * number, InterpolationMode.BILINEAR)
        assert (dihedral_view(image, operation) - expected).abs().max() < 5
    whole = image.round().to(torch.uint8)
    assert dihedral_view(whole, 8).dtype == torch.uint8
