"""Masks as files: what is written is read, and what does not fit is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from blastscope.data.crop import Box
from blastscope.errors import BlastscopeError
from blastscope.segmentation.cells import EDGE, FoundCell
from blastscope.segmentation.mask_files import (
    find_mask_file,
    read_masks,
    read_own_labels,
    write_geojson,
    write_labels,
)

SHAPE = (90, 120)


@pytest.fixture
def cells():
    rows, columns = np.mgrid[:30, :30]
    disc = (columns - 14.5) ** 2 + (rows - 14.5) ** 2 < 14**2
    return [
        FoundCell(Box(0, 5, 30, 30), disc),
        FoundCell(Box(60, 50, 20, 10), np.ones((10, 20), bool)),
    ]


def _same(found, cells):
    assert len(found) == len(cells)
    for one, other in zip(found, cells, strict=True):
        whole, wanted = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
        for cell, place in ((one, whole), (other, wanted)):
            box = cell.box
            place[box.y : box.y + box.h, box.x : box.x + box.w] = cell.mask
        yield (whole ^ wanted).sum() / wanted.sum()


def test_labels_come_back_to_the_pixel(tmp_path, cells):
    write_labels(tmp_path / "a.tif", SHAPE, cells)
    labels = np.array(Image.open(tmp_path / "a.tif"))
    assert labels.dtype == np.uint16
    assert np.bincount(labels.ravel())[1:].tolist() == [cell.mask.sum() for cell in cells]
    assert list(_same(read_masks(tmp_path / "a.tif", SHAPE), cells)) == [0, 0]
    assert list(_same(read_own_labels(tmp_path / "a.tif", SHAPE, 2), cells)) == [0, 0]


@pytest.mark.parametrize(("left", "refused"), [(-15, True), (-1, False), (0, False), (7, False)])
def test_a_mask_that_the_edge_cuts_is_refused_as_a_found_cell_is(tmp_path, left, refused):
    """A disc of radius 14: cut through its middle 28 of 72 pixels of outline are at the edge."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    disc = (columns - left - 14.5) ** 2 + (rows - 40) ** 2 < 14**2
    Image.fromarray(disc.astype(np.uint8)).save(tmp_path / "a.png")
    (cell,) = read_masks(tmp_path / "a.png", SHAPE)
    assert (cell.refused is not None) == refused
    assert (EDGE in cell.flags) == (left < 0)


