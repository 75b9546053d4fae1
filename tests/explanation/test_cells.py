from __future__ import annotations

import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from blastscope.data.layouts import list_cells
from blastscope.data.preparation import prepare
from blastscope.data.store import StoreSettings, open_store
from blastscope.errors import BlastscopeError
from blastscope.explanation import cells as explain_material
from blastscope.explanation.cells import ExplainedCells, find_cells, list_data, prepare_cells
from tests.conftest import draw_cell, write_cell


def test_cells_by_name_and_by_file_in_the_order_given(dataset, tmp_path):
    root = dataset()
    elsewhere = write_cell(tmp_path / "mine" / "cell.png", draw_cell(1, 120, 30))
    inside = root / "fold_0" / "hem" / "UID_H1_2_1_hem.bmp"
    found = find_cells(["UID_2_1_1_all", str(elsewhere), str(inside)], [root])
    assert [item.cell for item in found.cells] == ["UID_2_1_1_all", "cell", "UID_H1_2_1_hem"]
    assert [item.label for item in found.cells] == ["all", None, "hem"]
    assert [item.subject for item in found.cells] == ["2", None, "H1"]
    assert found.cells[2].path == inside


def test_a_cell_that_is_not_there_is_named(dataset, tmp_path):
    root = dataset()
    with pytest.raises(BlastscopeError, match="No cell and no file is called nobody"):
        find_cells(["UID_2_1_1_all", "nobody"], [root])
    with pytest.raises(BlastscopeError, match="no --data was given"):
        find_cells(["UID_2_1_1_all"], [])
    (tmp_path / "x").mkdir()
    write_cell(tmp_path / "x" / "UID_2_1_1_all.png", draw_cell(1, 120, 30))
    with pytest.raises(BlastscopeError, match="both called 'UID_2_1_1_all'"):
        find_cells(["UID_2_1_1_all", str(tmp_path / "x" / "UID_2_1_1_all.png")], [root])


def test_cells_in_a_tar_are_shown_and_a_store_of_one_says_what_to_do(tmp_path):
    file, tar = write_cell(tmp_path / "a.bmp", draw_cell(1, 120, 30)), tmp_path / "t.tar"
    with tarfile.open(tar, "w") as packed:
        packed.add(file, "a.bmp")
    cells = ExplainedCells(tuple(list_data([tar]).cells), {}, synthetic=False)
    shown = cells.cell_image(0, StoreSettings(size=32))
    np.testing.assert_array_equal(shown.whole, draw_cell(1, 120, 30))
    store = prepare([tar], tmp_path / "store", StoreSettings(size=32)).path
    with pytest.raises(BlastscopeError, match="unpack it"):
        list_data([store])


def test_a_store_stands_for_its_images(dataset, tmp_path):
    root = dataset()
    store = prepare([root], tmp_path / "store", StoreSettings(size=32)).path
    assert [c.path for c in list_data([store]).cells] == [c.path for c in list_data([root]).cells]
    root.rename(tmp_path / "moved")
    with pytest.raises(BlastscopeError, match="put them back, or prepare the store again") as error:
        list_data([store])
    assert "--" not in str(error.value)  # errors --explain has no --data


def test_a_store_finds_its_images_from_any_working_folder(dataset, tmp_path, monkeypatch):
    root = dataset()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    typed = Path("..") / root.relative_to(tmp_path)
    store = prepare([typed], tmp_path / "store", StoreSettings(size=32)).path
    monkeypatch.chdir(root)
    (tmp_path / "work").rmdir()
    assert all(cell.path.is_file() for cell in list_data([store]).cells)


def test_a_store_prepared_again_from_moved_images_finds_them(dataset, tmp_path):
    root, settings = dataset(), StoreSettings(size=32)
    store = prepare([root], tmp_path / "store", settings).path
    moved = root.rename(tmp_path / "moved")
    again = prepare([moved], store, settings)
    assert again.already
    assert {cell.path.parents[2] for cell in list_data([store]).cells} == {moved}


def flat(folder, names):
    for k, name in enumerate(names):
        write_cell(folder / name, draw_cell(k, 120, 30))
    return folder


