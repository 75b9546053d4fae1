"""Micrometres a pixel: by red cells, or not at all; and the frame of a cut-out cell."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from blastscope.data.crop import Box, locate
from blastscope.errors import BlastscopeError
from blastscope.segmentation import scale
from blastscope.segmentation.cutouts import cut_out
from blastscope.segmentation.scale import (
    C_NMC,
    DIFFER,
    RED_CELL,
    measured_scale,
    red_cell_diameters,
    told_scale,
)
from tests.segmentation.drawn import UM, White, draw, grid


def test_red_cells_give_the_scale():
    found = red_cell_diameters(draw((420, 620), [White(560, 330)], grid(15)))
    scale = measured_scale([found])
    assert scale.red_cells >= 10
    assert scale.um_per_pixel == pytest.approx(UM, rel=0.08)


def test_the_interval_of_few_red_cells_holds_the_scale():
    """In nineteen of twenty sets, if red cells differ as they do on smears."""
    rng = np.random.default_rng(4)
    for count in (8, 14, 60):
        found = [measured_scale([50 * np.exp(rng.normal(0, DIFFER, count))]) for _ in range(1000)]
        held = [abs(one.um_per_pixel / (RED_CELL / 50) - 1) < one.within for one in found]
        assert np.mean(held) == pytest.approx(0.95, abs=0.025)
    assert told_scale(0.1).within is None


def test_dark_nuclei_do_not_hide_red_cells():
    """Many white cells in a field raise no threshold above that of its red cells."""
    whites = [White(80 + 130 * k, 330) for k in range(4)]
    few = red_cell_diameters(draw((420, 620), [White(560, 330)], grid(15)))
    many = red_cell_diameters(draw((420, 620), whites, grid(15)))
    assert len(many) >= 10
    assert np.median(many) == pytest.approx(np.median(few), rel=0.03)


@pytest.mark.parametrize("diameter", [20, 28, 30])
def test_a_field_is_shrunk_only_as_far_as_its_red_cells_keep_their_size(monkeypatch, diameter):
    """Shrunk to a third, they have 7 to 10 pixels, and the least that counts has 10."""
    monkeypatch.setattr(scale, "_SIDE", 300)
    sizes = diameter * np.exp(DIFFER * norm.ppf(np.arange(0.1, 1, 0.1)))  # in each part, all nine
    noise, share = np.random.default_rng(0).normal(0, 1, (900, 900, 1)), np.zeros((900, 900))
    rows, columns = np.mgrid[:50, :50]
    away = np.hypot(rows + 0.5 - 25, columns + 0.5 - 25)
    for k, j in np.argwhere(np.ones((18, 18))):
        place = np.s_[50 * k : 50 * k + 50, 50 * j : 50 * j + 50]
        share[place] = np.clip(sizes[(2 * k + j) % 9] / 2 + 0.5 - away, 0, 1)
    field = 235 * np.exp(-share[..., None] * (0.2, 0.45, 0.5)) + noise
    found = red_cell_diameters(np.clip(field, 0, 255).astype(np.uint8))
    assert len(found) >= 20
    assert np.median(found) == pytest.approx(diameter, rel=0.03)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [np.array([50.0] * 7)],
        [np.array([30.0, 40, 50, 60, 70, 80, 90, 100] * 3)],
        [np.array([50.0] * 9), np.array([90.0] * 9)],
        [np.array([4.0] * 20)],
    ],
    ids=["none", "few", "many sizes", "two microscopes", "dust"],
)
def test_without_confidence_there_is_no_scale(fields):
    with pytest.raises(BlastscopeError, match="um-per-pixel"):
        measured_scale(fields)


@pytest.mark.parametrize("um", [0, -1, 0.01, 5, float("nan")])
def test_a_scale_that_no_microscope_has_is_refused(um):
    with pytest.raises(BlastscopeError):
        told_scale(um)


@pytest.mark.parametrize("um", [0.03, C_NMC, 0.12])
def test_a_cut_out_cell_has_its_size_at_the_scale_of_c_nmc(um):
    side = round(12 / um)
    rows, columns = np.mgrid[:side, :side]
    mask = (columns - side / 2) ** 2 + (rows - side / 2) ** 2 < (side / 2) ** 2
    field = np.zeros((side + 40, side + 40, 3), np.uint8)  # a black cell stays a cell
    image = cut_out(field, Box(20, 20, side, side), mask, um)
    assert image.shape == (450, 450, 3)
    box = locate(image).box
    assert box.w == pytest.approx(12 / C_NMC, abs=3)
    assert abs(box.x + box.w / 2 - 225) <= 1
    assert (image[0] == 0).all()


def test_at_its_own_scale_pixels_are_not_touched():
    field = np.random.default_rng(0).integers(5, 255, (200, 200, 3), np.uint8)
    image = cut_out(field, Box(50, 60, 80, 70), np.ones((70, 80), bool), C_NMC)
    box = locate(image).box
    cut = image[box.y : box.y + box.h, box.x : box.x + box.w]
    assert (cut == field[60:130, 50:130]).all()


def test_what_is_larger_than_the_frame_has_no_image():
    field = np.full((600, 600, 3), 90, np.uint8)
    assert cut_out(field, Box(0, 0, 500, 20), np.ones((20, 500), bool), C_NMC) is None
