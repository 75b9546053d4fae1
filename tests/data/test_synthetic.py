"""Synthetic cells: their layout and format, and that they are neither trivial nor hopeless."""

from __future__ import annotations

import os
import struct
from collections import Counter, defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from blastscope.data import synthetic
from blastscope.data.synthetic import MARKER, write_synthetic
from blastscope.data.synthetic_drawing import draw_cell, draw_subject
from blastscope.errors import BlastscopeError

CELLS, SUBJECTS, SEED = 240, 12, 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "cells"
    write_synthetic(path, CELLS, SUBJECTS, SEED)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def images(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.bmp"))


def subject_of(path: Path) -> str:
    return path.name.split("_")[1]


def test_the_same_seed_gives_the_same_bytes_however_many_threads_draw(tmp_path, monkeypatch):
    for name, workers in [("one", 1), ("four", 4)]:
        monkeypatch.setattr(os, "cpu_count", lambda workers=workers: workers)
        write_synthetic(tmp_path / name, 14, 6, 3)
    assert contents(tmp_path / "one") == contents(tmp_path / "four")


def test_another_seed_gives_other_cells(tmp_path):
    for seed in (3, 4):
        write_synthetic(tmp_path / str(seed), 8, 6, seed)
    one, other = (set(contents(tmp_path / name).values()) for name in ("3", "4"))
    assert not one & other


def test_every_cell_of_a_folder_differs(folder):
    assert len({path.read_bytes() for path in images(folder)}) == CELLS


def test_the_layout_and_the_names_are_those_of_cnmc(folder):
    paths = images(folder)
    assert len(paths) == CELLS
    for path in paths:
        fold, label, _ = path.relative_to(folder).parts
        uid, subject, image, cell, ending = path.stem.split("_")
        assert (uid, ending) == ("UID", label)
        assert fold in {"fold_0", "fold_1", "fold_2"}
        assert subject.startswith("H") == (label == "hem")
        assert int(subject.removeprefix("H")) >= 901
        assert int(image) >= 1
        assert int(cell) >= 1
    assert {path.name for path in folder.iterdir()} == {"fold_0", "fold_1", "fold_2", MARKER}


def test_a_file_is_a_24_bit_bmp_of_450_by_450(folder):
    content = images(folder)[0].read_bytes()
    # The BITMAPINFOHEADER begins after the 14 bytes of the BITMAPFILEHEADER.
    width, height, planes, bits, compression = struct.unpack_from("<iiHHI", content, 18)
    assert content[:2] == b"BM"
    assert (width, abs(height), planes, bits, compression) == (450, 450, 1, 24, 0)


def test_the_background_is_black_and_the_cell_is_one_violet_object(folder):
    for path in images(folder)[::6]:
        image = cv2.imread(str(path))
        inside = image.max(axis=2) > 0
        assert image[inside].min() >= 4
        assert 0.03 < inside.mean() < 0.45
        count, _, stats, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8))
        areas = stats[1:count, cv2.CC_STAT_AREA]
        assert areas.max() > 0.95 * areas.sum()
        blue, green, red = image[inside].mean(axis=0)
        assert green < 0.75 * min(blue, red)


def test_classes_are_in_the_proportions_of_cnmc(folder):
    cells = Counter(path.parent.name for path in images(folder))
    subjects = {subject_of(path) for path in images(folder)}
    normal = sum(subject.startswith("H") for subject in subjects)
    assert cells == {"all": 160, "hem": 80}
    assert (len(subjects), normal) == (12, 5)


def test_subjects_differ_in_their_number_of_cells(folder):
    sizes = Counter(subject_of(path) for path in images(folder))
    assert max(sizes.values()) > 1.5 * min(sizes.values())


def test_a_subject_lies_in_one_fold_and_every_fold_has_both_classes(folder):
    folds = defaultdict(set)
    classes = defaultdict(set)
    for path in images(folder):
        fold = path.parent.parent.name
        folds[subject_of(path)].add(fold)
        classes[fold].add(path.parent.name)
    assert all(len(found) == 1 for found in folds.values())
    assert set(classes) == {"fold_0", "fold_1", "fold_2"}
    assert all(found == {"all", "hem"} for found in classes.values())