def test_a_stores_own_labels_subjects_and_cells_count(tmp_path):
    images = flat(tmp_path / "flat", ["a.png", "b.png", "c.png"])
    (images / "c.png").write_text("no image")
    (tmp_path / "elsewhere").mkdir()
    table = tmp_path / "elsewhere" / "labels.csv"
    table.write_text("file,label,subject\na.png,all,7\nb.png,hem,8\nc.png,all,7\n")
    out, settings = tmp_path / "store", StoreSettings(size=32)
    store = prepare([images], out, settings, labels=table, skip_bad=True).path
    # In the folder alone they have no labels, and c is among them: the store's rows count.
    for data in ([store], [images, store], [store, store]):
        cells = {item.cell: item for item in list_data(data).cells}
        assert {name: (c.label, c.subject) for name, c in cells.items() if c.label} == {
            "a": ("all", "7"), "b": ("hem", "8"),
        }  # fmt: skip
        assert ("c" in cells) == (images in data)
        assert not list_data(data).problems
    assert find_cells(["b"], [store]).cells[0].label == "hem"
    with pytest.raises(BlastscopeError, match="No cell and no file is called c"):
        find_cells(["c"], [store])


def test_a_store_of_several_folders_knows_where_each_image_was(dataset, tmp_path):
    root = dataset()
    flat(tmp_path / "more" / "extra", ["x.png", "y.png"])
    folders = [root / "fold_0", tmp_path / "more" / "extra", root / "fold_2"]
    store = prepare(folders, tmp_path / "store", StoreSettings(size=32)).path
    found, wanted = list_data([store]).cells, list_cells(folders).cells
    assert [(c.cell, c.path, c.label, c.subject, c.fold) for c in found] == [
        (c.cell, c.path, c.label, c.subject, c.fold) for c in wanted
    ]


def test_two_files_of_one_name_are_told_as_a_folder_tells_them(dataset, tmp_path):
    store = prepare([dataset()], tmp_path / "store", StoreSettings(size=32)).path
    other = flat(tmp_path / "all", ["UID_2_1_1_all.bmp"])
    found = list_data([other, store])
    assert {c.cell: c.path for c in found.cells}["UID_2_1_1_all"].parent.parent.name == "fold_1"
    assert [(p.file, p.kind) for p in found.problems] == [
        (str(other / "UID_2_1_1_all.bmp"), "same-name")
    ]


def test_another_image_under_a_cells_name_is_refused(dataset, tmp_path):
    root, settings = dataset(), StoreSettings(size=32)
    store = prepare([root], tmp_path / "store", settings).path
    names = ["UID_1_1_1_all", "UID_2_1_1_all"]
    changed = list_data([root]).cells[[c.cell for c in list_data([root]).cells].index(names[1])]
    kept = changed.path.read_bytes()
    write_cell(changed.path, draw_cell(99, 120, 30))
    found = find_cells(names, [store])
    with pytest.raises(BlastscopeError) as error:
        prepare_cells(found, [settings], tmp_path / "a")
    assert str(error.value).startswith(f"{changed.path} is not the image that {store} was made of")
    assert len(prepare_cells(find_cells(names[:1], [store]), [settings], tmp_path / "b")) == 1
    # A folder makes no promise, and the same pixels in another file's bytes are the same image.
    assert len(prepare_cells(find_cells(names, [root]), [settings], tmp_path / "c")) == 2
    changed.path.write_bytes(kept + b"more")
    again = prepare_cells(find_cells(names, [store]), [settings], tmp_path / "a")
    assert [item.label for item in again.files] == ["all", "all"]


def test_material_is_what_a_store_would_hold(dataset, tmp_path):
    root = dataset()
    both = (StoreSettings(size=32), StoreSettings(size=40, scale="keep", clahe=True))
    names = ["UID_3_2_1_all", "UID_H1_2_1_hem", "UID_1_1_1_all"]
    dataset = prepare_cells(find_cells(names, [root]), both, tmp_path / "work")
    for settings in both:
        store = open_store(prepare([root], tmp_path / f"{settings.size}", settings).path)
        rows = [store.cells["cell"].to_list().index(name) for name in names]
        images = dataset.images(settings, [2, 0]).permute(0, 2, 3, 1).numpy()
        np.testing.assert_array_equal(images, store.pixels[[rows[2], rows[0]]])
    picture = dataset.cell_image(1, both[0])
    assert picture.side == max(store.cells.row(rows[1], named=True)[k] for k in ("box_w", "box_h"))


def test_a_file_that_is_no_cell_is_one_sentence(tmp_path):
    black = write_cell(tmp_path / "black.png", np.zeros((40, 40, 3), np.uint8))
    for _ in range(2):
        with pytest.raises(BlastscopeError, match="all black") as error:
            prepare_cells(find_cells([str(black)], []), [StoreSettings(size=32)], tmp_path / "w")
        assert "replace them" in str(error.value)
        assert "skip-bad" not in str(error.value)  # explain has no such option


