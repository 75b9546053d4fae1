import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from blastscope.data import folder_walk
from blastscope.data.check import check
from blastscope.data.layouts import list_cells, list_files
from blastscope.errors import BlastscopeError
from tests.conftest import draw_cell, write_cell


def test_counts_by_hand(dataset):
    report = check([dataset(subjects=4, per_subject=5)])
    assert report.usable
    assert report.per_class == {"all": 20, "hem": 20}
    assert report.subjects == 8
    assert report.subjects_per_class == {"all": 4, "hem": 4}
    assert report.per_fold["0"] == {"all": 10, "hem": 10}
    assert report.sizes == {"120×120": 40}
    assert report.suspicious == {}


def test_everything_suspicious_is_named(dataset):
    root = dataset()
    folder = root / "fold_0" / "all"
    at_edge = np.zeros((120, 120, 3), np.uint8)
    at_edge[0:40, 30:70] = 100
    write_cell(folder / "UID_50_1_1_all.bmp", at_edge)
    two = np.zeros((120, 120, 3), np.uint8)
    two[20:60, 20:60] = two[80:90, 80:90] = 100
    write_cell(folder / "UID_50_2_1_all.bmp", two)
    shutil.copy(folder / "UID_1_1_1_all.bmp", folder / "UID_1_9_9_all.bmp")
    write_cell(root / "fold_0" / "hem" / "UID_h9_1_1_hem.bmp", draw_cell(99, 120, 20))
    report = check([root])
    assert report.usable
    assert report.suspicious["frame"] == ["fold_0/all/UID_50_1_1_all.bmp"]
    assert report.suspicious["components"] == ["fold_0/all/UID_50_2_1_all.bmp"]
    assert report.suspicious["subject-case"] == ["fold_0/hem/UID_h9_1_1_hem.bmp"]
    assert report.identical == [["fold_0/all/UID_1_1_1_all.bmp", "fold_0/all/UID_1_9_9_all.bmp"]]
    assert "H9" in report.per_subject


def test_the_same_pixels_with_two_labels_are_not_usable(dataset):
    root = dataset()
    original, copy = "fold_0/all/UID_1_1_1_all.bmp", "fold_0/hem/UID_H9_9_9_hem.bmp"
    shutil.copy(root / original, root / copy)
    report = check([root])
    assert not report.usable
    assert [(one.file, one.kind) for one in report.unusable] == [
        (original, "same-pixels"),
        (copy, "same-pixels"),
    ]
    assert copy in report.unusable[0].message
    assert report.identical == [[original, copy]]
    assert report.per_class == {"all": 19, "hem": 20}


def test_all_unusable_files_are_named_at_once(dataset):
    root = dataset()
    folder = root / "fold_0" / "all"
    (folder / "UID_60_1_1_all.bmp").touch()
    (folder / "UID_60_2_1_all.bmp").write_text("no image")
    write_cell(folder / "UID_60_3_1_all.bmp", np.zeros((50, 50, 3), np.uint8))
    write_cell(folder / "UID_60_4_1_hem.bmp", draw_cell(3, 90, 20))
    shutil.copy(folder / "UID_1_1_1_all.bmp", root / "fold_1" / "all" / "UID_1_1_1_all.bmp")
    report = check([root])
    kinds = {problem.kind for problem in report.unusable}
    assert kinds == {"unreadable", "black", "label", "same-name"}
    assert not report.usable
    for name in ("60_1_1", "60_2_1", "60_3_1", "60_4_1", "fold_1/all/UID_1_1_1_all.bmp"):
        assert name in report.reasons[0]


def test_one_class_is_not_usable(tmp_path):
    write_cell(tmp_path / "all" / "UID_1_1_1_all.bmp", draw_cell(0, 90, 20))
    assert "of the class all" in check([tmp_path]).reasons[0]


def test_an_empty_folder(tmp_path):
    with pytest.raises(BlastscopeError, match="holds no image"):
        check([tmp_path])


def test_a_flat_unlabelled_folder_is_usable_and_says_so(tmp_path):
    for k in range(3):
        write_cell(tmp_path / f"{k}.png", draw_cell(k, 90, 20))
    report = check([tmp_path])
    assert report.usable
    assert report.unlabelled == report.without_subject == 3
    assert any("nothing can be trained" in note for note in report.notes)


