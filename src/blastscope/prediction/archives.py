"""Images inside zips: listed and read there, never unpacked to disk.

Zips come from anywhere and may lie about their content: names are never used as paths, and an
entry is read up to the limit for images, whatever length it claims.
"""

from __future__ import annotations

import re
import stat
import threading
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from zipfile import ZipFile, ZipInfo

from blastscope.data.folder_walk import FolderContent
from blastscope.data.images import MAX_BYTES, SUFFIXES, Decoded, UnusableImageError, decode_image
from blastscope.data.label_search import FoundLabels, TableFile, find_labels
from blastscope.data.labels import MAX_BYTES as MAX_TABLE_BYTES
from blastscope.data.layouts import (
    CellFile,
    Problem,
    describe,
    note_on_class_folders,
    read_parts,
)
from blastscope.data.names import printable
from blastscope.data.synthetic import is_marked
from blastscope.errors import BlastscopeError
from blastscope.prediction.images import InputImage, input_image

SUFFIX = ".zip"
MAX_ENTRIES = 200_000
_UTF8 = 0x800
_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # no other bounds what it unpacks to
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True)
class Archived:
    """The images of a zip, in the order of their names."""

    archive: Archive
    images: tuple[InputImage, ...]
    notes: tuple[str, ...]
    synthetic: bool


def list_archive(path: Path) -> Archived:
    """List the images in a zip.

    Raises:
        BlastscopeError: if it is damaged or not a zip, is too large or holds no image.
    """
    archive = Archive(path)
    entries: dict[str, ZipInfo] = {}
    content, doubles = FolderContent(marked=is_marked(path.parent)), 0
    for info in archive.entries():
        name = _name(info)
        if info.is_dir() or _is_hidden(PurePosixPath(name).parts):
            continue
        if name in entries:
            doubles += 1
        else:
            content.add(name)
        entries[name] = info  # the last of a name counts, as in unpacking
    inner = content.left_out[SUFFIX]
    if not content.images:
        remedy = "unpack it, for zips inside zips are not read" if inner else "give a zip of cells"
        raise BlastscopeError(f"{path} holds no image ({', '.join(sorted(SUFFIXES))}): {remedy}.")
    known = _labels_in(archive, content, entries)
    notes = [*content.notes(str(path)), *known.notes]
    if doubles:
        notes.append(
            f"{path} has entries of the same name ({doubles}): only the last of each counts"
        )
    described = {name: _described(archive, name, known) for name in content.images}
    if note := note_on_class_folders(described.values()):
        notes.append(note)
    found = [_image(archive, name, entries[name], item) for name, item in described.items()]
    found.sort(key=lambda item: (item.cell, item.file))
    archive.expected = sum(item.problem is None for item in found)
    return Archived(archive, tuple(found), tuple(notes), content.marked)


def _name(info: ZipInfo) -> str:
    """Return an entry's name with forward slashes, in UTF-8 if its bytes are that."""
    name = info.filename
    if not info.flag_bits & _UTF8:  # then it should be code page 437, and often is not
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return str(PurePosixPath(name.replace("\\", "/")))


def _is_hidden(parts: tuple[str, ...]) -> bool:
    hidden = (part.startswith((".", "__MACOSX")) and part != ".." for part in parts)
    return not parts or any(hidden)


def _labels_in(
    archive: Archive, content: FolderContent, entries: dict[str, ZipInfo]
) -> FoundLabels:
    """Find labels and subjects in the tables of a zip."""
    tables = [
        TableFile(
            archive.path / name,
            str(PurePosixPath(name).parent).removeprefix("."),
            partial(archive.read_table, entries[name]),
        )
        for name in content.tables
        if _problem(name, entries[name]) is None
    ]
    return find_labels(archive.path, content.images, tables, strict=False)


def _described(archive: Archive, name: str, known: FoundLabels) -> CellFile | Problem:
    label, fold = read_parts(PurePosixPath(name).parts[:-1])
    row = known.rows.get(name)
    table = known.tables[name].name if row else ""
    return describe(archive.path, name, label, row, fold, table)


