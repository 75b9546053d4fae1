"""The files of a bundle, read from a folder or a zip into memory and never unpacked.

Only names that a bundle can have are looked for, so that no entry's name decides where anything is
read or written. What is read is compared with its digest in the manifest.
"""

from __future__ import annotations

import hashlib
import re
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from blastscope.errors import BlastscopeError

MANIFEST, WEIGHTS, ONNX = "bundle.json", "weights.safetensors", "model.onnx"
DECISION, OOD, CARD = "decision.json", "ood.json", "card.md"
NAMES = (MANIFEST, WEIGHTS, ONNX, DECISION, OOD, CARD)
MEMBERS = "members"
FRONT_MATTER = "---\n"
"""The line before and after the metadata with which a card begins."""

_SMALL = 8 * 2**20
_LIMITS = {WEIGHTS: 4 * 2**30, ONNX: 512 * 2**20}
"""The most bytes of a file; files that are not named here are JSON or Markdown."""
_NAME = re.compile(rf"(?:{MEMBERS}/[1-9][0-9]?/)?(?:{'|'.join(map(re.escape, NAMES))})")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the length of others has no bound
_MOST_PACKED = 20
"""How many times larger than in the zip a file of more than ``_SMALL`` bytes may be."""
_MOST_ENTRIES = 100 * (len(NAMES) + 1) + 1


def digest_of(content: bytes) -> str:
    """Return ``sha256:<hex digest>`` of bytes."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def is_bundle(path: Path) -> bool:
    """Whether a path looks like a bundle: a folder with a manifest, or a zip."""
    return (path / MANIFEST).is_file() or (path.is_file() and path.suffix.lower() == ".zip")


def is_all_bundle(path: Path) -> bool:
    """Whether a path holds a bundle and nothing else, which may be replaced."""
    if path.is_dir():
        files = (each for each in path.rglob("*") if each.is_symlink() or not each.is_dir())
        names = [each.relative_to(path).as_posix() for each in files]
        return MANIFEST in names and all(map(_NAME.fullmatch, names))
    try:
        Contents(path).read(MANIFEST)
    except BlastscopeError:
        return False
    return True


@dataclass(frozen=True)
class Contents:
    """The files of a bundle, or of one of its members."""

    path: Path  # the folder or zip
    inside: str = ""  # the prefix of the names of its files, ``members/2/`` for a member

    def __str__(self) -> str:
        return f"{self.path}/{self.inside}".rstrip("/") if self.inside else str(self.path)

    def member(self, number: int) -> Contents:
        """Return the contents of the ``number``-th member of an ensemble, counted from 1."""
        return Contents(self.path, f"{self.inside}{MEMBERS}/{number}/")

    def read(self, name: str) -> bytes:
        """Read one of the files ``NAMES`` whole.

        Raises:
            BlastscopeError: if it is missing, too large or a link, or the zip is damaged.
        """
        full, limit = self.inside + name, _LIMITS.get(name, _SMALL)
        if not _NAME.fullmatch(full):
            raise BlastscopeError(f"A bundle has no file {full!r}, so {self} is not read for it.")
        if self.path.is_dir():
            return self._from_folder(full, limit)
        with _opened(self.path) as archive:
            try:
                entry = archive.getinfo(full)
            except KeyError:
                raise self._lacks(full) from None
            return self._from_zip(archive, entry, limit)

    def _from_folder(self, name: str, limit: int) -> bytes:
        path = self.path / name
        steps = [path, *path.parents][: name.count("/") + 1]
        if any(step.is_symlink() for step in steps):
            raise BlastscopeError(
                f"{path} is a link, which a bundle must not hold: put the file itself there."
            )
        try:
            size = path.stat().st_size
            if size > limit:
                raise self._too_large(name, limit)
            if not path.is_file():  # a pipe would be waited for without end
                raise self._lacks(name)
            return path.read_bytes()
        except FileNotFoundError:
            raise self._lacks(name) from None
        except OSError as error:
            raise BlastscopeError(f"{path} cannot be read: {error.strerror}.") from error

    def _from_zip(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int) -> bytes:
        if entry.file_size > limit:
            raise self._too_large(entry.filename, limit)
        if entry.file_size > _MOST_PACKED * entry.compress_size + _SMALL:  # weights hardly shrink
            raise self._too_large(entry.filename, _MOST_PACKED * entry.compress_size + _SMALL)
        try:
            with archive.open(entry) as file:
                content = file.read(limit + 1)  # the entry's own size may lie
        except Exception as error:  # zlib, zipfile and struct each have their own
            raise _damaged(self.path, error) from error
        if len(content) > limit:
            raise self._too_large(entry.filename, limit)
        return content

    def _lacks(self, name: str) -> BlastscopeError:
        return BlastscopeError(
            f"{self.path} has no {name}, so the bundle is not complete: copy it whole, or make it "
            "again with `blastscope bundle`."
        )

    def _too_large(self, name: str, limit: int) -> BlastscopeError:
        return BlastscopeError(
            f"{self.path} has a {name} of more than {limit} bytes, so blastscope did not make it: "
            "do not use it."
        )


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip and look at all its entries before one is read."""
    if path.is_file() and path.suffix.lower() != ".zip":
        raise BlastscopeError(f"{path} is not a bundle: give the folder or zip of one.")
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise BlastscopeError(
            f"{path} does not exist: give the folder or zip of a bundle."
        ) from None
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise _damaged(path, error) from error
    with archive:
        entries = archive.infolist()
        if len(entries) > _MOST_ENTRIES:
            raise BlastscopeError(
                f"{path} has {len(entries)} entries, so it is not a bundle: give another zip."
            )
        names = [entry.filename for entry in entries if not entry.is_dir()]
        for entry in entries:
            _refuse_entry(path, entry)
        if len(set(names)) < len(names):
            raise BlastscopeError(
                f"{path} has two entries of one name, so blastscope did not make it."
            )
        yield archive


def _refuse_entry(path: Path, entry: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise BlastscopeError(
            f"{path} has the link {entry.filename[:80]!r}, which a bundle must not hold."
        )
    if entry.flag_bits & 1:
        raise BlastscopeError(f"{path} is encrypted: unpack it and give the folder.")
    if entry.compress_type not in _METHODS:
        raise BlastscopeError(
            f"{path} is compressed in a way that blastscope does not read: unpack it and give the "
            "folder."
        )
    folder = re.fullmatch(rf"{MEMBERS}/(?:[1-9][0-9]?/)?", entry.filename)
    if entry.filename.endswith(f"/{MANIFEST}") and entry.filename.count("/") == 1:
        raise BlastscopeError(
            f"{path} holds a bundle's folder instead of its files: zip the files in the folder, or "
            "give the folder itself."
        )
    if not folder and not _NAME.fullmatch(entry.filename):
        raise BlastscopeError(
            f"{path} has an entry {entry.filename[:80]!r}, which is not part of a bundle: get the "
            "bundle again, or remove the entry."
        )


def _damaged(path: Path, error: Exception) -> BlastscopeError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return BlastscopeError(f"{path} cannot be read as a zip ({reason}): copy it again.")
