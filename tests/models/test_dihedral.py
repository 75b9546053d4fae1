"""The eight dihedral operations are a group, and the same for NumPy and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from blastscope.models.dihedral import (
    CHANNELS_LAST,
    INVERSE,
    VIEWS,
    dihedral_view,
    dihedral_views,
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
