"""What a user gives becomes pictures: order, names, subjects, labels, and what goes wrong."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from blastscope.data.layouts import list_cells
from blastscope.errors import BlastscopeError
from blastscope.prediction.images import SubjectPattern
from blastscope.prediction.inputs import list_inputs
from tests.conftest import draw_cell, write_cell
from tests.prediction.zips import write_zip

CELL = draw_cell(0, 90, 20)


def without_subject(found) -> int:
    """How many usable images have no subject."""
    return sum(image.subject is None and image.problem is None for image in found)


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """Two patients with the same file names, a zip and a loose file, in the working folder."""
    monkeypatch.chdir(tmp_path)
    for patient in ("patient1", "patient2"):
        for k in (10, 2):
            write_cell(tmp_path / "lab" / patient / f"{k:03}.png", CELL)
    write_cell(tmp_path / "one.bmp", CELL)
    write_zip(tmp_path / "more.zip", {"inner/x.png": CELL})
    return tmp_path


def test_a_subject_found_in_a_path_has_its_one_spelling():
    """macOS writes letters with accents apart; a table's subject would be another one."""
    find = SubjectPattern("p_(.*?)/").find
    assert [find(f"p_{who}/1.png") for who in ("Jose\u0301", "Jos\u00e9", "7.0", " ")] == [
        "JOS\u00c9", "JOS\u00c9", "7", None,
    ]  # fmt: skip


def test_a_data_set_is_listed_as_check_lists_it(dataset):
    root = dataset()
    pictures = list_inputs([root]).images
    assert [(p.file, p.cell, p.label, p.subject, p.flags) for p in pictures] == [
        (c.file, c.cell, c.label, c.subject, c.flags) for c in list_cells([root]).cells
    ]
    assert len(pictures) == 40


def test_inputs_stay_in_the_order_given_and_are_called_as_the_user_knows_them(lab):
    found = list_inputs(["one.bmp", Path("more.zip"), "lab"])
    assert [p.file for p in found] == [
        "one.bmp",
        "more.zip/inner/x.png",
        "lab/patient1/002.png",
        "lab/patient2/002.png",
        "lab/patient1/010.png",
        "lab/patient2/010.png",
    ]
    assert [p.cell for p in found][:3] == ["one", "x", "lab/patient1/002"]
    assert (len(found), without_subject(found), found.synthetic) == (6, 6, False)


def test_a_folder_by_itself_is_not_in_its_files(lab, monkeypatch):
    wanted = [f"patient{k}/{name}" for name in ("002", "010") for k in (1, 2)]
    assert [p.cell for p in list_inputs(["lab"])] == wanted
    monkeypatch.chdir("lab/patient1")
    assert [p.file for p in list_inputs(["."])] == ["002.png", "010.png"]
    assert [p.file for p in list_inputs([".", "../../one.bmp"])] == [
        "patient1/002.png",
        "patient1/010.png",
        "../../one.bmp",
    ]


def test_folders_of_one_name_are_told_apart_by_their_paths(lab):
    write_cell(lab / "a" / "cells" / "1.png", CELL)
    write_cell(lab / "b" / "cells" / "1.png", CELL)
    found = list_inputs(["a/cells", "b/cells", "one.bmp"])
    assert [p.file for p in found] == ["a/cells/1.png", "b/cells/1.png", "one.bmp"]
    assert [p.cell for p in found] == ["a/cells/1", "b/cells/1", "one"]


def test_what_is_given_twice_counts_once(lab):
    twice = ["one.bmp", "lab", "lab/*/002.png", "./one.bmp", lab / "lab", "more.zip", "more.zip"]
    assert len(list_inputs(twice)) == 6
    (lab / "link.bmp").symlink_to("one.bmp")
    (lab / "same").symlink_to("lab")
    assert [p.file for p in list_inputs(["one.bmp", "link.bmp"])] == ["one.bmp", "link.bmp"]
    assert len(list_inputs(["lab", "same"])) == 4


