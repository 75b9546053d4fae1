"""Tables of labels and subjects beside images: which are used, and for which images."""

import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from blastscope.data import label_search, labels
from blastscope.data.check import check
from blastscope.data.layouts import list_cells, list_files, read_parts
from blastscope.errors import BlastscopeError
from blastscope.prediction.inputs import list_inputs
from tests.conftest import draw_cell, write_cell

CELL = draw_cell(0, 90, 20)


def folder(path, *names):
    for k, name in enumerate(names):
        cell = CELL.copy()
        cell[45, 45] = k, 90, 200  # no two cells have the same pixels
        write_cell(path / name, cell)
    return path


def labels_of(path, **how):
    return {cell.file: (cell.label, cell.subject) for cell in list_cells([path], **how).cells}


def test_folders_in_file_names_count(tmp_path):
    root = folder(tmp_path / "set", "day1/a.png", "day2/a.png")
    (root / "labels.csv").write_text("file,label\nday1/a.png,all\nday2\\a.png,hem\n")
    assert labels_of(root) == {"day1/a.png": ("all", None), "day2/a.png": ("hem", None)}


def test_a_bare_name_of_several_images_is_refused_with_the_remedy(tmp_path):
    root = folder(tmp_path / "set", "day1/a.png", "day2/a.png")
    (root / "labels.csv").write_text("file,label\na.png,all\n")
    with pytest.raises(BlastscopeError, match=r"line 2: a\.png is the name of 2 images.*folders"):
        list_cells([root])
    assert set(labels_of_files(root)) == {None}


def labels_of_files(root):
    return [cell.label for cell in list_files([root], strict=False).cells]


def test_a_table_whose_paths_lead_elsewhere_is_named_and_not_used(tmp_path):
    root = folder(tmp_path / "set", "a.png")
    (root / "labels.csv").write_text("file,label\nother/a.png,all\n")
    found = list_cells([root])
    assert found.cells[0].label is None
    assert ["was not used: it names none" in note for note in found.notes] == [True]


def test_a_table_beside_two_folders_of_the_same_names_is_not_guessed(tmp_path):
    ours, theirs = folder(tmp_path / "ours", "1.png"), folder(tmp_path / "theirs", "1.png")
    (tmp_path / "labels.csv").write_text("file,label\n1.png,all\n")
    found = list_cells([ours])
    assert found.cells[0].label is None
    assert any("theirs/1.png is called like" in note for note in found.notes)
    assert labels_of(ours, labels=tmp_path / "labels.csv") == {"1.png": ("all", None)}
    (tmp_path / "labels.csv").write_text("file,label\nours/1.png,all\n")
    assert labels_of(ours) == {"1.png": ("all", None)}
    assert labels_of(theirs) == {"1.png": (None, None)}
    shutil.rmtree(theirs)
    (tmp_path / "labels.csv").write_text("file,label\n1.png,all\n")
    assert labels_of(ours) == {"1.png": ("all", None)}


def test_class_folders_take_subjects_from_a_table(tmp_path):
    root = folder(tmp_path / "set", "all/1.png", "hem/2.png")
    (root / "patients.csv").write_text("Image Name,Patient\n1.png,p1\n2.png,p2\n")
    assert labels_of(root) == {"all/1.png": ("all", "P1"), "hem/2.png": ("hem", "P2")}
    assert labels_of(root, labels=root / "patients.csv") == labels_of(root)


@pytest.mark.parametrize(("believe", "label"), [("table", "hem"), ("folder", "all")])
def test_what_contradicts_is_a_problem_until_the_user_decides(tmp_path, believe, label):
    root = folder(tmp_path / "set", "all/1.png", "all/2.png")
    (root / "labels.csv").write_text("file,label\n1.png,hem\n2.png,all\n")
    found = list_cells([root])
    assert [(problem.file, problem.kind) for problem in found.problems] == [("all/1.png", "label")]
    assert list_cells([root], believe=believe).cells[0].label == label


