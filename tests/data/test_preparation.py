import os
import shutil
import subprocess
import sys
import threading
from collections import defaultdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from blastscope.data import partial_store, preparation
from blastscope.data.crop import Box, prepared
from blastscope.data.images import read_image
from blastscope.data.inspection import pixel_hash
from blastscope.data.preparation import prepare
from blastscope.data.store import StoreSettings, open_store
from blastscope.errors import BlastscopeError
from blastscope.io.files import only_one, read_json, write_json
from tests.conftest import draw_cell, write_cell

SMALL = StoreSettings(size=32)


@pytest.fixture
def chunks_of_four(monkeypatch):
    monkeypatch.setattr(preparation, "CHUNK", 4)


def test_every_row_is_its_own_cell(dataset, tmp_path, chunks_of_four):
    root = dataset()
    prepare([root], tmp_path / "store", SMALL)
    store = open_store(tmp_path / "store")
    assert len(store) == 40
    assert store.cells["cell"].is_sorted()
    for k, row in enumerate(store.cells.iter_rows(named=True)):
        pixels = read_image(root / row["file"]).pixels
        box = Box(row["box_x"], row["box_y"], row["box_w"], row["box_h"])
        np.testing.assert_array_equal(store.pixels[k], prepared(pixels, box, 32, "crop", False))
        assert row["pixel_hash"] == pixel_hash(pixels)
        assert row["label"] == row["cell"][-3:]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_again_is_a_no_op_and_other_settings_are_refused(dataset, tmp_path):
    root, out = dataset(), tmp_path / "store"
    assert not prepare([root], out, SMALL).already
    before = (out / "store.json").stat().st_mtime_ns
    assert prepare([root], out, SMALL).already
    assert (out / "store.json").stat().st_mtime_ns == before
    with pytest.raises(
        BlastscopeError, match=r"made with size 32, not 48: choose .* `prepare --force`"
    ):
        prepare([root], out, StoreSettings(size=48))
    prepare([root], out, StoreSettings(size=48), force=True)
    assert open_store(out).pixels.shape == (40, 48, 48, 3)
    write_cell(root / "fold_0" / "all" / "UID_70_1_1_all.bmp", draw_cell(5, 90, 20))
    with pytest.raises(BlastscopeError, match="made of other files"):
        prepare([root], out, StoreSettings(size=48))