def test_patterns_are_written_out_sorted(lab):
    assert [p.file for p in list_inputs(["lab/*/0*.png"])] == [
        "lab/patient1/002.png",
        "lab/patient1/010.png",
        "lab/patient2/002.png",
        "lab/patient2/010.png",
    ]
    (lab / "lab" / "notes.txt").write_text("no image")
    (lab / "lab" / "__MACOSX").mkdir()
    write_cell(lab / "lab" / ".hidden.png", CELL)
    write_cell(lab / "lab" / "__MACOSX" / "002.png", CELL)
    assert len(list_inputs(["lab/**/*"])) == len(list_inputs(["lab/**"])) == 4
    assert [p.file for p in list_inputs([f"{lab}/*.bmp"])] == [f"{lab.as_posix()}/one.bmp"]
    (lab / "scan.dat").write_bytes((lab / "one.bmp").read_bytes())
    assert [p.file for p in list_inputs(["*.dat"])] == ["scan.dat"]


def test_a_name_with_a_patterns_signs_is_a_name_where_it_is_there(lab):
    write_cell(lab / "cell[1].png", CELL)
    assert [p.file for p in list_inputs(["cell[1].png"])] == ["cell[1].png"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["gone"], "gone does not exist: give images"),
        (["gone*.bmp"], r"gone\*\.bmp matches nothing"),
        (["one.bmp", "empty"], "empty holds no image"),
        (["none.zip"], r"none\.zip holds no image"),
        (["text.zip"], r"text\.zip is damaged or not a zip"),
        ([""], "An empty name was given"),
        ([], "nothing to predict on"),
        (["x" * 5000], "does not exist"),
    ],
)
def test_what_is_not_there_or_holds_nothing_is_one_sentence(lab, given, words):
    (lab / "empty").mkdir()
    (lab / "text.zip").write_text("no zip")
    write_zip(lab / "none.zip", {"readme.txt": b"nothing"})
    with pytest.raises(BlastscopeError, match=words) as error:
        list_inputs(given)
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


def stdin(monkeypatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))


def test_names_come_from_standard_input(lab, monkeypatch):
    write_cell(lab / "ä [1] .png", CELL)
    stdin(monkeypatch, b"\xef\xbb\xbflab/patient1\r\n\n" + "ä [1] .png\nmore.zip".encode())
    assert [p.file for p in list_inputs(["one.bmp", "-"])] == [
        "one.bmp",
        "patient1/002.png",
        "patient1/010.png",
        "ä [1] .png",
        "more.zip/inner/x.png",
    ]
    stdin(monkeypatch, b"one.bmp\nlab/*.png\n")  # names, not patterns
    with pytest.raises(BlastscopeError, match=r"lab/\*\.png does not exist"):
        list_inputs(["-"])
    stdin(monkeypatch, b"\n")
    with pytest.raises(BlastscopeError, match="Standard input names no file"):
        list_inputs(["-"])


def test_files_know_what_their_folders_say_as_within_the_folder(dataset, monkeypatch):
    root = dataset()
    (root / "SYNTHETIC.txt").touch()
    as_folder = list_inputs([root])
    as_files = list_inputs([str(path) for path in sorted(root.rglob("*.bmp"))])
    as_pattern = list_inputs([f"{root}/**/*.bmp"])
    told = {(p.cell, p.subject, p.label) for p in as_folder}
    assert {(p.cell, p.subject, p.label) for p in as_files} == told
    assert [p.file for p in as_files] == [p.file for p in as_pattern]
    assert all(found.synthetic for found in (as_folder, as_files, as_pattern))


def test_labels_tables_are_read_for_folders_files_and_patterns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for k in range(3):
        write_cell(tmp_path / "cells" / f"{k}.png", CELL)
    (tmp_path / "cells" / "labels.csv").write_text("file,label,subject\n0.png,1,p7\n1.png,0,p8\n")
    wanted = [("0", "all", "P7"), ("1", "hem", "P8"), ("2", None, None)]
    for given in ("cells", "cells/*.png", "*/?.png"):
        found = list_inputs([given])
        assert [(p.cell, p.label, p.subject) for p in found] == wanted
        assert without_subject(found) == 1
        assert not any(p.problem for p in found)
    (tmp_path / "cells" / "labels.csv").write_text("file,label\n0.png,blast\n")
    for given in ("cells", "cells/*.png"):
        found = list_inputs([given])
        assert [p.label for p in found] == [None, None, None]
        assert len(found.notes) == 1
        assert "'blast' is not a label" in found.notes[0]