def test_a_name_and_a_table_that_say_other_subjects(tmp_path):
    root = folder(tmp_path / "set", "UID_3_1_1_all.png", "UID_h4_1_1_hem.png")
    (root / "t.csv").write_text("file,subject\nUID_3_1_1_all.png,5\nUID_h4_1_1_hem.png,H4\n")
    found = list_cells([root])
    assert [(problem.file, problem.kind) for problem in found.problems] == [
        ("UID_3_1_1_all.png", "subject")
    ]
    assert [cell.subject for cell in list_cells([root], believe="table").cells] == ["5", "H4"]


def test_one_empty_label_leaves_one_cell_unlabelled(tmp_path):
    root = folder(tmp_path / "set", "1.png", "2.png")
    (root / "labels.csv").write_text("file,label\n1.png,all\n2.png,\n")
    assert labels_of(root) == {"1.png": ("all", None), "2.png": (None, None)}


def test_two_columns_of_labels_may_not_differ(tmp_path):
    root = folder(tmp_path / "set", "1.png")
    (root / "labels.csv").write_text("file,label,Label\n1.png,all,hem\n")
    with pytest.raises(BlastscopeError, match="two columns of labels that differ"):
        list_cells([root])


def test_two_columns_of_labels_may_say_the_same_in_two_ways(tmp_path):
    root = folder(tmp_path / "set", "1.png", "2.png", "3.png")
    table = "file,label,class\n1.png,all,1\n2.png,hem,0\n3.png,,\n"
    (root / "labels.csv").write_text(table)
    assert [row[0] for row in labels_of(root).values()] == ["all", "hem", None]


def test_two_columns_of_file_names(tmp_path):
    root = folder(tmp_path / "set", "1.png", "2.png")
    (root / "labels.csv").write_text("file,File,label\n1.png,2.png,all\n2.png,1.png,hem\n")
    with pytest.raises(BlastscopeError, match="two columns of file names that differ"):
        list_cells([root])
    (root / "labels.csv").write_text("image,file,label\n2.png,1.png,all\n1.png,2.png,hem\n")
    assert labels_of(root)["1.png"][0] == "all"
    assert any("'file' and not from image" in note for note in list_cells([root]).notes)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("names", "said"),
    [(("Benign", "leukemia"), True), (("0", "1"), True), (("1", "2"), False), (("a", "b"), False)],
)
def test_folders_that_may_be_classes_are_told(tmp_path, names, said, zipped):
    root = folder(tmp_path / "set", *(f"{name}/{name}.png" for name in names))
    if zipped:
        shutil.make_archive(str(tmp_path / "set"), "zip", root)
    listing = list_inputs([tmp_path / "set.zip"]) if zipped else list_cells([root])
    told = [note for note in listing.notes if "may be classes" in note]
    assert len(told) == said
    assert all(name in note for note in told for name in names)


def test_white_space_around_a_class_folder_does_not_count(tmp_path):
    root = folder(tmp_path / "set", "all /1.png", "HEM /2.png")
    assert [row[0] for row in labels_of(root).values()] == ["all", "hem"]


def test_subjects_that_look_alike_are_told_and_not_joined(tmp_path):
    root = folder(tmp_path / "set", "1.png", "2.png")
    (root / "labels.csv").write_text("file,label,subject\n1.png,all,007\n2.png,hem,7\n")
    assert [row[1] for row in labels_of(root).values()] == ["007", "7"]
    assert any("007 and 7" in note for note in list_cells([root]).notes)


def test_a_missing_row_is_not_a_contradiction(tmp_path):
    root = folder(tmp_path / "set", "1.png", "2.png")
    (root / "labels.csv").write_text("file,label\n1.png,all\n")
    assert not any("--believe" in reason for reason in check([root]).reasons)


@pytest.mark.parametrize(
    ("rows", "refused"),
    [
        ("1.png,a,P1\n2.png,b,P1\n", True),  # images of one subject, numbered
        ("1.png,a,P1\n2.png,a,\n", True),
        ("1.png,a,P1\n2.png,b,P2\n", False),  # one name for one
        ("1.png,4,UID_4_1_1_all.bmp\n2.png,4.0,UID_4_2_1_all.bmp\n", False),
    ],
)
def test_two_columns_of_subjects_may_not_differ(tmp_path, rows, refused):
    table = tmp_path / "labels.csv"
    table.write_text(f"file,subject,Patient_ID\n{rows}")
    if refused:
        with pytest.raises(BlastscopeError, match=r"subjects that differ, subject and Patient_ID"):
            labels.read_label_table(table)
    else:
        assert labels.read_label_table(table).named[0].row.subject in ("A", "4")


