"""Pictures are read in order, to the very pixels of a store, in memory that stays flat."""

from __future__ import annotations

import threading
import time
import tracemalloc
from itertools import product

import cv2
import numpy as np
import pytest
from PIL import Image

from blastscope.data.images import Decoded
from blastscope.data.inspection import pixel_hash
from blastscope.data.layouts import Problem
from blastscope.data.preparation import prepare
from blastscope.data.store import StoreSettings, open_store
from blastscope.data.synthetic import write_synthetic
from blastscope.prediction.images import InputImage, InputImages
from blastscope.prediction.inputs import list_inputs
from blastscope.prediction.pipeline import PreparedCell, read_cells
from tests.conftest import draw_cell, write_cell
from tests.prediction.zips import write_zip

EVERY = [
    StoreSettings(size, scale, clahe, contour)
    for size, scale, clahe, contour in product(
        (32, 75), ("crop", "keep"), (False, True), ("union", "first")
    )
]


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    """Synthetic cells, one with debris beside it and one larger than the field."""
    root = tmp_path_factory.mktemp("synthetic") / "cells"
    write_synthetic(root, cells=6, subjects=2, seed=3)
    debris = draw_cell(1, 200, 40)
    debris[5:9, 5:9] = 200
    write_cell(root / "fold_0" / "all" / "UID_950_1_1_all.bmp", debris)
    write_cell(root / "fold_0" / "all" / "UID_950_1_2_all.bmp", draw_cell(2, 450, 170))
    return root


def test_the_pixels_are_those_of_a_store_whatever_the_settings(synthetic, tmp_path):
    zipped = write_zip(
        tmp_path / "cells.zip",
        {
            path.relative_to(synthetic).as_posix(): path.read_bytes()
            for path in synthetic.rglob("*.bmp")
        },
    )
    stores = {}
    for k, settings in enumerate(EVERY):
        prepare([synthetic], tmp_path / str(k), settings)
        stores[settings] = open_store(tmp_path / str(k))
    cells = stores[EVERY[0]].cells
    beyond = stores[StoreSettings(32, "keep")].cells["flags"].list.contains("beyond-field")
    assert beyond.sum() == 1
    for given in (synthetic, zipped):
        found = list(read_cells(list_inputs([given]), [*EVERY, EVERY[0]]))
        assert [picture.cell for picture, _ in found] == cells["cell"].to_list()
        for k, (_, cell) in enumerate(found):
            assert cell.pixel_hash == cells["pixel_hash"][k]
            flags = [flag for flag in cells["flags"][k] if flag != "synthetic"]
            assert list(cell.flags) == flags + ["beyond-field"] * beyond[k]
            assert list(cell.pixels) == EVERY
            for settings, store in stores.items():
                np.testing.assert_array_equal(cell.pixels[settings], store.pixels[k])
    one = StoreSettings(32, "crop")
    assert all(
        "beyond-field" not in cell.flags for _, cell in read_cells(list_inputs([synthetic]), [one])
    )


def test_a_bad_picture_is_a_reason_in_its_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_cell(tmp_path / "1.png", draw_cell(1, 60, 15))
    (tmp_path / "2.png").write_text("no image")
    write_cell(tmp_path / "3.png", np.zeros((9, 9, 3), np.uint8))
    cv2.imwrite("4.png", draw_cell(1, 60, 15).astype(np.uint16) * 257)
    (tmp_path / "5.png").touch()
    (tmp_path / "labels.csv").write_text("file,label\n1.png,0\n")
    write_cell(tmp_path / "6\n.png", draw_cell(1, 60, 15))
    (tmp_path / "7.png").symlink_to("gone")
    write_cell(tmp_path / "8.png", draw_cell(2, 60, 15))
    found = list(read_cells(list_inputs([".", "labels.csv"]), [StoreSettings(32)]))
    kinds = [cell.kind if isinstance(cell, Problem) else "" for _, cell in found]
    wanted = [
        "",
        "unreadable",
        "black",
        "mode",
        "unreadable",
        "name",
        "unreadable",
        "",
        "unreadable",
    ]
    assert kinds == wanted
    assert all(cell.file == p.file for p, cell in found if isinstance(cell, Problem))
    assert found[-1][1].message == "is not a BMP, PNG, TIFF, JPEG or WebP image"


def counting(count: int, log: list[int]) -> InputImages:
    """Pictures that note when they are read, the later ones of eight the sooner."""
    pixels = draw_cell(0, 60, 15)
    lock = threading.Lock()

    def read(k: int) -> Decoded:
        time.sleep(0.002 * (8 - k % 8) if count <= 64 else 0)
        with lock:
            log.append(k)
        return Decoded(pixels.copy(), "", "RGB", ())

    pictures = (InputImage(str(k), str(k), lambda k=k: read(k)) for k in range(count))
    return InputImages(tuple(pictures), closers=(lambda: log.append(-1),))


def test_the_order_is_kept_and_only_a_few_are_read_ahead():
    log: list[int] = []
    stream = read_cells(counting(64, log), [StoreSettings(32)], workers=4)
    assert next(stream)[0].cell == "0"
    time.sleep(0.2)
    assert len(log) == 16  # four a worker
    assert [picture.cell for picture, _ in stream] == [str(k) for k in range(1, 64)]
    assert log[-1] == -1  # closed
    assert log[:-1] != sorted(log[:-1])  # they were not read in order


def test_a_stream_that_is_left_early_ends_its_work_and_closes():
    log: list[int] = []
    stream = read_cells(counting(64, log), [StoreSettings(32)], workers=2)
    next(stream)
    stream.close()
    assert log[-1] == -1
    assert len(log) < 16


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    cell = draw_cell(0, 120, 30)

    def peak(count: int) -> int:
        path = write_zip(
            tmp_path / f"{count}.zip", dict.fromkeys(map("{}.bmp".format, range(count)), cell)
        )
        inputs = list_inputs([path])
        tracemalloc.start()
        seen = sum(
            isinstance(found, PreparedCell)
            for _, found in read_cells(inputs, [StoreSettings(64), StoreSettings(32)], workers=2)
        )
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert seen == count
        return most

    # A zip's list of its entries stays open, half a kilobyte each; their pixels are 43 kB each.
    assert (peak(1000) - peak(100)) / 900 < 1000


def test_an_image_is_hashed_as_it_is_and_not_as_it_is_prepared(tmp_path):
    pixels = draw_cell(4, 80, 20)
    Image.fromarray(pixels).save(tmp_path / "x.webp", lossless=True)
    ((_, cell),) = read_cells(list_inputs([tmp_path / "x.webp"]), [])
    assert (cell.pixel_hash, cell.pixels) == (pixel_hash(pixels), {})


def test_real_cells_are_prepared_as_in_a_store(shared, tmp_path):
    folder = shared / "data" / "C-NMC_training_data" / "fold_1" / "hem"
    some = sorted(folder.iterdir())[:24]
    for path in some:
        (tmp_path / "cells" / path.name).parent.mkdir(exist_ok=True)
        (tmp_path / "cells" / path.name).write_bytes(path.read_bytes())
    wanted = StoreSettings(96, "keep")
    prepare([tmp_path / "cells"], tmp_path / "store", wanted)
    store = open_store(tmp_path / "store")
    found = {p.cell: cell for p, cell in read_cells(list_inputs(some), [wanted])}
    for k, name in enumerate(store.cells["cell"]):
        np.testing.assert_array_equal(found[name].pixels[wanted], store.pixels[k])