def test_a_table_of_predictions_beside_the_images_gives_no_labels(tmp_path):
    write_cell(tmp_path / "0.png", CELL)
    table = tmp_path / "predictions.csv"
    table.write_text("cell,file,subject,label,part,model,p_all\n0,0.png,,,test,m,0.7\n")
    found = list_inputs([tmp_path])
    assert found.images[0].label is None
    assert ["is a table of predictions" in note for note in found.notes] == [True]
    assert len(list_cells([tmp_path]).cells) == 1


def test_what_is_wrong_with_one_file_is_said_in_its_place(tmp_path):
    write_cell(tmp_path / "all" / "UID_1_1_1_all.bmp", CELL)
    write_cell(tmp_path / "all" / "UID_2_1_1_hem.bmp", CELL)
    write_cell(tmp_path / "all" / "UID_3_1_1_all.bmp", CELL)
    (tmp_path / "all" / "a\nb.bmp").touch()
    for given in ([tmp_path], [tmp_path / "all", tmp_path / "all" / "UID_1_1_1_all.bmp"]):
        found = list_inputs(given)
        problems = [p.problem and (p.problem.kind, p.problem.message) for p in found]
        assert problems == [
            None,
            ("label", "is called hem but stands in a folder called all"),
            None,
            ("name", "has a name that cannot be printed: rename it"),
        ]
        assert [p.problem.file for p in found if p.problem] == [p.file for p in found if p.problem]
        assert found.images[3].file.endswith("a\\nb.bmp")
        assert without_subject(found) == 0  # of those that can be used


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names themselves")
def test_a_name_that_is_no_text_is_said_in_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"x\xff.png")
    write_cell(tmp_path / "x.png", CELL).rename(tmp_path / name)
    stdin(monkeypatch, b"x\xff.png\n")
    for found in (list_inputs([tmp_path]), list_inputs([name]), list_inputs(["-"])):
        (picture,) = found
        assert picture.problem.kind == "name"
        assert picture.file == picture.problem.file == "x\\udcff.png"
    folder = tmp_path / os.fsdecode(b"\xff")
    write_cell(tmp_path / "good.png", CELL)
    folder.mkdir()
    (tmp_path / "good.png").rename(folder / "good.png")
    found = list_inputs([folder, folder / "good.png", "x\udcff.png"])
    assert [p.file for p in found] == ["\\udcff/good.png", "x\\udcff.png"]


@pytest.mark.parametrize(
    ("pattern", "subjects"),
    [
        (r"patient\d", ["PATIENT1", "PATIENT1", "PATIENT2", "PATIENT2"]),
        (r"patient(\d)/(\d+)", ["1", "1", "2", "2"]),
        (r"(lab)/(?P<subject>p\w+)/", ["PATIENT1", "PATIENT1", "PATIENT2", "PATIENT2"]),
        (r"patient(?P<subject>2)?", [None, None, "2", "2"]),
        (r"x*", [None] * 4),
        (r"no such", [None] * 4),
    ],
)
def test_subjects_by_a_regular_expression(lab, pattern, subjects):
    found = list_inputs(["lab/*/*.png"], pattern)
    assert [p.subject for p in found] == subjects
    assert without_subject(found) == subjects.count(None)


def test_the_expression_wins_over_the_name_and_the_name_where_it_finds_nothing(tmp_path):
    for name in ("UID_5_1_1_all", "UID_H6_1_1_hem"):
        write_cell(tmp_path / f"{name}.png", CELL)
    assert [p.subject for p in list_inputs([tmp_path])] == ["5", "H6"]
    assert [p.subject for p in list_inputs([tmp_path], r"h\d|H(\d)")] == ["5", "6"]


@pytest.mark.parametrize("pattern", ["(", "*", "(?P<1>x)", "x" * 201, r"\d{99999999999}"])
def test_an_expression_that_is_none_is_one_sentence(lab, pattern):
    with pytest.raises(BlastscopeError, match="regular expression"):
        list_inputs(["lab"], pattern)


def test_real_cells_are_listed_with_their_subjects(shared):
    found = list_inputs([shared / "data" / "C-NMC_training_data"])
    assert (len(found), without_subject(found), found.synthetic) == (3581, 0, False)
    assert len({p.cell for p in found}) == 3581


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig"])
def test_a_list_of_names_that_powershell_wrote(tmp_path, monkeypatch, encoding):
    path = write_cell(tmp_path / "é a.png", CELL)
    stdin(monkeypatch, f"{path}\r\n".encode(encoding))
    assert [image.path for image in list_inputs(["-"])] == [path]