def _image(archive: Archive, name: str, info: ZipInfo, item: CellFile | Problem) -> InputImage:
    return input_image(_problem(printable(name), info) or item, partial(archive.decode, info))


def _problem(name: str, info: ZipInfo) -> Problem | None:
    """Return what makes an entry unusable before it is read."""
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or _DRIVE.match(name):
        return Problem(name, "name", "has a path that leads out of its zip: pack it again")
    if stat.S_ISLNK(info.external_attr >> 16):
        return Problem(name, "link", "is a link: pack the image that it leads to")
    if info.flag_bits & _ENCRYPTED:
        return Problem(name, "encrypted", "is encrypted: unpack its zip and give the folder")
    if info.compress_type not in _METHODS:
        message = "is compressed by an unsupported method: pack it again, with deflate"
        return Problem(name, "packed", message)
    if info.file_size > MAX_BYTES:
        return Problem(name, "too-large", f"is larger than {MAX_BYTES} bytes")
    return None


class Archive:
    """A zip that several threads can read; open from the first image read to the last."""

    def __init__(self, path: Path) -> None:
        self.path = path  # of the zip
        self.expected = 0  # how many images will be read from it
        self._left = 0
        self._zip: ZipFile | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Archive], tuple[Path]]:
        return Archive, (self.path,)  # another process opens the zip itself

    def entries(self) -> list[ZipInfo]:
        """List everything in the zip.

        Raises:
            BlastscopeError: if it is damaged or not a zip, or has too many entries.
        """
        try:
            with ZipFile(self.path) as file:
                found = file.infolist()
        except OSError as error:
            raise BlastscopeError(f"{self.path} cannot be read: {error.strerror}.") from error
        except Exception as error:  # BadZipFile, and others, if its list is damaged
            raise BlastscopeError(
                f"{self.path} is damaged or not a zip ({error}): pack it again, or give a folder."
            ) from error
        if len(found) > MAX_ENTRIES:
            raise BlastscopeError(
                f"{self.path} holds {len(found):,} entries, more than {MAX_ENTRIES:,}: unpack it "
                "and give the folder."
            )
        return found

    def read_table(self, info: ZipInfo) -> bytes:
        """Read a table, up to one byte more than a labels table may have.

        Raises:
            BlastscopeError: if the entry is damaged.
        """
        try:
            with ZipFile(self.path) as file, file.open(info) as stream:
                return stream.read(MAX_TABLE_BYTES + 1)
        except Exception as error:  # a damaged zip may make zipfile raise anything
            raise BlastscopeError(
                f"{self.path}: {info.filename} cannot be read ({error})."
            ) from error

    def decode(self, info: ZipInfo) -> Decoded:
        """Read and decode one image.

        Raises:
            UnusableImageError: if it cannot be read from the zip or is not a usable image.
        """
        try:
            content = self._read(info)
        except Exception as error:  # a damaged zip may make zipfile raise anything
            reason = f"cannot be read from {self.path.name} ({error})"
            raise UnusableImageError("unreadable", reason) from None
        return decode_image(content)

    def close(self) -> None:
        """Close the zip, if it is open."""
        with self._lock:
            self._close()

    def _read(self, info: ZipInfo) -> bytes:
        try:
            with self._lock:  # zipfile locks reading, but not its count of open entries
                stream = self._opened().open(info)
            try:
                return stream.read(MAX_BYTES + 1)
            finally:
                with self._lock:
                    stream.close()
        finally:
            with self._lock:
                self._left -= 1
                if self._left == 0:
                    self._close()

    def _opened(self) -> ZipFile:
        if self._zip is None:
            self._zip, self._left = ZipFile(self.path), self.expected
        return self._zip

    def _close(self) -> None:
        if self._zip is not None:
            self._zip.close()
            self._zip = None