def test_two_tables_may_not_differ(tmp_path):
    root = folder(tmp_path / "set", "1.png")
    (root / "a.csv").write_text("file,label\n1.png,all\n")
    (root / "b.csv").write_text("file,subject\n1.png,p\n")
    assert labels_of(root) == {"1.png": ("all", "P")}
    (root / "b.csv").write_text("file,label\n1.png,hem\n")
    with pytest.raises(BlastscopeError, match=r"different things of the label of 1\.png"):
        list_cells([root])


@pytest.mark.parametrize("name", ["s.v1", "0007", "7", "\u00e41.png", "a\u03081.PNG"])
def test_names_are_found_whatever_their_suffix_form_and_zeros(tmp_path, name):
    image = {"s.v1": "s.v1.bmp", "0007": "7.bmp", "7": "0007.bmp"}.get(name, "a\u03081.png")
    root = folder(tmp_path / "set", image)
    (root / "labels.csv").write_text(f"file,label\n{name},all\n")
    assert [label for label, _ in labels_of(root).values()] == ["all"]


def test_only_leading_zeros_do_not_count(tmp_path):
    table = tmp_path / "labels.csv"
    root = folder(tmp_path / "set", "0007.png", "0010.png", "0100.png")
    table.write_text("file,label\n7,all\n10,hem\n100,all\n")
    assert [label for label, _ in labels_of(root, labels=table).values()] == ["all", "hem", "all"]
    table.write_text("file,label\n7,all\n1,hem\n")  # a hundred is not one
    assert [cell.file for cell in list_cells([root], table).cells] == ["0007.png"]


def test_a_spreadsheet_is_named(tmp_path):
    root = folder(tmp_path / "set", "1.png")
    (root / "labels.xlsx").write_bytes(b"PK")
    assert any(
        "labels.xlsx was not used: it is a spreadsheet" in n for n in list_cells([root]).notes
    )


def test_a_table_in_a_zip_is_read(tmp_path):
    root = folder(tmp_path / "set", "d/1.png")
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as file:
        file.write(root / "d" / "1.png", "d/1.png")
        file.writestr("d/labels.csv", "file;label;subject\n1.png;all;7.0\n")
    image = list_inputs([tmp_path / "z.zip"]).images[0]
    assert (image.label, image.subject) == ("all", "7")


@pytest.mark.parametrize(
    ("parts", "label"),
    [
        (("ALL", "scan 1"), "all"),
        (("ALL", "all_benign"), None),
        (("set", "ALL", "normal cells"), None),
        (("hem", "day 1"), "hem"),
        (("hem", "blasts"), None),
        (("ALL", "benign", "hem"), "hem"),
        (("Normal",), None),
    ],
)
def test_a_class_folder_counts_unless_a_folder_below_names_the_other_class(parts, label):
    assert read_parts(parts)[0] == label


def test_a_class_from_a_folder_further_up_is_said(tmp_path):
    root = folder(tmp_path / "set", "all/scan 1/a.png")
    assert any("from a folder further up" in note for note in list_cells([root]).notes)


def test_the_same_names_in_each_class_get_longer_names(tmp_path):
    root = folder(tmp_path / "set", "all/1.png", "hem/1.png", "hem/2.png")
    found = list_cells([root])
    assert found.problems == []
    assert {cell.cell: cell.label for cell in found.cells} == {
        "all/1": "all",
        "hem/1": "hem",
        "2": "hem",
    }


def test_linked_folders_are_followed_once(tmp_path):
    real = folder(tmp_path / "elsewhere", "all/1.png")
    root = folder(tmp_path / "set", "hem/2.png")
    (root / "fold_0").symlink_to(real)
    (root / "again").symlink_to(root / "hem")
    (root / "hem" / "circle").symlink_to(root)
    found = list_cells([root])
    assert [cell.file for cell in found.cells] == ["fold_0/all/1.png", "hem/2.png"]
    assert any("again" in note and "links" in note for note in found.notes)


