from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blastscope.data.crop import Box, locate, prepared
from blastscope.data.store import StoreSettings
from blastscope.explanation.cell_image import BACKGROUND, CELL, DEBRIS, make_picture
from tests.conftest import draw_cell


def two_pieces() -> np.ndarray:
    """A cell of 40 × 40 with a black hole in it, and debris of 10 × 10."""
    image = np.zeros((100, 120, 3), np.uint8)
    image[20:60, 30:70] = 120
    image[35:40, 45:50] = 0
    image[70:80, 30:40] = 90
    return image


def test_the_regions_of_a_cell_with_debris():
    picture = make_picture(two_pieces(), Box(30, 20, 40, 60))
    assert picture.side == 60
    counted = np.bincount(picture.crop_regions.ravel(), minlength=3)
    # The hole belongs to the cell; the crop is 60 × 60.
    assert counted[CELL] == 1600
    assert counted[DEBRIS] == 100
    assert counted[BACKGROUND] == 3600 - 1700


@pytest.mark.parametrize("scale", ["crop", "keep"])
def test_regions_are_laid_as_the_pixels_are(scale):
    image = draw_cell(3, 450, 60)
    box = locate(image).box
    settings = StoreSettings(size=80, scale=scale)
    regions = make_picture(image, box).regions_at(settings)
    seen = prepared(image, box, 80, scale, False).max(axis=2)
    assert (seen[regions == CELL] > 0).all()
    # Pixels that are mostly black are background, but for the rim, where they are mixed.
    wrong = (seen > 60) & (regions == BACKGROUND)
    assert wrong.mean() < 0.01


@given(st.integers(0, 300), st.integers(0, 300), st.integers(20, 340), st.integers(20, 340))
def test_a_map_lies_on_the_crop_where_the_pixels_do(x, y, w, h):
    """What a network sees of an image, laid back, is the image."""
    rng = np.random.default_rng(0)
    whole = np.zeros((700, 700, 3), np.uint8)
    whole[y : y + h, x : x + w] = rng.integers(50, 256, (1, 1, 3))
    whole[y + h // 2 :, x + w // 2 :] //= 2
    box = Box(x, y, w, h)
    picture = make_picture(whole, box)
    for scale, size in (("keep", 320), ("crop", picture.side)):
        settings = StoreSettings(size=max(16, min(size, 1024)), scale=scale)
        seen = prepared(whole, box, settings.size, scale, False)[:, :, 0].astype(np.float32)
        laid = picture.on_crop(seen, settings)
        assert laid.shape == (picture.side, picture.side)
        reach = laid > 0
        if scale == "crop" or picture.side <= 320:
            assert np.abs(laid - picture.crop[:, :, 0])[2:-2, 2:-2].max() <= 1
        else:  # the field does not reach as far as the cell
            assert reach.sum() <= 320 * 320
            np.testing.assert_array_equal(laid[reach], picture.crop[:, :, 0][reach])
