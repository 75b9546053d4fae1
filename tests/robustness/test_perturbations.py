"""Each perturbation held against a calculation by hand, SciPy, NumPy or Pillow."""

from __future__ import annotations

import colorsys
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter

from blastscope.robustness import perturbations
from blastscope.robustness.perturbations import PERTURBATIONS, steps
from tests.conftest import draw_cell

CELLS = np.stack([draw_cell(seed, 64, 20) for seed in range(3)])
COLOURS = ("stain-hue", "stain-intensity", "exposure")


def test_optical_density_is_multiplied_as_beer_and_lambert_have_it():
    picture = np.array([[[[64, 128, 255]]]], np.uint8)
    found = perturbations.stain_intensity(picture, 1.5)
    density = -np.log10(picture / 255)
    np.testing.assert_allclose(found, 255 * 10 ** -(1.5 * density), atol=0.5)
    # a quarter of the light is let through; twice the stain lets a sixteenth through
    assert perturbations.stain_intensity(np.full((1, 1, 1, 3), 64, np.uint8), 2).max() == 16


@given(st.floats(0.5, 2))
def test_white_stays_white_and_more_stain_is_darker(times):
    values = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    found = perturbations.stain_intensity(values, times).astype(int)
    assert (found[0, -1, -1] == 255).all()
    assert ((found - values) * (times - 1) <= 0).all()


@pytest.mark.parametrize("degrees", [-30, -5, 10, 120])
def test_hue_turns_as_the_standard_librarys_does(degrees):
    colours = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
    found = perturbations.stain_hue(colours, degrees)
    for before, after in zip(colours.reshape(-1, 3), found.reshape(-1, 3), strict=True):
        h, s, v = colorsys.rgb_to_hsv(*(before / 255))
        np.testing.assert_allclose(
            after / 255, colorsys.hsv_to_rgb((h + degrees / 360) % 1, s, v), atol=1.01 / 255
        )


def test_a_stop_is_twice_the_light():
    # sRGB 188 is half the light of white, 137 a quarter (of tables of the standard)
    values = np.array([137, 188, 255], np.uint8).reshape(1, 1, 1, 3)
    assert perturbations.exposure(values, 1).ravel().tolist() == pytest.approx(
        [188, 255, 255], abs=1
    )
    assert perturbations.exposure(values, -1).ravel().tolist() == pytest.approx(
        [99, 137, 188], abs=1
    )


def test_blur_is_a_gaussian_of_a_share_of_the_side():
    found = perturbations.blur(CELLS, 2)  # 1.28 pixels of 64
    wanted = gaussian_filter(CELLS.astype(float), (0, 1.28, 1.28, 0), mode="mirror", truncate=3)
    assert np.abs(found - wanted).mean() < 0.5
    sharp = np.zeros((1, 200, 200, 3), np.uint8)
    sharp[:, :, 100:] = 200
    rise = np.diff(perturbations.blur(sharp, 2)[0, 100, :, 0].astype(float))
    places = np.arange(len(rise)) - 99
    assert np.sqrt((rise * places**2).sum() / rise.sum()) == pytest.approx(4, abs=0.15)


def test_jpeg_is_that_of_another_encoder():
    found = perturbations.jpeg(CELLS, 50)
    written = io.BytesIO()
    Image.fromarray(CELLS[0]).save(written, "JPEG", quality=50)
    other = np.asarray(Image.open(written), int)
    assert np.abs(found[0] - other).mean() < 1.5
    losses = [np.abs(perturbations.jpeg(CELLS, q).astype(int) - CELLS).mean() for q in (90, 50, 10)]
    assert losses == sorted(losses)


def test_a_quarter_turn_is_numpys():
    found = perturbations.rotation(CELLS, 90)
    assert np.abs(found.astype(int) - np.rot90(CELLS, axes=(1, 2))).max() <= 1
    whole = perturbations.rotation(perturbations.rotation(CELLS, 45), -45)
    assert np.abs(whole.astype(int) - CELLS)[:, 16:48, 16:48].mean() < 8  # of 256, and soft


@pytest.mark.parametrize("times", [1 / 1.5, 1.25])
def test_scale_changes_the_area_by_its_square(times):
    disc = np.zeros((1, 200, 200, 3), np.uint8)
    rows, columns = np.mgrid[:200, :200] - 99.5
    disc[0, rows**2 + columns**2 < 50**2] = 200
    found = perturbations.scale(disc, times)
    assert (found > 100).mean() == pytest.approx((disc > 100).mean() * times**2, rel=0.02)


@pytest.mark.parametrize("name", COLOURS)
def test_black_stays_black_where_colours_change(name):
    one = next(p for p in PERTURBATIONS if p.name == name)
    black = (CELLS == 0).all(axis=-1)
    assert black.any()
    for values in one.values:
        for value in values:
            changed = one.change(CELLS, value)
            assert changed[black].max() == 0
            assert (changed[~black] != CELLS[~black]).any()


def test_the_unchanged_value_changes_nothing():
    for one in PERTURBATIONS:
        if one.name in ("blur", "jpeg"):  # no sigma and no loss cannot be asked for
            continue
        off = np.abs(one.change(CELLS, one.unchanged).astype(int) - CELLS)
        assert off.max() <= 1, one.name


def test_five_strengths_each_and_both_directions_alike():
    for one in PERTURBATIONS:
        assert len(one.values) == 5
        sizes = []
        for values in one.values:
            distances = {round(abs(np.log(v) if one.log else v - one.unchanged), 6) for v in values}
            assert len(distances) == 1  # both directions are of one size
            sizes.append(distances.pop())
        assert sizes == sorted(set(sizes)) or one.name == "rotation"
        assert not any(v % 90 == 0 for values in one.values for v in values) or one.unit != "°"
    taken = list(steps())
    assert taken[0].strength == 0
    assert np.array_equal(taken[0](CELLS), CELLS)
    assert (
        len({step.key for step in taken})
        == len(taken)
        == 1 + sum(len(values) for one in PERTURBATIONS for values in one.values)
    )
    for step in taken:
        changed = step(CELLS)
        assert changed.dtype == np.uint8
        assert changed.shape == CELLS.shape
