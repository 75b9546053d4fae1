"""Colour normalization undoes a gain and an offset of a whole cell and keeps its pattern."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blastscope.models.normalization import CELL_MEAN, CELL_STD, normalize_colours
from tests.conftest import draw_cell


def cell(seed: int = 0) -> torch.Tensor:
    pixels = draw_cell(seed, 120, 30).astype(np.float32)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def inside(images: torch.Tensor) -> np.ndarray:
    return images[0][:, images[0].amax(0) > 12].numpy()


def test_every_cell_has_the_same_mean_and_deviation():
    for seed in range(4):
        found = inside(normalize_colours(cell(seed)))
        assert found.mean(1) == pytest.approx(CELL_MEAN, abs=0.5)  # but for what is cut off at 0
        assert found.std(1) == pytest.approx(CELL_STD, abs=0.5)


def test_by_hand_on_four_pixels():
    image = torch.zeros(1, 3, 2, 2)
    image[0, 0] = torch.tensor([[100.0, 140.0], [0.0, 0.0]])
    found = normalize_colours(image)
    # mean 120 and deviation 20 become 68.5 and 12.1; the other channels have no spread
    assert found[0, 0].flatten().tolist() == pytest.approx([56.4, 80.6, 0, 0], abs=1e-4)
    assert found[0, 1].flatten().tolist() == pytest.approx([29.9, 29.9, 0, 0], abs=1e-4)


@given(gain=st.floats(0.7, 1.4), shift=st.floats(-10, 10), seed=st.integers(0, 20))
@settings(max_examples=30)
def test_gain_and_offset_of_a_channel_change_nothing(gain, shift, seed):
    plain = cell(seed)
    mask = (plain.amax(1, keepdim=True) > 40).float()
    plain = plain.clamp(min=20, max=180) * mask  # so that nothing is cut off or lost
    other = plain.clone()
    other[:, 0] = (plain[:, 0] * gain + shift) * mask[:, 0]
    assert torch.allclose(normalize_colours(plain), normalize_colours(other), atol=0.05)


def test_black_stays_black_and_nothing_at_all_is_no_accident():
    image = cell()
    assert (normalize_colours(image)[0][:, image[0].amax(0) == 0] == 0).all()
    assert (normalize_colours(torch.zeros(2, 3, 8, 8)) == 0).all()