def test_the_preliminary_sets_labels(tmp_path):
    folder = tmp_path / "C-NMC_test_prelim_phase_data"
    for k in (1, 2):
        write_cell(folder / f"{k}.bmp", draw_cell(k, 90, 20))
    (tmp_path / "C-NMC_test_prelim_phase_data_labels.csv").write_text(
        "Patient_ID,new_names,labels\nUID_57_29_1_all.bmp,1.bmp,1\nUID_H41_1_1_hem.bmp,2.bmp,0\n"
    )
    cells = list_cells([tmp_path]).cells
    assert [(c.cell, c.label, c.subject, c.fold) for c in cells] == [
        ("1", "all", "57", "preliminary"),
        ("2", "hem", "H41", "preliminary"),
    ]


@pytest.mark.parametrize("label", ["1", "all", "ALL"])
def test_two_columns_given_by_hand(tmp_path, label):
    write_cell(tmp_path / "cells" / "a.png", draw_cell(0, 90, 20))
    table = tmp_path / "mine.csv"
    table.write_text(f"file,label\na.png,{label}\n")
    assert list_cells([tmp_path / "cells"], table).cells[0].label == "all"


def test_a_table_with_missing_rows_names_every_file(tmp_path):
    for k in range(3):
        write_cell(tmp_path / f"{k}.png", draw_cell(k, 90, 20))
    (tmp_path / "labels.csv").write_text("file,label\n1.png,1\n7.png,0\n")
    report = check([tmp_path])
    assert not report.usable
    assert "0.png has no row in labels.csv" in report.reasons[0]
    assert "2.png has no row in labels.csv" in report.reasons[0]
    assert any("lists 1 files that are not in" in note for note in report.notes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,label\na.png,blast\n", "line 2: 'blast' is not a label"),
        ("file,label\na.png,1\na.png,0\n", "line 3, says something else of a.png"),
        ("cell,grade\na.png,1\n", "is not a labels table"),
        ("file,label\na.png\n", "line 2 has 1 fields"),
    ],
)
def test_a_labels_table_that_is_wrong(tmp_path, text, words):
    write_cell(tmp_path / "a.png", draw_cell(0, 90, 20))
    table = tmp_path / "labels.csv"
    table.write_text(text)
    with pytest.raises(BlastscopeError, match=words):
        list_cells([tmp_path], table)


def test_the_order_of_the_disk_does_not_matter(dataset, monkeypatch):
    root = dataset()
    before = list_cells([root]).cells
    scandir = os.scandir

    @contextmanager
    def backwards(path):
        with scandir(path) as entries:
            yield reversed(list(entries))

    monkeypatch.setattr(folder_walk.os, "scandir", backwards)
    assert list_cells([root]).cells == before


def test_fold_1_is_what_it_is_known_to_be(shared):
    report = check([shared / "data" / "C-NMC_training_data"])
    assert report.usable
    assert report.per_class == {"all": 2418, "hem": 1163}
    assert report.subjects_per_class == {"all": 11, "hem": 3}
    assert report.sizes == {"450×450": 3581}
    pairs = {
        tuple(f.split("UID_H10_")[1].removesuffix("_hem.webp") for f in group)
        for group in report.identical
    }
    assert pairs == {
        ("135_1", "168_1"),
        ("135_2", "168_2"),
        ("130_2", "163_2"),
        ("143_1", "176_1"),
        ("152_2", "185_2"),
    }


def test_what_was_converted_and_what_is_too_deep_is_said(dataset):
    root = dataset()
    folder = root / "fold_0" / "all"
    cell = draw_cell(7, 90, 20)
    Image.fromarray(draw_cell(8, 90, 20)).convert("CMYK").save(folder / "UID_61_1_1_all.tif")
    Image.fromarray(cell).convert("L").save(folder / "UID_61_2_1_all.png")
    Image.fromarray(np.dstack([cell, 255 * (cell.max(2) > 0)]).astype(np.uint8)).save(
        folder / "UID_61_3_1_all.png"
    )
    report = check([root])
    assert report.usable
    assert report.suspicious == {
        "cmyk": ["fold_0/all/UID_61_1_1_all.tif"],
        "grey": ["fold_0/all/UID_61_2_1_all.png"],
        "alpha": ["fold_0/all/UID_61_3_1_all.png"],
    }
    cv2.imwrite(str(folder / "UID_61_4_1_all.tif"), cell.astype(np.uint16) * 257)
    assert "UID_61_4_1_all.tif has more than 8 bits a channel" in check([root]).reasons[0]


def test_the_class_may_be_a_folder_further_up(tmp_path):
    write_cell(tmp_path / "all" / "scan 1" / "a.png", draw_cell(0, 90, 20))
    assert list_cells([tmp_path]).cells[0].label == "all"


