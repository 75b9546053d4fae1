"""Zips, honest and hostile: listed, read on threads, never unpacked, never believed."""

from __future__ import annotations

import stat
import struct
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from blastscope.data import images
from blastscope.data.images import UnusableImageError
from blastscope.errors import BlastscopeError
from blastscope.prediction import archives
from blastscope.prediction.inputs import list_inputs
from tests.conftest import draw_cell
from tests.prediction.zips import png, write_zip

CELL = draw_cell(0, 60, 15)


def kinds(path) -> dict[str, str]:
    """What is wrong with each picture of a zip, where it is known, or comes out in reading."""
    found = {}
    for picture in list_inputs([path]):
        try:
            picture.decode()
            found[picture.file] = ""
        except UnusableImageError as error:
            found[picture.file] = error.kind
    return found


def test_what_is_in_a_zip_is_told_as_in_a_folder(tmp_path):
    path = write_zip(
        tmp_path / "some.zip",
        {
            "./data/hem/UID_h2_1_1_hem.png": CELL,
            "data/all/UID_1_1_1_all.bmp": CELL,
            "data/all/UID_2_1_1_hem.png": CELL,
            "data/all/b.png": CELL,
            "data/": b"",
            "__MACOSX/data/all/._b.png": b"x",
            "data/.hidden.png": CELL,
            "data/readme.txt": b"x",
        },
    )
    found = list_inputs([path])
    assert [(p.file, p.cell, p.subject, p.label, p.flags) for p in found] == [
        ("some.zip/data/all/UID_1_1_1_all.bmp", "UID_1_1_1_all", "1", "all", ()),
        ("some.zip/data/all/UID_2_1_1_hem.png", "UID_2_1_1_hem", "2", None, ()),
        ("some.zip/data/hem/UID_h2_1_1_hem.png", "UID_H2_1_1_hem", "H2", "hem", ("subject-case",)),
        ("some.zip/data/all/b.png", "b", None, "all", ()),
    ]
    assert [bool(p.problem) for p in found] == [False, True, False, False]
    assert not found.synthetic
    assert ["not read: 1 .txt" in note for note in found.notes] == [True]
    np.testing.assert_array_equal(found.images[0].decode().pixels, CELL)
    found.close()


def test_synthetic_cells_are_known_in_a_zip_as_well(tmp_path):
    path = write_zip(tmp_path / "s.zip", {"syn/x.png": CELL, "syn/SYNTHETIC.txt": b"yes"})
    assert list_inputs([path]).synthetic


def test_nothing_leads_out_of_a_zip(tmp_path):
    names = [
        "/etc/x.png",
        "../../x.png",
        "a/../../x.png",
        "C:/x.png",
        "..\\x.png",
        "\\\\host\\x.png",
    ]
    path = write_zip(tmp_path / "out.zip", dict.fromkeys([*names, "fine/x.png"], CELL))
    found = kinds(path)
    assert len(found) == len(names) + 1
    assert [file for file, kind in found.items() if kind == ""] == ["out.zip/fine/x.png"]
    assert set(found.values()) == {"", "name"}
    assert [p.name for p in tmp_path.iterdir()] == ["out.zip"]


def test_links_encrypted_entries_and_other_packings_are_rows(tmp_path):
    path = tmp_path / "odd.zip"
    with zipfile.ZipFile(path, "w") as file:
        link = zipfile.ZipInfo("link.png")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")
        file.writestr("bz2.png", png(CELL), zipfile.ZIP_BZIP2)
        file.writestr("lzma.png", png(CELL), zipfile.ZIP_LZMA)
        file.writestr("secret.png", png(CELL))
        file.writestr("text.png", b"no image")
        file.writestr("empty.png", b"")
        file.writestr("good.png", png(CELL))
    content = bytearray(path.read_bytes())
    listed = content.rfind(b"PK\x01\x02", 0, content.rfind(b"secret.png"))
    content[listed + 8] |= 1  # the bit for encryption
    path.write_bytes(content)
    assert kinds(path) == {
        "odd.zip/bz2.png": "packed",
        "odd.zip/empty.png": "unreadable",
        "odd.zip/good.png": "",
        "odd.zip/link.png": "link",
        "odd.zip/lzma.png": "packed",
        "odd.zip/secret.png": "encrypted",
        "odd.zip/text.png": "unreadable",
    }


def test_a_bomb_is_not_read_whatever_length_it_claims(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 100_000)
    monkeypatch.setattr(images, "MAX_BYTES", 100_000)
    path = write_zip(tmp_path / "bomb.zip", {"bomb.png": bytes(50_000_000), "ok.png": CELL})
    assert kinds(path) == {"bomb.zip/bomb.png": "too-large", "bomb.zip/ok.png": ""}
    # It claims to be small: its length is in the entry's header and in the list of entries.
    content = path.read_bytes().replace(struct.pack("<I", 50_000_000), struct.pack("<I", 99_999))
    path.write_bytes(content)
    assert kinds(path) == {"bomb.zip/bomb.png": "unreadable", "bomb.zip/ok.png": ""}
    # And one whose claim is not believed at all.
    archive = archives.Archive(path)
    info = archive.entries()[0]
    info.file_size = 50_000_000
    with pytest.raises(UnusableImageError) as error:
        archive.decode(info)
    assert error.value.kind == "too-large"
    archive.close()


