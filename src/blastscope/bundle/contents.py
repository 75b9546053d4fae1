"""The files of a bundle, read from a folder or a zip into memory and never unpacked.

Only names that a bundle can have are ever looked for, so that no entry's name decides where
anything is read or written. What is read is held against the digest that the manifest has of it.
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

_SMALL = 8 * 2**20
_LIMITS = {WEIGHTS: 4 * 2**30, ONNX: 512 * 2**20}
"""The most bytes that a file may have; what is not named here is JSON or Markdown."""
_NAME = re.compile(rf"(?:{MEMBERS}/[1-9][0-9]?/)?(?:{'|'.join(map(re.escape, NAMES))})")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # of others no one can bound the length
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
    """Whether a path holds a bundle and nothing else, so that replacing it loses nothing else."""
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
    """The files of a bundle, or of one of its members.

    Attributes:
        path: of the folder or zip.
        inside: what stands before the names of its files, ``members/2/`` for a member.
    """

    path: Path
    inside: str = ""

    def __str__(self) -> str:
        return f"{self.path}/{self.inside}".rstrip("/") if self.inside else str(self.path)

    def member(self, number: int) -> Contents:
        """Return the contents of the ``number``-th member of an ensemble, counted from 1."""
        return Contents(self.path, f"{self.inside}{MEMBERS}/{number}/")

    def read(self, name: str) -> bytes:
        """Read a file whole.

        Args:
            name: one of ``NAMES``.

        Raises:
            BlastscopeError: where it is missing, larger than its kind may be, a link, or the zip
                is damaged.
        """
        full, limit = self.inside + name, _LIMITS.get(name, _SMALL)
        if not _NAME.fullmatch(full):
            raise BlastscopeError(f"{self} has no file {full!r}: no bundle has one of that name.")
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
                f"{path} is a link, which a bundle never has: put the file itself there."
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
            f"{self.path} has no {name}, so it is no whole bundle: make it again with blastscope "
            "bundle, or copy it whole."
        )

    def _too_large(self, name: str, limit: int) -> BlastscopeError:
        return BlastscopeError(
            f"{self.path} has a {name} of more than {limit} bytes: it is no bundle of ours."
        )


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip and look at all its entries before one is read."""
    if path.is_file() and path.suffix.lower() != ".zip":
        raise BlastscopeError(f"{path} is no bundle: give a bundle's folder or zip.")
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise BlastscopeError(f"{path} is not there: give a bundle's folder or zip.") from None
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise _damaged(path, error) from error
    with archive:
        entries = archive.infolist()
        if len(entries) > _MOST_ENTRIES:
            raise BlastscopeError(f"{path} has {len(entries)} entries: it is no bundle.")
        names = [entry.filename for entry in entries if not entry.is_dir()]
        for entry in entries:
            _refuse_entry(path, entry)
        if len(set(names)) < len(names):
            raise BlastscopeError(f"{path} has two entries of one name: it is no bundle of ours.")
        yield archive


def _refuse_entry(path: Path, entry: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise BlastscopeError(f"{path} has the link {entry.filename[:80]!r}: no bundle has one.")
    if entry.flag_bits & 1:
        raise BlastscopeError(f"{path} is encrypted: unpack it, and give the folder.")
    if entry.compress_type not in _METHODS:
        raise BlastscopeError(
            f"{path} is packed in a way that is not read here: unpack it, and give the folder."
        )
    folder = re.fullmatch(rf"{MEMBERS}/(?:[1-9][0-9]?/)?", entry.filename)
    if entry.filename.endswith(f"/{MANIFEST}") and entry.filename.count("/") == 1:
        raise BlastscopeError(
            f"{path} holds the folder of a bundle and not its files: zip what is in the folder, or "
            "give the folder itself."
        )
    if not folder and not _NAME.fullmatch(entry.filename):
        raise BlastscopeError(
            f"{path} has an entry {entry.filename[:80]!r}, which no bundle has: it is none of "
            "ours, or files were added to it."
        )


def _damaged(path: Path, error: Exception) -> BlastscopeError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return BlastscopeError(f"{path} is no zip that can be read ({reason}): copy it once more.")
