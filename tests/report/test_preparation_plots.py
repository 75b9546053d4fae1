from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from blastscope.data.images import UnusableImageError, read_image
from blastscope.data.layouts import CellFile, Listing, list_cells
from blastscope.errors import BlastscopeError
from blastscope.report.preparation_plots import (
    GAP,
    LABEL,
    LARGE,
    SMALL,
    example_cell,
    preparation_figures,
)
from tests.conftest import draw_cell


def test_figure_1_shows_each_flip_and_turn_of_the_same_square():
    caption, montage = preparation_figures(draw_cell(3), "UID_1_1_1_all")[0]
    assert "Figure 1" in caption
    assert "UID_1_1_1_all" in caption
    original, *others = _panels(montage, SMALL, 6)
    expected = [
        np.fliplr(original),
        np.flipud(original),
        *(np.rot90(original, quarters) for quarters in (1, 2, 3)),
    ]
    assert original.any()
    for shown, right in zip(others, expected, strict=True):
        np.testing.assert_array_equal(shown, right)
        assert not np.array_equal(shown, original)


def test_figure_2_says_the_sizes_and_draws_the_box_round_the_cell():
    image = np.zeros((450, 450, 3), np.uint8)
    image[90:330, 150:270] = (140, 70, 160)  # 120 wide and 240 high
    _, montage = preparation_figures(image, "a")[1]
    original, outlined = _panels(montage[:, : 2 * LARGE + GAP], LARGE, 2)
    square = montage[LABEL:, 2 * (LARGE + GAP) :]
    np.testing.assert_array_equal(original[10, 10], 0)
    np.testing.assert_array_equal(original[140, 140], (140, 70, 160))
    # What was drawn upon the original is the box: 2/3 of 150..270 across, of 90..330 down.
    rows, columns = np.nonzero((original != outlined).any(axis=2))
    assert (columns.min(), columns.max()) == (100, 179)
    assert (rows.min(), rows.max()) == (60, 219)
    # The square, 240 pixels, is shown at the same scale, 160, and white is around it.
    assert (square[160:] == 255).all()
    assert (square[:160, 160:] == 255).all()
    np.testing.assert_array_equal(square[:160, 80], np.broadcast_to((140, 70, 160), (160, 3)))
    assert (square[:160, :35] == 0).all()


def test_figure_3_equalises_the_cut_cell_as_opencv_does():
    image = draw_cell(5, radius=150)
    ys, xs = np.nonzero(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) > 1)
    assert np.ptp(ys) == np.ptp(xs)  # a disc: its box is a square
    cut = image[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    yuv = cv2.cvtColor(cut, cv2.COLOR_RGB2YUV)
    yuv[:, :, 0] = cv2.createCLAHE(2.0, (8, 8)).apply(yuv[:, :, 0])
    equalised = cv2.cvtColor(yuv, cv2.COLOR_YUV2RGB)
    before, after = _panels(preparation_figures(image, "a")[2][1], LARGE, 2)
    size = {"dsize": (LARGE, LARGE), "interpolation": cv2.INTER_AREA}
    np.testing.assert_array_equal(before, cv2.resize(cut, **size))
    np.testing.assert_array_equal(after, cv2.resize(equalised, **size))


@pytest.mark.parametrize("shape", [(450, 450), (20, 60), (1400, 900)])
def test_any_image_makes_three_pictures_and_the_same_each_time(shape):
    image = np.zeros((*shape, 3), np.uint8)
    image[5 : shape[0] - 3, 4:15] = 120
    made = preparation_figures(image, "a")
    assert [caption.split(" of the paper")[0].split(":")[0] for caption, _ in made] == [
        "As Figure 1",
        "As Figure 2",
        "As Figure 3",
    ]
    for (_, picture), (_, again) in zip(made, preparation_figures(image, "a"), strict=True):
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        assert picture.shape[2] == 3
        assert max(picture.shape) < 1200
        np.testing.assert_array_equal(picture, again)


def test_a_black_image_has_no_cell_to_show():
    with pytest.raises(UnusableImageError, match="all black"):
        preparation_figures(np.zeros((40, 40, 3), np.uint8), "a")


def test_the_example_is_the_first_all_cell():
    cells = [
        CellFile(Path(name), name, name, label, None, None)
        for name, label in (("a", None), ("b", "hem"), ("c", "all"), ("d", "all"))
    ]
    assert example_cell(Listing(cells)).cell == "c"
    with pytest.raises(BlastscopeError, match="no ALL cell"):
        example_cell(Listing(cells[:2]))


def test_a_real_cell(shared):
    folder = shared / "data" / "C-NMC_training_data"
    cell = example_cell(list_cells([folder]))
    assert cell.label == "all"
    made = preparation_figures(read_image(cell.path).pixels, cell.cell)
    original, *turned = _panels(made[0][1], SMALL, 6)
    # Turning moves pixels and changes none.
    for panel in turned:
        np.testing.assert_array_equal(
            np.sort(panel.reshape(-1, 3), axis=0), np.sort(original.reshape(-1, 3), axis=0)
        )
    before, after = _panels(made[2][1], LARGE, 2)
    inside = before.max(axis=2) > 0
    grey = [cv2.cvtColor(panel, cv2.COLOR_RGB2GRAY)[inside] for panel in (before, after)]
    assert grey[1].std() > grey[0].std()  # the contrast grew


def _panels(montage: np.ndarray, side: int, count: int) -> list[np.ndarray]:
    """Cut a montage of square panels, whose labels are no wider than they are."""
    assert montage.shape[1] == count * side + (count - 1) * GAP
    return [montage[LABEL:, left : left + side] for left in range(0, montage.shape[1], side + GAP)]
