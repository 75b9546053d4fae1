"""A copy of C-NMC 2019 is compared with the published SHA-256 of its files."""

from __future__ import annotations

import hashlib
import shutil
import struct
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from typer.testing import CliRunner

import blastscope as bs
from blastscope.cli import app
from blastscope.data import official_files as module
from blastscope.data.check import check
from blastscope.data.official_files import FolderPresence, OfficialFile, match_names, official_files
from tests.conftest import draw_cell, write_cell

FOLDERS = {"preliminary": "prelim", "final": "final", "fold_0": "fold_0", "fold_1": "fold_1"}


def original(webp: Path) -> bytes:
    """The published BMP file of a lossless copy: its header and rows as C-NMC's files have them."""
    pixels = np.asarray(Image.open(webp).convert("RGB"))[::-1, :, ::-1]
    rows = np.zeros((450, 1352), np.uint8)  # padded to four bytes
    rows[:, :1350] = pixels.reshape(450, 1350)
    header = struct.pack("<IiiHHIIiiII", 40, 450, 450, 1, 24, 0, rows.size, 3779, 3779, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + rows.size, 0, 0, 54) + header + rows.tobytes()


def digest(content: bytes) -> int:
    return int(hashlib.sha256(content).hexdigest()[:16], 16)


@pytest.fixture
def copy(tmp_path, monkeypatch) -> Path:
    """A whole copy of a data set of eight files; two of fold_0 have one content."""
    root = tmp_path / "cells"
    names = {
        "fold_0/all/UID_1_1_1_all.bmp": 1,
        "fold_0/all/UID_1_2_1_all.bmp": 2,
        "fold_0/hem/UID_h3_1_1_hem.bmp": 3,
        "fold_0/hem/UID_H4_1_1_hem.bmp": 3,
        "fold_1/hem/UID_H5_1_1_hem.bmp": 4,
        "C-NMC_test_prelim_phase_data/1.bmp": 5,
        "C-NMC_test_prelim_phase_data/2.bmp": 6,
        "C-NMC_test_final_phase_data/1.bmp": 7,
    }
    table = []
    for name, seed in names.items():
        path = write_cell(root / name, draw_cell(seed, 90, 20))
        folder = next(of for of, word in FOLDERS.items() if word in name)
        table.append(OfficialFile(folder, path.name, digest(path.read_bytes())))
    monkeypatch.setattr(module, "official_files", lambda: tuple(table))
    return root


def test_the_table_is_that_of_the_published_hashes(shared):
    published = {
        (row[0].split("/")[-1], int(row[1][:16], 16), "prelim" in row[0], "final" in row[0])
        for row in pl.read_csv(shared / "data" / "cnmc_sha256.csv").iter_rows()
        if row[0].endswith(".bmp")
    }
    found = {
        (one.name, one.sha256, one.folder == "preliminary", one.folder == "final")
        for one in official_files()
    }
    assert found == published
    assert len(official_files()) == 15114
    assert (Path(module.__file__).parent / "official_files.parquet").stat().st_size < 300_000


def test_its_doubled_contents_are_the_published_pairs(shared):
    by_content: dict[int, set[str]] = {}
    for one in official_files():
        by_content.setdefault(one.sha256, set()).add(one.name)
    found = {frozenset(names) for names in by_content.values() if len(names) > 1}
    pairs = pl.read_csv(shared / "data" / "cnmc_duplicates.csv").select("a", "b")
    theirs = {frozenset(name.split("/")[-1] for name in pair) for pair in pairs.iter_rows()}
    assert len(found) == 106
    assert found == theirs


def test_real_originals_are_unchanged_and_one_byte_is_seen(shared, tmp_path):
    """Cells of fold 1 as they were published, and their twins of fold 2 or of the same fold."""
    source = shared / "data" / "C-NMC_training_data"
    pairs = pl.read_csv(shared / "data" / "cnmc_duplicates.csv").select("a", "b")
    of_fold_1 = [pair for pair in pairs.iter_rows() if "training_data/fold_1" in pair[0]][::3]
    for pair in of_fold_1:
        first, second = (tmp_path / name for name in pair)
        webp = source / Path(pair[0]).relative_to("training_data").with_suffix(".webp")
        for path in (first, second):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(original(webp))
    found = check([tmp_path / "training_data"])
    assert found.official is not None
    assert found.official.compared == found.official.unchanged == 2 * len(of_fold_1)
    assert found.official.altered == []
    names = [sorted(name.removeprefix("training_data/") for name in pair) for pair in of_fold_1]
    assert found.official.doubled == sorted(names)
    in_fold_1 = sum(name.startswith("fold_1") for pair in names for name in pair)
    assert found.official.folders["fold_1"].expected == 3581
    assert len(found.official.folders["fold_1"].missing) == 3581 - in_fold_1
    content = bytearray(first.read_bytes())
    content[-700 * 100] ^= 1
    first.write_bytes(content)
    again = check([tmp_path / "training_data"]).official
    assert again is not None
    assert again.altered == [of_fold_1[-1][0].removeprefix("training_data/")]


