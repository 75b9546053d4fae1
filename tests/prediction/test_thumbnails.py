"""Small pictures of cells: one scale for cells, whole images for what may not be one."""

from __future__ import annotations

import numpy as np

from blastscope.data.crop import FIELD
from blastscope.prediction.inputs import as_inputs, list_inputs
from blastscope.prediction.thumbnails import SIDE, thumbnails
from tests.conftest import draw_cell, write_cell


def width(picture: np.ndarray) -> int:
    return int((picture.max(axis=(0, 2)) > 40).sum())


def test_cells_keep_their_sizes_and_whole_images_their_edges():
    small, large = draw_cell(1, radius=30), draw_cell(2, radius=90)
    found = dict(thumbnails(as_inputs([small, large]), [0, 1]))
    assert {picture.shape for picture in found.values()} == {(SIDE, SIDE, 3)}
    assert abs(width(found[0]) - 61 * SIDE / FIELD) <= 2
    assert abs(width(found[1]) - 181 * SIDE / FIELD) <= 2
    striped = np.zeros((100, 300, 3), np.uint8)
    striped[:, ::2] = 200  # everything is bright, up to the edges
    (shown,) = (picture for _, picture in thumbnails(as_inputs(striped), [], [0]))
    assert width(shown) == SIDE
    assert abs((shown.max(axis=(1, 2)) > 40).sum() - SIDE / 3) <= 2  # padded, not stretched


def test_a_file_that_is_gone_has_no_picture(tmp_path):
    paths = [write_cell(tmp_path / f"{k}.png", draw_cell(k)) for k in range(3)]
    inputs = list_inputs(paths)
    paths[1].unlink()
    assert [row for row, _ in thumbnails(inputs, [2, 1, 0])] == [2, 0]
