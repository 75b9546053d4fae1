import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blastscope.data import crop
from blastscope.data.crop import (
    FIELD,
    Box,
    clahe,
    fixed_field,
    locate,
    prepared,
    resize,
    square_crop,
)
from blastscope.data.images import UnusableImageError
from tests.conftest import draw_cell


@given(w=st.integers(1, 60), h=st.integers(1, 60), x=st.integers(0, 30), y=st.integers(0, 30))
@settings(max_examples=50)
def test_a_crop_is_square_and_holds_the_box_in_its_middle(w, h, x, y):
    pixels = np.random.default_rng(0).integers(1, 255, (100, 100, 3), np.uint8)
    square = square_crop(pixels, Box(x, y, w, h))
    side = max(w, h)
    assert square.shape == (side, side, 3)
    top, left = (side - h) // 2, (side - w) // 2
    np.testing.assert_array_equal(
        square[top : top + h, left : left + w], pixels[y : y + h, x : x + w]
    )
    assert np.count_nonzero(square.any(2)) == w * h


def test_an_odd_gap_goes_below_as_in_the_paper():
    square = square_crop(np.full((10, 10, 3), 7, np.uint8), Box(0, 0, 5, 2))
    assert [bool(row.any()) for row in square] == [False, True, True, False, False]


def test_a_strip_whose_square_is_larger_than_any_image_is_refused():
    strip = np.full((2, 8193, 3), 90, np.uint8)  # its square would have 8193² × 3 bytes
    with pytest.raises(UnusableImageError) as refused:
        locate(strip)
    assert refused.value.kind == "too-large"
    assert locate(strip[:, :8192]).box == Box(0, 0, 8192, 2)


@given(cx=st.integers(0, 449), cy=st.integers(0, 449), side=st.integers(2, 440))
@settings(max_examples=50)
def test_a_fixed_field_keeps_absolute_size(cx, cy, side):
    x, y = max(0, cx - side // 2), max(0, cy - side // 2)
    w, h = min(side, 450 - x), min(side, 450 - y)
    pixels = np.zeros((450, 450, 3), np.uint8)
    pixels[y : y + h, x : x + w] = 200
    field = fixed_field(pixels, Box(x, y, w, h))
    assert field.shape == (FIELD, FIELD, 3)
    assert np.count_nonzero(field[:, :, 0]) == min(w, FIELD) * min(h, FIELD)


def test_crop_loses_size_and_keep_does_not():
    def area(radius, scale):
        pixels = draw_cell(1, 450, radius)
        found = Box(*cv2.boundingRect(pixels.max(2)))
        return np.count_nonzero(prepared(pixels, found, 112, scale, False).max(2) > 20)

    assert abs(area(50, "crop") / area(100, "crop") - 1) < 0.05
    assert abs(area(50, "keep") / area(100, "keep") - 0.25) < 0.02


def test_clahe_changes_y_alone_and_raises_contrast():
    pixels = draw_cell(2, 120, 50)
    before, after = (
        cv2.cvtColor(p, cv2.COLOR_RGB2YUV).astype(int) for p in (pixels, clahe(pixels))
    )
    inside = pixels.max(2) > 0
    # U and V survive but for rounding and clipping
    assert np.median(np.abs(before - after)[inside][:, 1:]) <= 1
    assert after[inside][:, 0].std() > before[inside][:, 0].std()


def test_shrinking_averages():
    board = np.zeros((64, 64, 3), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 200
    assert (resize(board, 16) == 100).all()


@pytest.mark.parametrize("factor", [2, 3, 4, 5, 7])
def test_whole_blocks_are_averaged_as_opencv_rounds_them(factor):
    for size in (16, 17, 56):
        square = np.random.default_rng(size).integers(0, 256, (size * factor,) * 2 + (3,), np.uint8)
        known = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(resize(square, size), known)


@given(
    side=st.integers(18, 120),
    size=st.integers(16, 100),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=80, deadline=None)
def test_shrinking_is_opencvs_by_area_to_the_bit(side, size, seed):
    if side <= size:
        return
    square = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    known = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(resize(square, size), known)


@pytest.mark.parametrize("size", [32, 100])
def test_a_large_square_shrinks_to_the_very_pixels_without_floats(monkeypatch, size):
    square = np.random.default_rng(1).integers(0, 256, (301, 301, 3), np.uint8)
    floats = crop.resize(square, size)
    monkeypatch.setattr(crop, "_LARGE", 1)
    np.testing.assert_array_equal(crop.resize(square, size), floats)
