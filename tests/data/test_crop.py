import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blastscope.data.crop import Box, locate
from blastscope.data.images import UnusableImageError, read_image
from blastscope.parallel import in_order


@given(x=st.integers(0, 60), y=st.integers(0, 60), w=st.integers(1, 40), h=st.integers(1, 40))
def test_a_rectangle_is_its_own_box(x, y, w, h):
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[y : y + h, x : x + w] = 90
    found = locate(pixels)
    assert found.box == Box(x, y, w, h)
    assert found.components == 1
    assert found.touches_frame == (x == 0 or y == 0 or x + w == 100 or y + h == 100)


def test_debris_widens_the_union_and_fools_the_first_contour():
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[20:50, 20:50] = 120
    pixels[80:84, 80:84] = 120  # OpenCV lists the lowest outline first
    assert locate(pixels).box == Box(20, 20, 64, 64)
    assert locate(pixels, "first").box == Box(80, 80, 4, 4)
    assert locate(pixels).components == 2


def test_grey_value_one_is_background():
    pixels = np.ones((20, 20, 3), np.uint8)
    with pytest.raises(UnusableImageError, match="all black"):
        locate(pixels)


def test_boxes_agree_with_the_published_ones(shared):
    with (shared / "data" / "cnmc_training_boxes.csv").open() as file:
        published = {row["file"].removesuffix(".bmp"): row for row in csv.DictReader(file)}
    files = sorted((shared / "data" / "C-NMC_training_data" / "fold_1").glob("*/*.webp"))
    assert len(files) == 3581

    def distances(path):
        box, row = locate(read_image(path).pixels).box, published[path.stem]
        left, top = int(row["x"]), int(row["y"])
        right, bottom = left + int(row["width"]), top + int(row["height"])
        ours = (box.x, box.y, box.x + box.w, box.y + box.h)
        return max(abs(a - b) for a, b in zip(ours, (left, top, right, bottom), strict=True))

    agree = [distance <= 1 for distance in in_order(distances, files)]
    assert sum(agree) / len(agree) >= 0.995
