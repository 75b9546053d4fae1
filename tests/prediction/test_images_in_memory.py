"""Arrays and Pillow images are read by the rules for files."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import blastscope as bs
from blastscope.data.images import UnusableImageError, read_image
from blastscope.data.store import StoreSettings
from blastscope.errors import BlastscopeError
from blastscope.prediction.inputs import as_inputs
from blastscope.prediction.pipeline import read_cells
from tests.conftest import draw_cell, write_cell

CELL = draw_cell(0, 60, 15)
GREY = CELL[:, :, 0]
RGBA = np.dstack([CELL, np.full(CELL.shape[:2], 128, np.uint8)])


@pytest.mark.parametrize("array", [CELL, GREY, RGBA, CELL[::-1, ::2], CELL.transpose(1, 0, 2)])
def test_an_array_is_read_as_the_same_pixels_in_a_file(array, tmp_path):
    Image.fromarray(np.ascontiguousarray(array)).save(tmp_path / "x.png")
    before = array.copy()
    wanted = read_image(tmp_path / "x.png")
    for image in (array, Image.fromarray(np.ascontiguousarray(array))):
        (picture,) = as_inputs(image)
        found = picture.decode()
        np.testing.assert_array_equal(found.pixels, wanted.pixels)
        assert (found.mode, found.flags) == (wanted.mode, wanted.flags)
        assert (picture.cell, picture.file, picture.subject, picture.label) == (
            "image-1",
            "",
            None,
            None,
        )
    np.testing.assert_array_equal(array, before)


def test_arrays_that_cannot_be_changed_are_read():
    array = CELL.copy()
    array.flags.writeable = False
    ((_, cell),) = read_cells(as_inputs(array), [StoreSettings(32)])
    assert cell.pixels[StoreSettings(32)].shape == (32, 32, 3)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "LA", "1", "YCbCr"])
def test_a_pillow_image_is_converted_as_its_file_is(mode, tmp_path):
    image = Image.fromarray(CELL).convert(mode)
    path = tmp_path / ("x.tif" if mode in ("CMYK", "YCbCr") else "x.png")
    image.save(path)
    wanted = read_image(path)
    (from_memory,), (opened,) = as_inputs(image), as_inputs([Image.open(path)])
    np.testing.assert_array_equal(opened.decode().pixels, wanted.pixels)
    np.testing.assert_array_equal(from_memory.decode().pixels, np.array(image.convert("RGB")))
    assert opened.decode().flags == wanted.flags


def test_pillow_images_of_more_than_8_bits_are_refused():
    for image in (Image.new("I;16", (9, 9)), Image.new("F", (9, 9)), Image.new("I", (9, 9))):
        (picture,) = as_inputs([image])
        with pytest.raises(UnusableImageError, match="more than 8 bits"):
            picture.decode()


def test_of_several_frames_the_one_that_is_shown_is_read(tmp_path):
    first, second = (draw_cell(k, 40, 12) for k in (1, 2))
    Image.fromarray(first).save(
        tmp_path / "two.tif", save_all=True, append_images=[Image.fromarray(second)]
    )
    image = Image.open(tmp_path / "two.tif")
    image.seek(1)
    np.testing.assert_array_equal(as_inputs(image).images[0].decode().pixels, second)
    assert image.tell() == 1


def test_what_was_not_used_of_an_image_is_counted(tmp_path):
    cell = Image.fromarray(draw_cell(1, 60, 20))
    cell.save(tmp_path / "two.tif", save_all=True, append_images=[cell])
    clear = cell.convert("RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, 60, 10))
    clear.save(tmp_path / "clear.png")
    cell.save(tmp_path / "whole.png")
    made = bs.predict(tmp_path)
    assert made.to_frame()["flags"].str.contains("frames|alpha").sum() == 2
    told = [line for line in made.notes() if "pictures" in line or "transparent" in line]
    assert len(told) == 2
    assert all(" 1." in line for line in told)
    assert all(line in made.to_html() for line in told)
    shards = bs.predict_shards(tmp_path, out=tmp_path / "shards", shard_cells=2)
    assert [line for line in shards.notes() if line in told] == told
    notes = bs.predict(tmp_path / "whole.png").notes()
    assert not [line for line in notes if "pictures" in line or "transparent" in line]


def test_images_and_paths_side_by_side_keep_their_order_and_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_cell(tmp_path / "UID_5_1_1_all.png", CELL)
    write_cell(tmp_path / "cells" / "all" / "b.png", CELL)
    content = io.BytesIO((tmp_path / "UID_5_1_1_all.png").read_bytes())
    found = as_inputs(
        [
            CELL,
            "cells",
            Image.open("UID_5_1_1_all.png"),
            GREY,
            Image.open(content),
            tmp_path / "UID_5_1_1_all.png",
        ]
    )
    whole = (tmp_path / "UID_5_1_1_all.png").as_posix()
    assert [(p.cell, p.file, p.subject, p.label) for p in found] == [
        ("image-1", "", None, None),
        ("b", "cells/all/b.png", None, "all"),
        ("UID_5_1_1_all", "UID_5_1_1_all.png", "5", "all"),
        ("image-4", "", None, None),
        ("image-5", "", None, None),
        (whole.removesuffix(".png"), whole, "5", "all"),
    ]
    assert sum(image.subject is None for image in found) == 4
    assert as_inputs("UID_5_1_1_all.png", r"_(\d)_all").images[0].subject == "1"


def test_the_same_image_twice_is_two_pictures_and_loaded_once_at_a_time(tmp_path):
    write_cell(tmp_path / "x.png", CELL)
    image = Image.open(tmp_path / "x.png")
    inputs = as_inputs([image] * 12)
    assert len({p.cell for p in inputs}) == 12
    found = list(read_cells(inputs, [StoreSettings(32)], workers=4))
    assert len({cell.pixel_hash for _, cell in found}) == 1


def test_a_batch_and_a_generator_are_several_images():
    batch = np.stack([CELL, draw_cell(1, 60, 15)])
    assert [p.cell for p in as_inputs(batch)] == ["image-1", "image-2"]
    assert len(as_inputs(image for image in batch)) == 2
    assert len(as_inputs([])) == 0


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([CELL, CELL / 255.0], r"images\[1\] is an array of float64 and shape \(60, 60, 3\)"),
        (CELL.astype(np.uint16), r"images\[0\] is an array of uint16"),
        (CELL > 0, r"images\[0\] is an array of bool"),
        (CELL.transpose(2, 0, 1), r"images\[0\] .* shape \(3, 60, 60\)"),
        (CELL[:, :, :2], r"shape \(60, 60, 2\)"),
        (CELL[:0], r"shape \(0, 60, 3\)"),
        (np.zeros((2, 2, 60, 60, 3), np.uint8), r"shape \(2, 2, 60, 60, 3\)"),
        ([CELL, None], r"images\[1\] is of the type NoneType"),
        (b"BM", r"images\[0\] is of the type bytes"),
        (3, "int is neither an image nor a list"),
        (["gone.png"], r"gone\.png does not exist"),
    ],
)
def test_what_is_no_image_is_one_sentence(images, words):
    with pytest.raises(BlastscopeError, match=words):
        as_inputs(images)


def test_a_path_that_is_given_twice_is_two_rows_so_that_rows_stand_by_what_was_given(tmp_path):
    first, other = (write_cell(tmp_path / name, CELL) for name in ("a.png", "b.png"))
    found = as_inputs([first, other, str(first)])
    assert [picture.path for picture in found] == [first, other, first]
    assert len({picture.cell for picture in found}) == 3


def test_other_pixels_under_the_same_names_are_other_inputs(tmp_path):
    grey = Image.fromarray(CELL).convert("L")
    digests = [
        as_inputs(images).digest()
        for images in (
            [CELL, GREY],
            [CELL[::-1], GREY],
            [CELL.transpose(1, 0, 2), GREY],
            [CELL[:30], CELL[30:, :, 0]],
            [RGBA, GREY],
            [Image.fromarray(CELL), GREY],
            [Image.fromarray(CELL[::-1]), GREY],
            [grey, GREY],
            [Image.new("I;16", (9, 9)), GREY],
        )
    ]
    assert len(set(digests)) == len(digests)
    assert as_inputs([CELL.copy(order="F"), GREY.copy()]).digest() == digests[0]


def test_a_killed_prediction_of_arrays_is_not_gone_on_with_for_others(tmp_path, monkeypatch):
    monkeypatch.setattr("blastscope.prediction.pipeline.BATCH", 2)
    monkeypatch.setattr("blastscope.prediction.journal.ROWS", 2)
    first, other = ([draw_cell(k, 60, r) for k in range(3)] for r in (12, 20))
    out, counts = tmp_path / "x.parquet", []

    def kill(done, total):
        counts.append(done)
        if done == total:
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            bs.predict(first, out=out, progress=kill)
    assert counts == [2, 3, 3]  # the same arrays are gone on with
    found = bs.predict(other, out=out).to_frame()["p_all"].to_list()
    assert found == bs.predict(other).to_frame()["p_all"].to_list()
    assert found[:2] != bs.predict(first[:2]).to_frame()["p_all"].to_list()
    bs.normalize_stain(first, method="reinhard", out=tmp_path / "stain")
    with pytest.raises(BlastscopeError):
        bs.normalize_stain(other, method="reinhard", out=tmp_path / "stain")