@given(subjects=st.integers(2, 40), spare=st.integers(0, 200), seed=st.integers(0, 2**40))
def test_any_plan_has_every_cell_once_and_every_subject(subjects, spare, seed):
    plan = synthetic._plan(subjects + spare, subjects, seed)
    assert len({cell.name for cell in plan}) == subjects + spare
    by_label = {
        label: {subject_of(c.name) for c in plan if c.label == label} for label in ("all", "hem")
    }
    assert sum(map(len, by_label.values())) == subjects
    assert min(map(len, by_label.values())) >= (3 if subjects >= 6 else 1)


def test_size_alone_tells_the_classes_apart_about_as_well_as_in_cnmc(folder):
    labels, sides = [], []
    for path in images(folder):
        _, _, wide, high = cv2.boundingRect(cv2.imread(str(path)).max(axis=2))
        labels.append(path.parent.name == "all")
        sides.append(max(wide, high))
    assert 0.70 <= roc_auc_score(labels, sides) <= 0.87


def test_normal_chromatin_is_clumped_more():
    def contrast(label: str) -> float:
        """Spread of brightness about its local mean, relative to it, in the middle of cells."""
        found = []
        for seed in range(40):
            subject = draw_subject(np.random.default_rng([1, seed]))
            image = draw_cell(label, subject, np.random.default_rng([2, seed]))
            middle = image[195:255, 195:255].mean(axis=2)
            local = cv2.GaussianBlur(middle, (0, 0), 8)
            found.append(np.std(middle / local))
        return float(np.median(found))

    assert contrast("hem") > 1.1 * contrast("all")


def test_cells_of_a_subject_share_their_colour():
    """Hue varies more between subjects than within one: that is what a leaky split rewards."""
    hues = []
    for number in range(12):
        subject = draw_subject(np.random.default_rng([3, number]))
        cells = [draw_cell("all", subject, np.random.default_rng([4, number, k])) for k in range(6)]
        means = np.array([cell[cell.max(axis=2) > 0].mean(axis=0) for cell in cells])
        hues.append(np.log(means[:, 2] / means[:, 0]))
    within = np.mean([np.var(group, ddof=1) for group in hues])
    between = np.var([np.mean(group) for group in hues], ddof=1)
    assert between > 2 * within


def test_a_few_cells_are_cut_by_the_border():
    subject = draw_subject(np.random.default_rng(0))
    touching = 0
    for seed in range(600):
        image = draw_cell("hem", subject, np.random.default_rng([5, seed]))
        border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        touching += bool(border.any())
    # One in 200: 3 are expected, and a binomial count is in this range 19 times in 20.
    assert 1 <= touching <= 9


def test_the_marker_says_what_the_folder_holds(folder):
    text = (folder / MARKER).read_text(encoding="utf-8")
    assert MARKER == "SYNTHETIC.txt"
    assert "synthetic" in text
    assert {f"seed: {SEED}", f"cells: {CELLS}", f"subjects: {SUBJECTS}"} <= set(text.splitlines())


def test_progress_counts_up_to_the_number_of_cells(tmp_path):
    told: list[int] = []
    write_synthetic(tmp_path / "cells", 7, 2, 0, told.append)
    assert told == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("cells", "subjects", "seed", "message"),
    [
        (10, 1, 0, "at least 2"),
        (5, 6, 0, "at least one each"),
        (10, 6, -1, "negative"),
    ],
)
def test_arguments_out_of_range_are_refused(tmp_path, cells, subjects, seed, message):
    with pytest.raises(BlastscopeError, match=message):
        write_synthetic(tmp_path / "cells", cells, subjects, seed)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(BlastscopeError, match="not empty"):
        write_synthetic(tmp_path, 6, 6, 0)
    with pytest.raises(BlastscopeError, match=r"mine\.txt"):
        write_synthetic(tmp_path / "mine.txt", 6, 6, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_filled_and_what_a_broken_run_left_is_removed(tmp_path):
    (tmp_path / "cells").mkdir()
    (tmp_path / ".cells.part" / "fold_0").mkdir(parents=True)
    write_synthetic(tmp_path / "cells", 6, 6, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["cells"]
    assert len(images(tmp_path / "cells")) == 6


def test_nothing_is_left_where_writing_breaks_off(tmp_path):
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synthetic(tmp_path / "cells", 6, 6, 0, stop)
    assert list(tmp_path.iterdir()) == []