def test_a_cell_does_not_count_twice_by_a_folder_that_is_given_twice(tmp_path):
    root = folder(tmp_path / "set", "all/1.png", "hem/2.png")
    (tmp_path / "link").symlink_to(root)
    for again in (root, root / "all", tmp_path / "link"):
        with pytest.raises(BlastscopeError, match=r"is given twice|lies in"):
            list_cells([root, again])
    assert len(list_cells([root / "all", root / "hem"]).cells) == 2


@pytest.mark.parametrize("table", [None, "labels.csv"])
def test_cells_of_two_folders_of_one_name_have_names_of_their_own(tmp_path, monkeypatch, table):
    monkeypatch.chdir(tmp_path)
    both = [Path("monday/cells"), Path("tuesday/cells")]
    for one in both:
        folder(one, "1.png")
    Path("labels.csv").write_text("file,label\nmonday/cells/1.png,all\ntuesday/cells/1.png,hem\n")
    found = list_cells(both, table and Path(table)).cells
    assert [(cell.cell, cell.file) for cell in found] == [
        (f"{day}/cells/1", f"{day}/cells/1.png") for day in ("monday", "tuesday")
    ]
    assert [cell.path.resolve() for cell in found] == [(one / "1.png").resolve() for one in both]
    assert [cell.label for cell in found] == (["all", "hem"] if table else [None, None])


def test_what_is_not_read_is_counted_by_suffix(tmp_path):
    root = folder(tmp_path / "set", "1.png")
    for name in ("x.gif", "y.gif", "z.avif", ".hidden", "plain"):
        (root / name).write_bytes(b"x")
    assert any("2 .gif" in note and "1 .avif" in note for note in list_cells([root]).notes)


def test_kin_of_known_suffixes_are_read(tmp_path):
    root = folder(tmp_path / "set", "1.png")
    for name in ("2.dib", "3.jfif", "4.jpe"):
        shutil.copy(root / "1.png", root / name)  # read by content, not by suffix
    assert check([root]).cells == 4


def test_cells_without_a_subject_are_counted(tmp_path):
    root = folder(tmp_path / "set", "1.png", "2.png")
    (root / "t.csv").write_text("file,label,subject\n1.png,all,p\n2.png,hem,NA\n")
    report = check([root])
    assert report.without_subject == 1
    assert any("1 of 2 cells have no subject" in note for note in report.notes)


def test_a_table_that_cannot_be_read_or_is_too_large_is_named(tmp_path, monkeypatch):
    root = folder(tmp_path / "set", "1.png")
    (root / "labels.csv").write_text("file,label\n1.png,all\n")
    monkeypatch.setattr(label_search, "MAX_BYTES", 4)
    monkeypatch.setattr(labels, "MAX_BYTES", 4)
    assert len(label_search.read_limited(root / "labels.csv")) == 5
    assert any("labels.csv was not used" in note for note in list_cells([root]).notes)
    (root / "labels.csv").unlink()
    with pytest.raises(labels.NoLabelTableError, match="cannot be read"):
        label_search.read_limited(root / "labels.csv")


@pytest.mark.parametrize(
    ("head", "told"), [("file,label,subjct,age", 1), ("file,label,patient,age", 0)]
)
def test_a_table_without_a_column_of_subjects_says_what_it_did_not_read(tmp_path, head, told):
    root = folder(tmp_path / "set", "a.png", "b.png")
    table = tmp_path / "l.csv"
    table.write_text(f"{head}\na.png,all,P1,7\nb.png,hem,P2,9\n")
    notes = [note for note in list_cells([root], labels=table).notes if "subjct; age" in note]
    assert len(notes) == told


def test_a_table_in_a_tar_is_told_not_read(tmp_path):
    root = folder(tmp_path / "set", "1.png", "2.png")
    (root / "labels.csv").write_text("file,label\n1.png,all\n2.png,hem\n")
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        for path in sorted(root.iterdir()):
            tar.add(path, path.name)
    found = list_cells([tmp_path / "set.tar"])
    assert {cell.label for cell in found.cells} == {None}
    assert any("labels.csv" in note and "--labels" in note for note in found.notes)
    labelled = list_cells([tmp_path / "set.tar"], labels=root / "labels.csv")
    assert [cell.label for cell in labelled.cells] == ["all", "hem"]
