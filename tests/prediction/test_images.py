"""Names of pictures: each its own, whatever the files are called."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from blastscope.data.layouts import Problem
from blastscope.data.names import parse_name
from blastscope.prediction.images import InputImage, unique_cells

NONE = Problem("", "", "")
PARTS = st.text(st.sampled_from("ab.# 1"), min_size=1, max_size=4)
FILES = st.lists(st.lists(PARTS, min_size=1, max_size=3).map("/".join), max_size=12)


def pictures(files):
    stems = (file.rsplit("/", 1)[-1].rsplit(".", 1)[0] for file in files)
    return [
        InputImage(file, parse_name(stem).cell, NONE)
        for file, stem in zip(files, stems, strict=True)
    ]


@given(FILES)
def test_every_cell_has_a_name_of_its_own_and_the_same_again(files):
    names = unique_cells(pictures(files))
    assert len({name.strip() for name in names}) == len(files)
    assert all(names)
    assert names == unique_cells(pictures(files))


@given(FILES.map(lambda files: sorted({file.replace(" ", "") for file in files})), st.randoms())
def test_the_order_of_different_files_changes_no_name(files, random):
    files = [file for file in files if file]
    shuffled = random.sample(files, len(files))
    names = dict(zip(files, unique_cells(pictures(files)), strict=True))
    assert dict(zip(shuffled, unique_cells(pictures(shuffled)), strict=True)) == names
    assert all(name in file for file, name in names.items())


def test_namesakes_by_hand():
    files = [
        "p1/1.png",
        "p2/1.png",
        "p2/1.bmp",
        "x.png",
        "UID_h3_1_1_hem.png",
        "UID_H3_1_1_hem.bmp",
    ]
    assert unique_cells(pictures(files)) == [
        "p1/1",
        "p2/1.png",
        "p2/1.bmp",
        "x",
        "UID_h3_1_1_hem",
        "UID_H3_1_1_hem",
    ]


def test_names_that_nothing_but_a_number_tells_apart():
    assert unique_cells([InputImage("same.png", "same", NONE)] * 2) == ["same.png#1", "same.png#2"]
    assert unique_cells(
        [InputImage("", "image-1", NONE), InputImage("a/image-1.png", "image-1", NONE)]
    ) == [
        "image-1",
        "a/image-1",
    ]


def test_a_longer_name_stays_where_a_shorter_one_comes_upon_it():
    files = ["a.b", "a.1", "a.b.#"]
    assert unique_cells(pictures(files)) == files
