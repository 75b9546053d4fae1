"""WebDataset tars: cells one after another in a tar, read there and never unpacked.

A sample is the files whose names are the same up to the first dot: ``000123.png`` is the cell,
``000123.json`` an object with ``label``, ``subject`` or both, ``000123.cls`` the label alone.
Numbers in ``.cls`` are not read, because nothing says which class they mean. Tars come from
anywhere: names are never used as paths, and nothing is read beyond the limits of images and tables.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from blastscope.data.folder_walk import FolderContent
from blastscope.data.images import MAX_BYTES, SUFFIXES, Decoded, UnusableImageError, decode_image
from blastscope.data.label_search import FoundLabels
from blastscope.data.labels import LabelRow
from blastscope.data.names import parse_label, printable
from blastscope.errors import BlastscopeError, listing
from blastscope.io.subject_names import subject_name

SUFFIX = ".tar"
MAX_ENTRIES = 1_000_000
_ABOUT = (".json", ".cls")
_MOST_ABOUT = 64 * 2**10


@dataclass
class TarContent:
    """What a tar holds.

    Attributes:
        content: the names of its images, and what is not read.
        known: what its ``.json`` and ``.cls`` hold about them.
        sources: what reads each image, by its name.
    """

    content: FolderContent = field(default_factory=FolderContent)
    known: FoundLabels = field(default_factory=FoundLabels)
    sources: dict[str, Callable[[], Decoded]] = field(default_factory=dict)


def is_tar(path: Path) -> bool:
    """Whether a path is a tar by its name."""
    return path.suffix.lower() == SUFFIX and path.is_file()


def read_tar(path: Path) -> TarContent:
    """List the samples of a tar.

    Raises:
        BlastscopeError: if it is damaged, compressed or too large, or what it holds about a cell
            cannot be read.
    """
    found = TarContent()
    about: dict[str, tuple[LabelRow, str]] = {}
    numbers = doubles = entries = 0
    try:
        with tarfile.open(path, "r:") as tar:
            for entry in tar:
                tar.members = []  # type: ignore[attr-defined]  # it would keep all of them
                entries += 1
                if entries > MAX_ENTRIES:
                    raise BlastscopeError(
                        f"{path} holds more than {MAX_ENTRIES:,} entries: split it into several."
                    )
                name = str(PurePosixPath(entry.name))
                if entry.isdir() or PurePosixPath(name).name.startswith("."):
                    continue
                bad = _unreadable(entry)
                if name.lower().endswith(_ABOUT):
                    if bad is not None:
                        raise BlastscopeError(f"{path}: {printable(name)} {bad[1]}.")
                    content = _read(path, entry.offset_data, min(entry.size, _MOST_ABOUT + 1))
                    row = _about(path, name, content)
                    numbers += row is None
                    if row is not None:
                        about[_key(name)] = _joined(about.get(_key(name)), row, name)
                    continue
                doubles += name in found.sources
                if name not in found.sources:
                    found.content.add(name)
                found.sources[name] = (
                    partial(read_member, path, entry.offset_data, entry.size)
                    if bad is None
                    else partial(_refuse, *bad)
                )
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise BlastscopeError(
            f"{path} is damaged, compressed or not a tar ({error}): pack it again, as a plain tar."
        ) from error
    if not found.content.images:
        raise BlastscopeError(
            f"{path} holds no image ({', '.join(sorted(SUFFIXES))}): give a tar of cells."
        )
    found.content.images.sort()
    for name in found.content.images:
        if _key(name) in about:
            row, source = about[_key(name)]
            found.known.rows[name] = row
            found.known.tables[name] = path / source
    if found.content.tables:
        found.known.notes.append(
            f"tables in {path} are not read ({listing(found.content.tables, most=3)}): give one "
            "with --labels"
        )
    if doubles:
        found.known.notes.append(
            f"{path} has entries of the same name ({doubles}): only the last of each counts"
        )
    if numbers:
        found.known.notes.append(
            f"{numbers} files .cls in {path} hold a number, which is not read as a label: write "
            "all or hem"
        )
    return found


def _unreadable(entry: tarfile.TarInfo) -> tuple[str, str] | None:
    """Return kind and reason if an entry's bytes do not lie in the tar as they are in its file."""
    if entry.issparse():  # what follows its header is the file without its holes
        return "packed", "is packed as a sparse file: pack it again, without --sparse"
    if entry.islnk() or entry.issym():
        remedy = "pack the image that it leads to (tar --dereference --hard-dereference)"
        return "link", f"is a link: {remedy}"
    return None if entry.isfile() else ("unreadable", "is not a file: leave it out")


def _refuse(kind: str, reason: str) -> Decoded:
    raise UnusableImageError(kind, reason)


def read_member(path: Path, offset: int, size: int) -> Decoded:
    """Decode an image in a tar.

    Raises:
        UnusableImageError: if it cannot be read or is not a usable image.
    """
    if size > MAX_BYTES:
        raise UnusableImageError("too-large", f"is larger than {MAX_BYTES} bytes")
    try:
        content = _read(path, offset, size)
    except OSError as error:
        reason = f"cannot be read from {path.name} ({error.strerror})"
        raise UnusableImageError("unreadable", reason) from None
    if len(content) < size:
        raise UnusableImageError("unreadable", f"is cut short in {path.name}")
    return decode_image(content)


def _read(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def _key(name: str) -> str:
    folder, _, file = name.rpartition("/")
    return f"{folder}/{file.partition('.')[0]}"


def _about(path: Path, name: str, content: bytes) -> LabelRow | None:
    """Return what a ``.json`` or ``.cls`` holds about its sample; None if it is a bare number."""
    where = f"{path}: {printable(name)}"
    if len(content) > _MOST_ABOUT:
        raise BlastscopeError(f"{where} is larger than {_MOST_ABOUT} bytes: leave it out.")
    try:
        if name.lower().endswith(".cls"):
            text = content.decode().strip()
            return None if text.isdigit() else LabelRow(parse_label(text), None)
        told = json.loads(content)
        if not isinstance(told, dict):
            raise ValueError("not a JSON object")
    except (ValueError, RecursionError) as error:
        raise BlastscopeError(f"{where} cannot be read ({error}): correct it.") from error
    except BlastscopeError as error:
        raise BlastscopeError(f"{where}: {error}") from None
    label, subject = told.get("label"), told.get("subject")
    if not isinstance(label, str | None):  # nothing says which class a number means
        raise BlastscopeError(f'{where} has the label {label!r}: write "all" or "hem".')
    try:
        known = parse_label(label) if label is not None and subject_name(label) else None
    except BlastscopeError as error:
        raise BlastscopeError(f"{where}: {error}") from None
    return LabelRow(known, None if subject is None else subject_name(str(subject)))


def _joined(before: tuple[LabelRow, str] | None, row: LabelRow, name: str) -> tuple[LabelRow, str]:
    """Join what the files of a sample say."""
    if before is None:
        return row, name
    old, first = before
    for one, other in ((old.label, row.label), (old.subject, row.subject)):
        if one and other and one != other:
            raise BlastscopeError(
                f"{printable(first)} says {one} and {printable(name)} says {other}: correct one "
                "of them."
            )
    return LabelRow(old.label or row.label, old.subject or row.subject), first