def test_a_folder_of_something_else_is_never_touched(dataset, tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(BlastscopeError, match="is not a store"):
        prepare([dataset()], out, SMALL, force=True)
    assert (out / "thesis.txt").read_text() == "mine"


def test_bad_files_are_all_named_and_nothing_is_left(dataset, tmp_path, chunks_of_four):
    root = dataset()
    bad = [root / "fold_0" / "all" / f"UID_80_{k}_1_all.bmp" for k in range(3)]
    bad[0].touch()
    bad[1].write_text("text")
    write_cell(bad[2], np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(BlastscopeError) as error:
        prepare([root], tmp_path / "store", SMALL)
    assert all(path.name in str(error.value) for path in bad)
    assert "skip-bad" in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
    made = prepare([root], tmp_path / "store", SMALL, skip_bad=True)
    assert (made.cells, len(made.skipped)) == (40, 3)
    store = open_store(tmp_path / "store")
    assert store.pixels.shape[0] == 40
    clean = prepare([dataset(folder="clean")], tmp_path / "clean-store", SMALL)
    np.testing.assert_array_equal(store.pixels, open_store(clean.path).pixels)
    with pytest.raises(BlastscopeError, match="3 files cannot be used"):
        prepare([root], tmp_path / "store", SMALL)


def test_a_killed_run_goes_on_and_ends_the_same(dataset, tmp_path, chunks_of_four, monkeypatch):
    root = dataset()
    prepare([root], tmp_path / "whole", SMALL)
    seen = 0

    def stop(done, total):
        nonlocal seen
        seen = done
        if done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare([root], tmp_path / "store", SMALL, on_progress=stop)
    assert not (tmp_path / "store").exists()
    made = prepare([root], tmp_path / "store", SMALL)
    assert made.resumed >= 16
    a, b = open_store(tmp_path / "whole"), open_store(tmp_path / "store")
    np.testing.assert_array_equal(a.pixels, b.pixels)
    assert a.cells.equals(b.cells)
    assert a.fingerprint == b.fingerprint


def test_a_file_that_could_not_be_read_for_a_while_is_not_left_out(
    dataset, tmp_path, chunks_of_four, monkeypatch
):
    root, failed = dataset(), []
    prepare([root], tmp_path / "whole", StoreSettings(32))
    inspect = preparation.inspect_cell

    def fails_once(item, contour="union"):
        if not failed:
            failed.append(item.cell)
            return preparation.Problem(item.file, "unreadable", "cannot be read")
        return inspect(item, contour)

    monkeypatch.setattr(preparation, "inspect_cell", fails_once)
    prepare([root], tmp_path / "store", StoreSettings(32))
    whole, store = open_store(tmp_path / "whole"), open_store(tmp_path / "store")
    assert failed[0] in store.cells["cell"]
    assert store.cells.equals(whole.cells)
    assert (store.pixels[:] == whole.pixels[:]).all()


def test_pixels_are_on_the_disk_before_their_rows_say_so(
    dataset, tmp_path, chunks_of_four, monkeypatch
):
    log: dict[int, list[str]] = defaultdict(list)  # by thread
    sync, save = os.fsync, partial_store.PartialStore.save_chunk

    def synced(file):
        log[threading.get_ident()].append("pixels")
        sync(file)

    def saved(self, chunk, rows):
        log[threading.get_ident()].append("rows")
        on_disk = np.load(self.path / "pixels.npy", mmap_mode="r")
        assert all(on_disk[place].any() for place, _ in rows)
        save(self, chunk, rows)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(partial_store.PartialStore, "save_chunk", saved)
    prepare([dataset()], tmp_path / "store", SMALL)  # forty cells, ten chunks
    assert sum(map(len, log.values())) == 20
    assert all(words == ["pixels", "rows"] * (len(words) // 2) for words in log.values())


def test_an_interrupted_run_of_other_files_begins_anew(dataset, tmp_path, chunks_of_four):
    root = dataset()

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare([root], tmp_path / "store", SMALL, on_progress=stop)
    write_cell(root / "fold_0" / "all" / "UID_10_1_1_all.bmp", draw_cell(5, 90, 20))
    made = prepare([root], tmp_path / "store", SMALL)
    assert (made.cells, made.resumed) == (41, 0)


def test_a_full_disk_is_one_sentence(dataset, tmp_path):
    root = dataset()
    limit = 50_000  # bytes a file may have, which the pixels exceed
    code = (
        "import resource, signal, sys; from pathlib import Path;"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
        "sys.argv = ['blastscope', 'prepare', sys.argv[1], '--out', sys.argv[2], '--size', '64'];"
        "from blastscope.cli import main; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(root), str(tmp_path / "store")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "cannot be written (file too large)" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_a_read_only_folder_is_one_sentence(dataset, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    if os.access(folder, os.W_OK):  # root may write anywhere: a file in the path stops it too
        folder.rmdir()
        folder.touch()
    with pytest.raises(BlastscopeError, match=r"locked.* cannot be written"):
        prepare([dataset()], folder / "store", SMALL)


def test_a_store_of_another_version_or_tampered_with(dataset, tmp_path):
    out = prepare([dataset()], tmp_path / "store", SMALL).path
    info = read_json(out / "store.json")
    write_json(out / "store.json", {**info, "version": 99})
    with pytest.raises(BlastscopeError, match="store of version 99; this blastscope reads"):
        open_store(out)
    write_json(out / "store.json", info)
    table = pl.read_parquet(out / "cells.parquet")
    table.with_columns(pl.lit("all").alias("label")).write_parquet(out / "cells.parquet")
    with pytest.raises(BlastscopeError, match="not the one its pixels were made with"):
        open_store(out)
    table.head(3).write_parquet(out / "cells.parquet")
    with pytest.raises(BlastscopeError, match="does not fit its cell table of 3 rows"):
        open_store(out)


def test_a_path_that_is_no_store(tmp_path):
    with pytest.raises(BlastscopeError, match="is not a store: make one with `blastscope prepare"):
        open_store(tmp_path / "nothing")
    with pytest.raises(BlastscopeError, match="not a finished store: give the folder"):
        open_store(tmp_path)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"size": 4}, "size 4"), ({"scale": "fit"}, "scale 'fit'"), ({"contour": "x"}, "contour")],
)
def test_settings_out_of_range(settings, words):
    with pytest.raises(BlastscopeError, match=words):
        StoreSettings(**settings)


def test_synthetic_data_stays_synthetic(dataset, tmp_path):
    root = dataset()
    (root / "SYNTHETIC.txt").write_text("drawn")
    store = open_store(prepare([root], tmp_path / "store", SMALL).path)
    assert store.synthetic
    assert all("synthetic" in flags for flags in store.cells["flags"])
    assert Path(store.sources[0]) == root


@pytest.mark.parametrize("moment", ["packed", "table", "info"])
def test_a_kill_while_publishing_is_made_good(dataset, tmp_path, monkeypatch, moment):
    root = dataset()
    (root / "fold_0" / "all" / "UID_80_1_1_all.bmp").touch()
    target = {"packed": "remove_folder", "table": "write_table", "info": "write_json"}[moment]
    real = getattr(partial_store, target)

    def stop(path, *rest):
        if moment == "packed" and path.name != "rows":
            return real(path, *rest)
        if moment == "table" and path is not rest[0] and "rows" in str(rest[0]):
            return real(path, *rest)
        if moment == "info" and path.name == "plan.json":
            return real(path, *rest)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(partial_store, target, stop)
        with pytest.raises(KeyboardInterrupt):
            prepare([root], tmp_path / "store", SMALL, skip_bad=True)
    assert not (tmp_path / "store").exists()
    made = prepare([root], tmp_path / "store", SMALL, skip_bad=True)
    assert (made.cells, len(made.skipped)) == (40, 1)
    clean = prepare([dataset(folder="clean")], tmp_path / "clean-store", SMALL)
    np.testing.assert_array_equal(open_store(made.path).pixels, open_store(clean.path).pixels)


def test_force_mends_a_broken_store_and_keeps_what_else_is_there(dataset, tmp_path):
    root, out = dataset(), tmp_path / "store"
    prepare([root], out, SMALL)
    (out / "splits").mkdir()
    (out / "splits" / "mine.parquet").write_text("mine")
    (out / "store.json").write_text("{")
    with pytest.raises(BlastscopeError, match="replace it with `prepare --force`"):
        prepare([root], out, SMALL)
    prepare([root], out, SMALL, force=True)
    assert len(open_store(out)) == 40
    assert (out / "splits" / "mine.parquet").read_text() == "mine"
    (out / "pixels.npy").unlink()
    prepare([root], out, StoreSettings(size=48), force=True)
    assert open_store(out).pixels.shape == (40, 48, 48, 3)


def test_two_at_once_do_not_mix(dataset, tmp_path):
    with only_one(tmp_path / "store"), pytest.raises(BlastscopeError, match="another process"):
        prepare([dataset()], tmp_path / "store", SMALL)
    assert prepare([dataset()], tmp_path / "store", SMALL).cells == 40


def test_leaving_out_bad_files_never_leaves_out_a_class(tmp_path):
    write_cell(tmp_path / "set" / "all" / "1.png", draw_cell(0, 90, 20))
    (tmp_path / "set" / "hem").mkdir()
    (tmp_path / "set" / "hem" / "2.png").write_bytes(b"broken")
    with pytest.raises(BlastscopeError, match="Every cell of the class hem"):
        prepare([tmp_path / "set"], tmp_path / "store", skip_bad=True)
    assert not (tmp_path / "store").exists()


def test_the_same_names_in_each_class_are_all_prepared(tmp_path):
    for label, seed in (("all", 1), ("hem", 4)):
        for k in range(3):
            write_cell(tmp_path / "set" / label / f"{k}.png", draw_cell(seed + k, 90, 20))
    made = prepare([tmp_path / "set"], tmp_path / "store")
    assert (made.cells, made.labels) == (6, {"all": 3, "hem": 3})
    assert any("have the name of another" in note for note in made.notes)


def test_a_contradiction_stops_until_the_user_says_what_to_trust(tmp_path):
    for label, seed in (("all", 1), ("hem", 4)):
        for k in range(2):
            write_cell(tmp_path / "set" / label / f"{label}{k}.png", draw_cell(seed + k, 90, 20))
    (tmp_path / "set" / "t.csv").write_text("file,label\nall0.png,hem\nhem0.png,hem\n")
    with pytest.raises(BlastscopeError, match=r"1 file cannot be used.*--believe"):
        prepare([tmp_path / "set"], tmp_path / "store")
    made = prepare([tmp_path / "set"], tmp_path / "store", believe="table")
    assert made.labels == {"all": 1, "hem": 3}


def test_the_same_pixels_with_two_labels_stop_or_are_left_out(dataset, tmp_path, chunks_of_four):
    root = dataset()
    copy = root / "fold_0" / "hem" / "UID_H9_9_9_hem.bmp"
    shutil.copy(root / "fold_0" / "all" / "UID_1_1_1_all.bmp", copy)
    with pytest.raises(BlastscopeError, match=r"2 files cannot be used: .*has the same pixels"):
        prepare([root], tmp_path / "store", StoreSettings(size=48))
    assert not (tmp_path / "store").exists()
    made = prepare([root], tmp_path / "store", StoreSettings(size=48), skip_bad=True)
    assert {problem.kind for problem in made.skipped} == {"same-pixels"}
    store = open_store(made.path)
    assert (made.cells, len(store.pixels)) == (39, 39)
    assert not set(store.cells["file"]) & {problem.file for problem in made.skipped}
    for row, file in enumerate(store.cells["file"]):  # each row still has its own pixels
        box = Box(*store.cells.row(row)[5:9])
        one = prepared(read_image(root / file).pixels, box, 48, "crop", False)
        assert (store.pixels[row] == one).all()
    again = prepare([root], tmp_path / "store", StoreSettings(size=48), skip_bad=True)
    assert again.already


def test_the_same_pixels_without_a_second_label_are_kept(dataset, tmp_path):
    root = dataset()
    shutil.copy(root / "fold_0/all/UID_1_1_1_all.bmp", root / "fold_0/all/UID_1_9_9_all.bmp")
    assert prepare([root], tmp_path / "store", StoreSettings(size=48)).cells == 41