def test_nested_zips_are_said_and_too_many_entries_refused(tmp_path, monkeypatch):
    inner = write_zip(tmp_path / "inner.zip", {"x.png": CELL}).read_bytes()
    path = write_zip(tmp_path / "outer.zip", {"x.png": CELL, "a/inner.zip": inner})
    found = list_inputs([path])
    assert (len(found), found.notes) == (
        1,
        (f"files in {path} that are not read: 1 .zip",),
    )
    only = write_zip(tmp_path / "only.zip", {"inner.zip": inner})
    with pytest.raises(BlastscopeError, match=r"holds no image .*zips inside zips"):
        list_inputs([only])
    monkeypatch.setattr(archives, "MAX_ENTRIES", 1)
    with pytest.raises(BlastscopeError, match="holds 2 entries, more than 1"):
        list_inputs([path])


def test_the_last_of_a_name_counts_as_in_unpacking(tmp_path):
    other = draw_cell(5, 60, 12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's own, on writing
        with zipfile.ZipFile(tmp_path / "twice.zip", "w") as file:
            file.writestr("a\\x.png", png(CELL))
            file.writestr("a/x.png", png(other))
    found = list_inputs([tmp_path / "twice.zip"])
    assert [p.file for p in found] == ["twice.zip/a/x.png"]
    np.testing.assert_array_equal(found.images[0].decode().pixels, other)
    assert "entries of the same name (1)" in found.notes[0]


@pytest.mark.parametrize("name", ["ß é.png", "細胞.png"])
def test_names_in_utf8_are_read_whether_the_zip_says_so_or_not(tmp_path, name):
    said = write_zip(tmp_path / "a.zip", {name: CELL})
    assert [p.file for p in list_inputs([said])] == [f"a.zip/{name}"]
    raw = name.encode()
    placeholder = "x" * len(raw)
    silent = write_zip(tmp_path / "b.zip", {placeholder + ".png": CELL})
    silent.write_bytes(silent.read_bytes().replace(placeholder.encode(), raw))
    assert [p.file for p in list_inputs([silent])] == [f"b.zip/{name}.png"]
    assert kinds(silent) == {f"b.zip/{name}.png": ""}


def test_names_in_an_old_code_page_and_with_control_signs(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"xx.png": CELL, "y\x1b[2J.png": CELL})
    path.write_bytes(path.read_bytes().replace(b"xx.png", b"\x81\xe1.png"))  # ü, ß in 437 and 850
    assert kinds(path) == {"a.zip/y\\x1b[2J.png": "name", "a.zip/üß.png": ""}


@pytest.mark.parametrize("share", [0.2, 0.6, 0.99])
def test_a_zip_that_is_cut_off_is_one_sentence(tmp_path, share):
    path = write_zip(tmp_path / "cut.zip", {f"{k}.png": CELL for k in range(5)})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BlastscopeError, match=r"cut\.zip is damaged or not a zip"):
        list_inputs([path])


def test_damage_within_is_a_row_and_the_others_are_read(tmp_path):
    path = write_zip(tmp_path / "d.zip", {f"{k}.png": draw_cell(k, 60, 15) for k in range(3)})
    with zipfile.ZipFile(path) as file:
        first, second = file.infolist()[:2]
    content = bytearray(path.read_bytes())
    content[first.header_offset + 60] ^= 0xFF
    content[second.header_offset : second.header_offset + 4] = b"none"
    path.write_bytes(content)
    assert kinds(path) == {
        "d.zip/0.png": "unreadable",
        "d.zip/1.png": "unreadable",
        "d.zip/2.png": "",
    }


def test_a_zip_that_goes_away_while_it_is_read_is_a_reason(tmp_path):
    path = write_zip(tmp_path / "gone.zip", {"x.png": CELL})
    (picture,) = list_inputs([path])
    path.unlink()
    with pytest.raises(UnusableImageError, match=r"cannot be read from gone\.zip"):
        picture.decode()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_threads_read_one_zip_at_once_and_it_is_closed_behind_the_last(
    tmp_path, method, monkeypatch
):
    cells = {f"{k}.png": draw_cell(k, 40, 10) for k in range(200)}
    path = write_zip(tmp_path / "many.zip", cells, method)
    opened = []
    zip_file = archives.ZipFile
    monkeypatch.setattr(
        archives, "ZipFile", lambda path: opened.append(zip_file(path)) or opened[-1]
    )
    found = list_inputs([path])
    for times in (2, 3):  # once for the list, once for each pass over all of them
        with ThreadPoolExecutor(8) as pool:
            pixels = list(pool.map(lambda picture: picture.decode().pixels, found))
        for picture, got in zip(found, pixels, strict=True):
            np.testing.assert_array_equal(got, cells[f"{picture.cell}.png"])
        assert len(opened) == times
        assert all(file.fp is None for file in opened)