def test_geojson_is_what_qupath_reads_and_comes_back(tmp_path, cells):
    write_geojson(tmp_path / "a.geojson", cells, ["a_1", "a_2"])
    content = json.loads((tmp_path / "a.geojson").read_text())
    assert content["type"] == "FeatureCollection"
    ring = content["features"][1]["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1]
    xs, ys = zip(*ring, strict=True)
    assert (min(xs), max(xs), min(ys), max(ys)) == (60, 80, 50, 60)  # the edges of its pixels
    x, y = np.array(xs[:-1]), np.array(ys[:-1])
    area = abs((x * np.roll(y, 1) - y * np.roll(x, 1)).sum()) / 2
    assert area == pytest.approx(200, abs=4)
    assert content["features"][0]["properties"]["objectType"] == "annotation"
    assert max(_same(read_masks(tmp_path / "a.geojson", SHAPE), cells)) < 0.03


@pytest.mark.parametrize("apart", [18, 40], ids=["touching", "apart"])
@pytest.mark.parametrize(("white", "kind"), [(255, "L"), (255, "1"), (1, "L")])
def test_black_and_white_masks_are_refused(tmp_path, apart, white, kind):
    """Two discs that touch are one piece; with the number 1 that is one cell of a label image."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    x = np.where(columns < 30 + apart / 2, 30, 30 + apart)
    discs = (columns - x) ** 2 + (rows - 40) ** 2 <= 81
    image = Image.fromarray(discs.astype(np.uint8) * white)
    image.convert(kind).save(tmp_path / "a.png")
    if white == 1 and apart == 18:
        assert len(read_masks(tmp_path / "a.png", SHAPE)) == 1
        return
    with pytest.raises(BlastscopeError, match=r"a\.png is black and white"):
        read_masks(tmp_path / "a.png", SHAPE)


def test_a_speck_beside_the_only_cell_is_not_a_piece(tmp_path, cells):
    write_labels(tmp_path / "a.tif", SHAPE, cells[:1])
    labels = np.array(Image.open(tmp_path / "a.tif"))
    labels[80:83, 100:103] = 1
    Image.fromarray(labels).save(tmp_path / "a.tif")
    assert list(_same(read_masks(tmp_path / "a.tif", SHAPE), cells[:1])) == [0]


def test_pages_and_turned_labels_are_refused(tmp_path, cells):
    write_labels(tmp_path / "a.tif", SHAPE, cells)
    image = Image.open(tmp_path / "a.tif")
    image.save(tmp_path / "b.tif", save_all=True, append_images=[image])
    with pytest.raises(BlastscopeError, match=r"b\.tif has 2 pages"):
        read_masks(tmp_path / "b.tif", SHAPE)
    exif = Image.Exif()
    exif[274] = 3
    image.save(tmp_path / "c.png", exif=exif)
    with pytest.raises(BlastscopeError, match=r"c\.png has an EXIF orientation"):
        read_masks(tmp_path / "c.png", SHAPE)


@pytest.mark.parametrize(
    "content",
    [
        "{", "{}", '{"features": [{"geometry": {"type": "Point", "coordinates": [1, 2]}}]}',
        '{"features": [{"geometry": {"type": "Polygon", "coordinates": [[[1, 2], [3, 4]]]}}]}',
        '{"features": [{"geometry": {"type": "Polygon", "coordinates": "abc"}}]}',
        '{"features": [{"geometry": {"type": "Polygon", "coordinates":'
        " [[[0, 0], [500, 0], [500, 9], [0, 0]]]}}]}",
    ],
)  # fmt: skip
def test_damaged_geojson_is_one_sentence(tmp_path, content):
    (tmp_path / "a.geojson").write_text(content)
    with pytest.raises(BlastscopeError, match=r"a\.geojson"):
        read_masks(tmp_path / "a.geojson", SHAPE)


def test_labels_of_another_size_or_kind_are_refused(tmp_path, cells):
    write_labels(tmp_path / "a.tif", SHAPE, cells)
    with pytest.raises(BlastscopeError, match="120 × 90"):
        read_masks(tmp_path / "a.tif", (90, 121))
    Image.new("RGB", SHAPE[::-1]).save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"no image")
    for name in ("b.png", "c.png"):
        with pytest.raises(BlastscopeError, match="label image"):
            read_masks(tmp_path / name, SHAPE)


def test_the_masks_of_a_field_are_found_by_its_name(tmp_path, cells):
    field = tmp_path / "f.jpg"
    with pytest.raises(BlastscopeError, match="no file"):
        find_mask_file(tmp_path, field)
    write_labels(tmp_path / "f_cp_masks.tif", SHAPE, cells)
    assert find_mask_file(tmp_path, field).name == "f_cp_masks.tif"
    write_geojson(tmp_path / "f.geojson", cells, ["a", "b"])
    with pytest.raises(BlastscopeError, match="2 files"):
        find_mask_file(tmp_path, field)


def _square(x: float, y: float, side: float) -> list[list[float]]:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


def _polygons(path, *geometries):
    features = [{"type": "Feature", "geometry": one, "properties": {}} for one in geometries]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_of_a_cell_in_pieces_the_largest_counts_however_many_corners_another_has(tmp_path):
    turn = np.linspace(0, 2 * np.pi, 40)
    speck = np.column_stack([20 + 4 * np.cos(turn), 20 + 4 * np.sin(turn)]).tolist()
    both = {"type": "MultiPolygon", "coordinates": [[speck], [_square(50, 30, 25)]]}
    (cell,) = read_masks(_polygons(tmp_path / "a.geojson", both), SHAPE)
    assert cell.box == Box(50, 30, 25, 25)


@pytest.mark.parametrize("second", [_square(10, 10, 30), _square(5, 5, 50)])
def test_a_mask_that_lies_under_another_is_refused(tmp_path, second):
    rings = [_square(10, 10, 30), second]
    path = _polygons(
        tmp_path / "a.geojson", *({"type": "Polygon", "coordinates": [ring]} for ring in rings)
    )
    with pytest.raises(BlastscopeError, match=r"a\.geojson has a mask that lies mostly under"):
        read_masks(path, SHAPE)


def test_masks_that_overlap_a_little_stay(tmp_path):
    rings = [_square(10, 10, 30), _square(36, 10, 30)]
    path = _polygons(
        tmp_path / "a.geojson", *({"type": "Polygon", "coordinates": [ring]} for ring in rings)
    )
    assert len(read_masks(path, SHAPE)) == 2
