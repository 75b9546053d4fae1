"""The submission's file: order, bytes, and what is refused on reading."""

from __future__ import annotations

import zipfile
import zlib
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blastscope.errors import BlastscopeError
from blastscope.io.submission import (
    MAX_MEMBER_BYTES,
    MEMBER,
    numeric_order,
    read_submission,
    write_submission,
)


@given(st.integers(1, 300), st.randoms())
def test_any_order_of_names_becomes_the_numeric_one(count: int, random: Random):
    names = [str(number) for number in range(1, count + 1)]
    random.shuffle(names)
    assert [names[k] for k in numeric_order(names, "x")] == sorted(names, key=int)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["1", "UID_1_1_1_all"], r"not whole numbers \(UID_1_1_1_all\)"),
        (["1", "2", "-3"], r"not whole numbers \(-3\)"),
        (["1", "²"], "not whole numbers"),
        (["1", "2", "02"], r"the number 2 twice \(2; 02\)"),
        (["0", "1"], "the number 0"),
        (["1", "4", "10"], r"up to 10 but lacks 2, 3, 5, 6, 7 and 2 more"),
        (["999999999", "1", "3"], r"lacks 2, 4, 5, 6, 7 and 999999991 more"),
        (["2"], r"up to 2 but lacks 1:"),
    ],
)
def test_numbers_that_are_not_one_to_n_are_refused(names, message):
    with pytest.raises(BlastscopeError, match=message):
        numeric_order(names, "x")


def test_a_zip_holds_the_one_file_and_the_same_bytes_always(tmp_path):
    path = tmp_path / "submission.zip"
    assert write_submission(np.array([True, False, True]), path)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["isbi_valid.predict"]
        assert archive.read("isbi_valid.predict") == b"1\n0\n1\n"
    assert path.read_bytes() == BYTES
    assert not write_submission(np.array([True, False, True]), path)
    with pytest.raises(BlastscopeError, match="holds other calls"):
        write_submission(np.array([True, True, True]), path)
    assert path.read_bytes() == BYTES
    assert write_submission(np.array([True, True, True]), path, force=True)
    assert read_submission(path).tolist() == [True, True, True]


# By hand after the zip format (PKWARE's APPNOTE, 4.3): local header, the lines as they are, central
# directory, end. 0x0021 is 1 January 1980, 0x01A4 the permissions rw-r--r--.
_CRC = zlib.crc32(b"1\n0\n1\n").to_bytes(4, "little")
_COMMON = b"\x00\x00" + b"\x00\x00" + b"\x00\x00\x21\x00" + _CRC + b"\x06\0\0\0" * 2 + b"\x12\0\0\0"
BYTES = (
    b"PK\x03\x04\x14\x00" + _COMMON + b"isbi_valid.predict1\n0\n1\n"
    b"PK\x01\x02\x14\x03\x14\x00" + _COMMON + b"\0\0\0\0\0\0" + b"\x00\x00\xa4\x01" + b"\0\0\0\0"
    b"isbi_valid.predict"
    b"PK\x05\x06\0\0\0\0\x01\x00\x01\x00" + (46 + 18).to_bytes(4, "little")
    + (30 + 18 + 6).to_bytes(4, "little") + b"\x00\x00"
)  # fmt: skip


@given(calls=st.lists(st.booleans(), min_size=1, max_size=3000))
def test_what_is_written_is_read(calls, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "any.zip"
    write_submission(np.array(calls), path, force=True)
    assert read_submission(path).tolist() == calls


def test_somebody_elses_zip_and_a_bare_file_are_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "theirs.ZIP", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/._isbi_valid.predict", b"\x00\x05")
        archive.writestr(MEMBER, "0\r\n1\r\n\r\n")
    assert read_submission(tmp_path / "theirs.ZIP").tolist() == [False, True]
    (tmp_path / MEMBER).write_text("1\n1\n0")
    assert read_submission(tmp_path / MEMBER).tolist() == [True, True, False]


def zipped(path, *members, how=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def test_a_zip_that_swells_is_refused(tmp_path):
    bomb = zipped(tmp_path / "bomb.zip", (MEMBER, b"1\n" * (50 * 2**20)))
    assert bomb.stat().st_size < 2**20
    with pytest.raises(BlastscopeError, match=f"longer than {MAX_MEMBER_BYTES} bytes"):
        read_submission(bomb)
    # A size that the directory gives too small does not get more than that out of it.
    honest = zipped(tmp_path / "liar.zip", (MEMBER, b"1\n" * 100_000)).read_bytes()
    lying = honest.replace((200_000).to_bytes(4, "little"), (4).to_bytes(4, "little"))
    assert lying != honest
    (tmp_path / "liar.zip").write_bytes(lying)
    with pytest.raises(BlastscopeError, match="cannot be read as a zip"):
        read_submission(tmp_path / "liar.zip")
    (tmp_path / "huge.zip").write_bytes(bytes(2**20 + 1))
    with pytest.raises(BlastscopeError, match="larger than 1048576 bytes"):
        read_submission(tmp_path / "huge.zip")


def test_other_zips_are_refused(tmp_path):
    inside = zipped(tmp_path / "inside.zip", (f"folder/{MEMBER}", "1\n"))
    with pytest.raises(BlastscopeError, match="holds 0 files"):
        read_submission(inside)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inside.zip"]  # nothing unpacked
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = zipped(tmp_path / "twice.zip", (MEMBER, "1\n"), (MEMBER, "0\n"))
    with pytest.raises(BlastscopeError, match="holds 2 files"):
        read_submission(twice)
    odd = zipped(tmp_path / "odd.zip", (MEMBER, "1\n"), how=zipfile.ZIP_LZMA)
    with pytest.raises(BlastscopeError, match="unsupported compression"):
        read_submission(odd)
    (tmp_path / "text.zip").write_text("1\n0\n")
    with pytest.raises(BlastscopeError, match="cannot be read as a zip"):
        read_submission(tmp_path / "text.zip")
    with pytest.raises(BlastscopeError, match="cannot be read: No such file"):
        read_submission(tmp_path / "none.zip")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1\n2\n", r"line 2, is '2'"),
        ("1\n\n0\n", r"line 2, is ''"),
        ("0.7\n", r"line 1, is '0.7'"),
        ("1\n0 1\n", r"line 2, is '0 1'"),
        ("\n", "has no lines"),
    ],
)
def test_lines_that_are_no_calls_are_refused(tmp_path, content, message):
    (tmp_path / MEMBER).write_text(content)
    with pytest.raises(BlastscopeError, match=message):
        read_submission(tmp_path / MEMBER)
