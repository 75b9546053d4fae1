"""White cells of drawn fields, whose truth is exact."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from blastscope.data.crop import Box
from blastscope.segmentation import nuclei
from blastscope.segmentation.cells import EDGE, FoundCell, _trimmed, find_cells
from blastscope.segmentation.fields import cells_of_field, tiles
from blastscope.segmentation.optical_density import optical_density
from tests.segmentation.drawn import GLASS, NUCLEUS, UM, White, dice, disc, draw, grid, placed


def test_a_cell_among_red_cells_is_outlined_with_its_nucleus():
    one = White(250, 200)
    field = draw((400, 500), [one], [(60, 60), (60, 300), (420, 330), (165, 290), (340, 140)])
    (cell,) = find_cells(field, UM)
    assert cell.refused is None
    assert dice(placed(cell, field.shape), disc(field.shape, 250, 200, one.radius)) > 0.95
    nucleus = placed(cell, field.shape, cell.nucleus)
    assert dice(nucleus, disc(field.shape, 250, 200, one.nucleus)) > 0.95


def test_red_cells_alone_are_no_white_cells():
    assert find_cells(draw((400, 600), [], grid(12)), UM) == []
    assert find_cells(draw((300, 300)), UM) == []


def test_a_scale_bar_is_no_cell_and_hides_none():
    whites = [White(120, 120), White(330, 150, 5.5, 4)]
    field = draw((300, 450), whites)
    before = find_cells(field, UM)
    field[270:280, 320:420] = 0
    field[:, :6] = 0  # the rim of a stitched picture
    found = find_cells(field, UM)
    centres = [[cell.centre for cell in cells] for cells in (found, before)]
    assert np.allclose(*centres, atol=2)
    assert [cell.refused for cell in found] == [None, None]


def _distance(share: float, radius: float) -> float:
    """The distance of two discs whose common area is a share of one of them (circle segments)."""
    near, far = 0.0, 2 * radius
    for _ in range(50):
        middle = (near + far) / 2
        half = middle / 2 / radius
        common = 2 / np.pi * (np.arccos(half) - half * np.sqrt(1 - half**2))
        near, far = (middle, far) if common > share else (near, middle)
    return near


@pytest.mark.parametrize("touching", ["cells", "nuclei"])
def test_touching_pairs_are_parted(touching):
    rng, separated, pairs = np.random.default_rng(24), 0, 24
    for k in range(pairs):
        radius = float(rng.uniform(4.2, 5.2))
        share, turn = 0.3 * k / (pairs - 1), rng.uniform(0, np.pi)
        apart = _distance(share, radius * (1.2 if touching == "cells" else 1)) / UM
        x, y = apart / 2 * np.cos(turn), apart / 2 * np.sin(turn)
        pair = [White(130 + s * x, 130 + s * y, 1.2 * radius, radius) for s in (-1, 1)]
        field = draw((260, 260), pair)
        found = nuclei_of(field)
        separated += len(found) == 2
    assert separated >= 0.95 * pairs
    assert len(find_cells(field, UM)) == len(found)  # a cell for each nucleus


def nuclei_of(field):
    """Find nuclei as ``find_cells`` does, without outlines, which take most of its time."""
    factor = UM / nuclei.UM
    small = cv2.resize(field, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return nuclei.find_nuclei(optical_density(small))


def test_a_cell_that_the_edge_cuts_is_refused_and_has_a_box():
    (cell,) = find_cells(draw((300, 300), [White(290, 150)]), UM)
    assert EDGE in cell.flags
    assert cell.refused
    assert cell.box.x + cell.box.w == 300


def test_tiles_find_what_the_whole_field_has(monkeypatch):
    whites = [White(120, 120), White(395, 130), White(405, 420), White(650, 400)]
    field = draw((560, 800), whites)
    whole = cells_of_field(field, UM)
    monkeypatch.setattr("blastscope.segmentation.fields.TILE", 40.0)
    assert len(list(tiles(field.shape, UM))) == 2
    parts = cells_of_field(field, UM)
    assert len(whole) == len(parts) == 4
    for one, other in zip(whole, parts, strict=True):
        assert dice(placed(one, field.shape), placed(other, field.shape)) > 0.97


@pytest.mark.parametrize(
    ("centres", "kept"),
    [((395, 405), 395), ((405, 395), 405), ((390, 398), 390), ((404, 409), 409)],
    ids=["in both", "in none", "in the left", "in the right"],
)
def test_a_cell_that_two_tiles_outline_differently_counts_once(monkeypatch, centres, kept):
    """The tiles of 800 pixels meet at 400; what lies deeper in its own tile is kept."""
    monkeypatch.setattr("blastscope.segmentation.fields.TILE", 40.0)
    (_, left), (_, right) = tiles((400, 800), UM)
    shapes = iter([(centres[0] - left.x, 0), (centres[1] - right.x, 1)])

    def segmenter(rgb, um_per_pixel):
        x, tile = next(shapes)
        inner = FoundCell(Box(60, 300, 50, 50), np.ones((50, 50), bool))  # two in one tile stay
        both = [replace(inner, mask=inner.mask.copy()) for _ in range(2)] if tile == 0 else []
        return [*both, FoundCell(Box(x - 50, 100, 100, 90), np.ones((90, 100), bool))]

    found = cells_of_field(np.zeros((400, 800, 3), np.uint8), UM, segmenter)
    assert [cell.centre[0] for cell in found] == [kept, 85, 85]


def test_a_cell_that_one_tile_alone_finds_beside_its_border_counts(monkeypatch):
    monkeypatch.setattr("blastscope.segmentation.fields.TILE", 40.0)
    cell = FoundCell(Box(370, 100, 80, 90), np.ones((90, 80), bool))  # its centre is at 410
    shapes = iter([[cell], []])
    found = cells_of_field(np.zeros((400, 800, 3), np.uint8), UM, lambda *_: next(shapes))
    assert [one.box for one in found] == [cell.box]


@pytest.mark.parametrize("shape", [(560, 800), (100, 3000), (64, 64), (10_000, 10_000)])
def test_tiles_cover_each_pixel_once(shape):
    seen = np.zeros((shape[0] // 4 + 1, shape[1] // 4 + 1), int)
    area = 0
    for core, whole in tiles(shape, 0.073):
        area += core.w * core.h
        assert whole.x <= core.x
        assert whole.x + whole.w >= core.x + core.w
        assert whole.w <= 1.5 * 1536 * 0.15 / 0.073 + 2 * 30 / 0.073
    assert area == shape[0] * shape[1]
    del seen


def test_uneven_light_makes_no_cells():
    field = draw((400, 600), [White(300, 200)], grid(6)).astype(np.float32)
    rows, columns = np.mgrid[:400, :600]
    light = 1 - 0.35 * (((columns - 300) / 300) ** 2 + ((rows - 200) / 200) ** 2) / 2
    shaded = (field * light[..., None] * (1.0, 0.95, 0.9)).astype(np.uint8)
    assert len(find_cells(shaded, UM)) == 1


def test_glass_between_two_lobes_is_not_cell_and_a_vacuole_is():
    """An outline that bridges a bay, and one with a clear spot in its middle."""
    mask = disc((200, 200), 100, 100, 6)
    bay = disc((200, 200), 100, 55, 2.5) & mask  # open to the rim
    spot = disc((200, 200), 100, 130, 1)
    pixels = np.full((200, 200, 3), GLASS, np.uint8)
    pixels[mask & ~bay & ~spot] = NUCLEUS
    cell = FoundCell(Box(0, 0, 200, 200), mask, 1.0, (), None, mask)
    found = _trimmed(cell, pixels, np.array(GLASS, np.float32), UM)
    kept = placed(found, (200, 200))
    assert (kept & bay).sum() < 0.02 * bay.sum()  # corners of the smoothed bay
    assert dice(kept, mask & ~bay) > 0.97
    assert (kept & spot).sum() == spot.sum()