def test_a_whole_copy(copy):
    found = check([copy])
    assert found.usable
    official = found.official
    assert official is not None
    assert (official.compared, official.unchanged, official.not_bmp) == (8, 8, 0)
    assert official.folders == {
        "fold_0": FolderPresence(4),
        "fold_1": FolderPresence(1),
        "preliminary": FolderPresence(2),
        "final": FolderPresence(1),
    }
    assert official.doubled == [["fold_0/hem/UID_H4_1_1_hem.bmp", "fold_0/hem/UID_h3_1_1_hem.bmp"]]
    told = str(bs.check(copy))
    assert "the published SHA-256 of C-NMC 2019: 8 files, none altered; 1 content under" in told
    assert "preliminary of C-NMC 2019: complete, 2 files." in told
    assert "UID_H4_1_1_hem.bmp = fold_0/hem/UID_h3_1_1_hem.bmp" in told


def test_missing_files_are_said_and_are_no_error(copy):
    (copy / "fold_0/all/UID_1_2_1_all.bmp").unlink()
    shutil.rmtree(copy / "C-NMC_test_final_phase_data")
    found = check([copy])
    assert found.usable
    assert found.official is not None
    assert found.official.folders["fold_0"] == FolderPresence(4, ["UID_1_2_1_all.bmp"])
    assert "final" not in found.official.folders
    told = str(bs.check(copy))
    assert "fold_0 of C-NMC 2019: 1 of 4 files missing (UID_1_2_1_all.bmp)." in told


def test_an_altered_file_is_a_reason_and_ends_with_status_2(copy):
    altered = copy / "fold_0/all/UID_1_2_1_all.bmp"
    write_cell(altered, draw_cell(77, 90, 20))
    shutil.copy(copy / "fold_1/hem/UID_H5_1_1_hem.bmp", copy / "C-NMC_test_final_phase_data/1.bmp")
    done = CliRunner().invoke(app, ["check", str(copy)])
    assert done.exit_code == 2
    assert "2 files have the name of a C-NMC 2019 file and other content" in done.output
    content = bs.check(copy).as_json()
    assert content["usable"] is False
    final = "C-NMC_test_final_phase_data/1.bmp"
    assert content["official"]["altered"] == [final, "fold_0/all/UID_1_2_1_all.bmp"]
    assert [final, "fold_1/hem/UID_H5_1_1_hem.bmp"] in content["official"]["doubled"]
    assert content["official"]["folders"]["final"] == {"expected": 1, "missing": []}


def test_a_file_that_cannot_be_decoded_is_altered_too(copy):
    path = copy / "fold_0/all/UID_1_2_1_all.bmp"
    path.write_bytes(path.read_bytes()[:200])
    found = check([copy])
    assert found.official is not None
    assert found.official.altered == ["fold_0/all/UID_1_2_1_all.bmp"]
    assert found.official.folders["fold_0"].missing == []


def test_other_formats_are_not_compared(copy):
    for path in copy.rglob("*.bmp"):
        Image.open(path).save(path.with_suffix(".png"))
        path.unlink()
    found = check([copy])
    assert found.usable
    assert found.official is not None
    assert (found.official.compared, found.official.not_bmp) == (0, 8)
    assert found.official.folders == {}
    told = str(bs.check(copy))
    assert "8 files called as in C-NMC 2019 but not BMP: their content cannot be compared" in told


def test_cells_that_only_have_the_names(copy, tmp_path):
    for seed, path in enumerate(copy.rglob("*.bmp")):
        write_cell(path, draw_cell(100 + seed, 80, 20))
    found = check([copy])
    assert found.usable
    assert found.official is not None
    assert (found.official.unchanged, found.official.altered) == (0, [])
    told = str(bs.check(copy))
    assert "8 files called as in C-NMC 2019, and none has the published content" in told
    (tmp_path / "synthetic").mkdir()
    bs.synthesize(tmp_path / "drawn", 12, 4)
    assert check([tmp_path / "drawn"]).official is None
    write_cell(tmp_path / "own" / "a.bmp", draw_cell(1, 90, 20))
    assert check([tmp_path / "own"]).official is None


def test_which_published_file_a_name_means():
    names = ["x/uid_H3_10_1_HEM.webp", "1.bmp", "C-NMC_test_final_phase_data/1.bmp", "UID_1_2.bmp"]
    found = match_names(names)
    assert found["x/uid_H3_10_1_HEM.webp"].name == "UID_h3_10_1_hem.bmp"
    assert found["C-NMC_test_final_phase_data/1.bmp"].folder == "final"
    assert len(found) == 2
    assert match_names(["1.bmp"], "C-NMC_test_prelim_phase_data")["1.bmp"].folder == "preliminary"


def test_progress_counts_every_file(copy):
    seen: list[tuple[int, int]] = []
    check([copy], on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(k, 8) for k in range(1, 9)]