def test_a_cell_may_be_called_as_its_file_is(dataset, tmp_path, monkeypatch):
    root = dataset()
    monkeypatch.chdir(tmp_path)
    for name in ("UID_1_1_1_all.bmp", "UID_1_1_1_all.PNG", "uid_1_1_1_ALL"):
        assert [item.cell for item in find_cells([name], [root]).cells] == ["UID_1_1_1_all"]
    for name in ("nowhere/UID_1_1_1_all.bmp", "UID_1_1_1_all.txt"):  # another file is meant
        with pytest.raises(BlastscopeError, match=f"called {re.escape(name)}"):
            find_cells([name], [root])


def test_near_names_are_told(dataset, tmp_path):
    root = dataset()
    with pytest.raises(BlastscopeError, match=r"UID_H1_1_11_hem \(near it are UID_H1_1_1_hem, "):
        find_cells(["UID_H1_1_11_hem"], [root])
    mine = flat(tmp_path / "mine", ["Left-One.png", "zzz.png"])
    with pytest.raises(BlastscopeError, match=r"called left-one \(near it are Left-One\): give "):
        find_cells(["left-one"], [mine])
    with pytest.raises(BlastscopeError, match=r"called nobody: give "):
        find_cells(["nobody"], [mine])


def test_a_folder_or_another_file_is_said_to_be_no_cell(dataset, tmp_path):
    root = dataset()
    with pytest.raises(BlastscopeError, match="fold_0 is a folder instead of a cell"):
        find_cells([str(root / "fold_0")], [root])
    (tmp_path / "cells.txt").touch()
    with pytest.raises(BlastscopeError, match=r"cells.txt is not an image \(.bmp, "):
        find_cells([str(tmp_path / "cells.txt")], [])


def test_a_file_that_its_folder_cannot_place_is_unlabelled(dataset, tmp_path):
    folder = flat(tmp_path / "flat", ["a.png", "new.png"])
    (folder / "labels.csv").write_text("file,label\na.png,hem\n")
    wrong = flat(tmp_path / "hem", ["UID_5_1_1_all.png"])

    def one(path):
        (item,) = find_cells([str(path)], []).cells
        return item.cell, item.label, item.subject

    assert one(folder / "a.png") == ("a", "hem", None)
    assert one(folder / "new.png") == ("new", None, None)
    assert one(wrong / "UID_5_1_1_all.png") == ("UID_5_1_1_all", None, "5")
    (folder / "labels.csv").write_text("file,label\na.png,neither\n")
    assert one(folder / "a.png") == ("a", None, None)
    assert not find_cells([str(folder / "a.png")], []).synthetic
    (folder / "SYNTHETIC.txt").touch()
    assert find_cells([str(folder / "a.png")], []).synthetic


def test_a_namesake_further_down_is_not_mistaken_for_a_file(tmp_path):
    flat(tmp_path / "hem", ["x.png"])
    shutil.copy(tmp_path / "hem" / "x.png", tmp_path / "x.png")
    assert find_cells([str(tmp_path / "x.png")], []).cells[0].label is None


def test_each_folder_of_files_is_listed_once(tmp_path, monkeypatch):
    files = [flat(tmp_path / place, ["a.png"]) / "a.png" for place in ("one", "two")]
    files += [flat(tmp_path / "one", [f"{k}.png"]) / f"{k}.png" for k in range(5)]
    asked = []
    monkeypatch.setattr(
        explain_material, "list_cells", lambda folders: asked.extend(folders) or list_cells(folders)
    )
    names = [str(path) for path in files if path.parent.name == "one"]
    assert len(find_cells(names, []).cells) == 6
    assert asked == [tmp_path / "one"]
    with pytest.raises(BlastscopeError, match="both called 'a'"):
        find_cells([str(path) for path in files], [])
    assert sorted(asked[1:]) == [tmp_path / "one", tmp_path / "two"]


def test_progress_counts_every_way_of_preparing_once(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("blastscope.data.preparation.CHUNK", 16)
    found, ticks = list_data([dataset()]), []
    both = (StoreSettings(size=32), StoreSettings(size=40), StoreSettings(size=32))
    for _ in range(2):  # what is there already takes no time to tell of
        prepare_cells(found, both, tmp_path / "work", lambda *tick: ticks.append(tick))
    assert ticks == [(done, 80) for done in (16, 32, 40, 56, 72, 80)]
