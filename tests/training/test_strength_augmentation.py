"""Augmentation by strengths against OpenCV, and against what must not change."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from blastscope.recipes.strengths import Strengths
from blastscope.training.augmentation import pixel_augmentation
from blastscope.training.strength_augmentation import drawn_transforms, transformed
from tests.conftest import draw_cell


@pytest.fixture(scope="module")
def cells() -> torch.Tensor:
    pictures = np.stack([draw_cell(k, 64, 14 + k % 6) for k in range(8)])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()


def test_a_transform_is_opencvs(cells):
    """Rotation by 30 degrees, a shear, a zoom and a shift, about the centre of the image."""
    angle, slant, size, shift = np.radians(30), np.tan(np.radians(10)), 1.2, (0.1, -0.05)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = size * turn @ np.array([[1, slant], [0, 1]])
    given = np.concatenate([matrix, 2 * np.array(shift)[:, None]], 1)[None]
    found = transformed(cells[:1].float(), given)[0].permute(1, 2, 0).numpy()
    centre = np.array([31.5, 31.5])
    moved = matrix @ -centre + centre + 64 * np.array(shift)
    image = cells[0].permute(1, 2, 0).float().numpy()
    expected = cv2.warpAffine(image, np.concatenate([matrix, moved[:, None]], 1), (64, 64))
    assert np.abs(found - expected).mean() < 1  # OpenCV places pixels at 1/32
    assert np.abs(image - expected).mean() > 5


def test_draws_stay_within_their_strengths_and_shares():
    own = Strengths(
        rotate={"most": 20, "share": 0.5},
        shift=0.1,
        zoom=[1.0, 1.5],
        shear={"most": 5, "share": 0.2},
    )
    drawn = drawn_transforms(own, 4000, np.random.default_rng(1))
    assert np.abs(drawn[:, :, 2]).max() <= 0.2
    assert np.abs(drawn[:, :, 2]).max() > 0.19
    size = np.sqrt(np.linalg.det(drawn[:, :, :2]))
    assert (size.min() >= 1, size.max() <= 1.5) == (True, True)
    assert np.log(size).mean() == pytest.approx(np.log(1.5) / 2, abs=0.01)
    angle = np.degrees(np.arctan2(drawn[:, 1, 0], drawn[:, 0, 0]))
    assert np.abs(angle).max() <= 20
    assert (np.abs(angle) < 1e-9).mean() == pytest.approx(0.5, abs=0.03)


def test_black_stays_black_and_light_changes_the_cell(cells):
    change = pixel_augmentation(Strengths(light=0.3, stain=0.2))
    assert change is not None
    found = change(cells, np.random.default_rng(0))
    background = cells.amax(1) <= 8
    assert found.amax(1)[background].max() <= 8
    cell = ~background
    assert (found.float() - cells.float()).abs().mean(1)[cell].mean() > 3


def test_cutout_blackens_squares_of_the_asked_size():
    white = torch.full((20, 3, 50, 50), 200, dtype=torch.uint8)
    change = pixel_augmentation(Strengths(cutout={"squares": 1, "side": 0.2}))
    assert change is not None
    found = change(white, np.random.default_rng(2))
    black = (found[:, 0] == 0).flatten(1).sum(1)
    assert black.max() == 100
    assert (black > 0).all()


def test_the_same_generator_gives_the_same_batch_and_the_preset_of_views_changes_no_pixels(cells):
    own = Strengths(
        rotate=180, blur={"most": 0.05, "share": 0.5}, cutout={"squares": 2, "side": 0.1}
    )
    change = pixel_augmentation(own)
    assert change is not None
    once, again = (change(cells, np.random.default_rng(5)) for _ in range(2))
    assert once.equal(again)
    assert not once.equal(cells)
    assert pixel_augmentation(Strengths(dihedral=True)) is None
