"""The challenge's submission: ``isbi_valid.predict`` in a zip, a 0 or 1 (ALL) a line.

Line N is the call for the image ``N.bmp``. Names sort as 1, 10, 2, so that a wrong order would go
unnoticed; here the order is that of the numbers, which must be 1 to n.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np

from blastscope.errors import BlastscopeError, listing, writing
from blastscope.io.files import replacing

Calls = np.ndarray[Any, np.dtype[np.bool_]]

MEMBER = "isbi_valid.predict"
MAX_MEMBER_BYTES = 64 * 2**10
"""The longest prediction file that is read: ten times the 2,586 lines of the final test set."""
MAX_ZIP_BYTES = 2**20

_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say
_NUMBER = re.compile(r"[0-9]{1,9}")


def numeric_order(names: Sequence[str], where: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the indices of ``names`` (``1``, ``10``, ``2.bmp``…) in the order of their numbers.

    Raises:
        BlastscopeError: naming ``where``, if a name is not a whole number, two are the same number,
            or the numbers are not 1 to n.
    """
    names = [name.removesuffix(".bmp") for name in names]
    strange = [name for name in names if not _NUMBER.fullmatch(name)]
    if strange:
        raise BlastscopeError(
            f"{where} has names that are not whole numbers ({listing(strange, most=3)}): call the "
            "images 1.bmp, 2.bmp and so on, as the challenge does."
        )
    numbers = np.array([int(name) for name in names], np.int64)
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    if np.array_equal(ordered, np.arange(1, len(names) + 1)):
        return order
    twice = [int(n) for n in ordered[1:][np.diff(ordered) == 0]]
    if twice:
        doubles = listing([name for name in names if int(name) == twice[0]])
        raise BlastscopeError(f"{where} has the number {twice[0]} twice ({doubles}): keep one.")
    if ordered[0] == 0:
        raise BlastscopeError(f"{where} has the number 0: count from 1, as the challenge does.")
    known = set(ordered.tolist())
    absent = int(ordered[-1]) - len(known)
    some = [str(n) for n in islice((n for n in count(1) if n not in known), min(absent, 5))]
    more = f" and {absent - len(some)} more" if absent > len(some) else ""
    raise BlastscopeError(
        f"{where} goes up to {ordered[-1]} but lacks {', '.join(some)}{more}: give all "
        "images, for a submission has a line for each number."
    )


def write_submission(calls: Calls, path: Path, *, force: bool = False) -> bool:
    """Write a submission, in the order of the images' numbers; the same calls give the same bytes.

    Returns:
        Whether it was written; False if the same submission exists already.

    Raises:
        BlastscopeError: if another file exists there (unless ``--force``), or it cannot be written.
    """
    content = _zipped("".join(f"{int(call)}\n" for call in calls))
    with writing(path):
        if path.exists() and path.read_bytes() == content:
            return False
    if path.exists() and not force:
        raise BlastscopeError(
            f"{path} exists already and holds other calls: choose another folder, or replace it "
            "with `--force`."
        )
    with replacing(path) as beside:
        beside.write_bytes(content)
    return True


def _zipped(text: str) -> bytes:
    entry = zipfile.ZipInfo(MEMBER, _DATE)
    entry.create_system = 3  # Unix, whatever this machine is
    entry.external_attr = 0o644 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(entry, text)  # stored: a compressor's bytes differ between its versions
    return buffer.getvalue()


def is_submission(path: Path) -> bool:
    """Whether a file is, by its suffix, a submission or the prediction file out of one."""
    return path.suffix.lower() in (".zip", ".predict")


def read_submission(path: Path) -> Calls:
    """Read the calls of a submission, or of the prediction file out of one.

    Nothing is unpacked to disk, and of a zip nothing but the one member is read.

    Returns:
        For each line, whether it calls ALL.

    Raises:
        BlastscopeError: if it is missing, too large, damaged, or a line is neither 0 nor 1.
    """
    zipped = path.suffix.lower() == ".zip"
    limit = MAX_ZIP_BYTES if zipped else MAX_MEMBER_BYTES
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise BlastscopeError(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > limit:
        raise BlastscopeError(f"{path} is larger than {limit} bytes, so it is not a submission.")
    return _parse(_member(content, path) if zipped else content, path)


def _member(content: bytes, path: Path) -> bytes:
    """Return the prediction file's bytes; a zip that unpacks beyond the limit is refused."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = [entry for entry in archive.infolist() if entry.filename == MEMBER]
            if len(found) != 1:
                count = f"{len(found)} files {MEMBER}"
                raise BlastscopeError(f"{path} holds {count} instead of one at its top level.")
            if found[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise BlastscopeError(f"{path} has an unsupported compression: zip it again.")
            with archive.open(found[0]) as member:
                text = member.read(MAX_MEMBER_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError) as error:
        raise BlastscopeError(
            f"{path} cannot be read as a zip ({error}): make it again."
        ) from error
    if len(text) > MAX_MEMBER_BYTES:
        raise BlastscopeError(
            f"{MEMBER} in {path} is longer than {MAX_MEMBER_BYTES} bytes: it is not a submission."
        )
    return text


def _parse(content: bytes, path: Path) -> Calls:
    lines = [line.strip() for line in content.rstrip().splitlines()]
    for number, line in enumerate(lines, start=1):
        if line not in (b"0", b"1"):
            shown = ascii(line[:20].decode("utf-8", "replace"))
            raise BlastscopeError(f"{path}, line {number}, is {shown}: give a 0 or a 1 a line.")
    if not lines:
        raise BlastscopeError(f"{path} has no lines: give a 0 or a 1 for each image.")
    return np.array([line == b"1" for line in lines], bool)