def test_a_table_beside_the_folder_that_is_given(tmp_path):
    write_cell(tmp_path / "cells" / "1.png", draw_cell(0, 90, 20))
    (tmp_path / "labels.csv").write_text("file,label\n1.bmp,0\n")
    (tmp_path / "other.csv").write_bytes(b"\xff\xfe of no use")
    assert list_cells([tmp_path / "cells"]).cells[0].label == "hem"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names themselves")
def test_a_name_that_no_table_could_hold(dataset):
    root = dataset()
    name = os.fsdecode(b"UID_\xff.bmp")
    (root / "fold_0" / "all" / "UID_1_1_1_all.bmp").rename(root / "fold_0" / "all" / name)
    assert "has a name that cannot be printed" in check([root]).reasons[0]


def test_tables_of_something_else_in_the_folder_above_do_not_count(tmp_path):
    for k in range(2):
        write_cell(tmp_path / "cells" / f"{k}.png", draw_cell(k, 90, 20))
    (tmp_path / "some.csv").write_text("file,label\n1.png,1\n")
    (tmp_path / "wrong.csv").write_text("file,label\n0.png,normal\n1.png,normal\n")
    assert [cell.label for cell in list_cells([tmp_path / "cells"]).cells] == [None, None]
    (tmp_path / "labels.csv").write_text("file,label,subject\n0.png,1,p7\n1.png,0,p8\n")
    found = list_cells([tmp_path / "cells"])
    assert [(cell.label, cell.subject) for cell in found.cells] == [("all", "P7"), ("hem", "P8")]
    assert any("labels.csv" in note for note in found.notes)


def test_a_given_table_that_is_not_used_is_said(dataset, tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text("file,label\nx.png,1\n")
    with pytest.raises(BlastscopeError, match=r"mine\.csv was not used"):
        list_cells([dataset()], table)


def test_a_folder_is_the_same_from_inside(dataset, monkeypatch):
    root = dataset()
    (root / "SYNTHETIC.txt").touch()
    monkeypatch.chdir(root / "fold_0" / "all")
    found = list_cells([Path()])
    assert found.synthetic
    assert {cell.label for cell in found.cells} == {"all"}
    monkeypatch.chdir(root / "fold_0")
    assert {cell.fold for cell in list_cells([Path()]).cells} == {"0"}


def test_an_odd_but_legal_name_is_read(tmp_path):
    write_cell(tmp_path / "all" / "scan\u202f1 \u00a0x.png", draw_cell(0, 90, 20))
    assert len(list_cells([tmp_path]).cells) == 1


def test_namesakes_are_listed_and_then_refused(dataset):
    root = dataset()
    shutil.copy(root / "fold_0/all/UID_1_1_1_all.bmp", root / "fold_1/all/UID_1_1_1_all.bmp")
    assert (len(list_files([root]).cells), list_files([root]).problems) == (41, [])
    found = list_cells([root])
    assert (len(found.cells), [problem.kind for problem in found.problems]) == (40, ["same-name"])


def test_who_wants_no_labels_is_not_stopped_by_a_table(tmp_path):
    for k in range(2):
        write_cell(tmp_path / f"{k}.png", draw_cell(k, 90, 20))
    table = tmp_path / "labels.csv"
    table.write_text("file,label\n0.png,1\n")
    assert [problem.file for problem in list_files([tmp_path]).problems] == ["1.png"]
    found = list_files([tmp_path], strict=False)
    assert ([cell.label for cell in found.cells], found.problems) == (["all", None], [])
    table.write_text("file,label\n0.png,blast\n")
    with pytest.raises(BlastscopeError, match="is not a label"):
        list_files([tmp_path])
    found = list_files([tmp_path], strict=False)
    assert [cell.label for cell in found.cells] == [None, None]
    assert "is not a label" in found.notes[0]


def test_a_table_of_predictions_gives_no_labels_unless_it_is_given(tmp_path):
    write_cell(tmp_path / "cells" / "0.png", draw_cell(0, 90, 20))
    for table in (tmp_path / "cells" / "p.csv", tmp_path / "p.csv"):
        table.write_text("cell,file,label,p_all\n0,0.png,all,0.7\n")
    assert list_cells([tmp_path / "cells"]).cells[0].label is None
    assert list_cells([tmp_path / "cells"], tmp_path / "p.csv").cells[0].label == "all"


@pytest.mark.parametrize(("pictures", "named"), [(["."], 0), ([".", "a", "b/c"], 2)])
def test_the_folder_itself_is_not_named_among_its_folders(pictures, named):
    (note,) = folder_walk.FolderContent(pictures=pictures).notes("cells")
    assert not note.endswith(".")
    names = note.partition(": ")[2]
    assert len(names.split(", ") if names else []) == named
