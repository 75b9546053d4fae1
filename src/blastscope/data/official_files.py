"""Compare a copy of C-NMC 2019 with the published files, by the SHA-256 of each.

``official_files.parquet`` has a row for each of the 15,114 published BMP images: the official
``folder`` (``fold_0`` to ``fold_2``, ``preliminary``, ``final``), the ``name`` of the file and, in
``sha256``, the first 8 bytes of the SHA-256 of its content as a big-endian number. The hashes were
read from Git LFS pointers in github sahilawatramani/BloodScan-AI, a copy of the Kaggle mirror. The
data set: C-NMC 2019, A. Gupta and R. Gupta, The Cancer Imaging Archive,
doi 10.7937/tcia.2019.dc64i46r, CC BY 3.0.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePosixPath

import polars as pl

from blastscope.io.tables import TableFormat, read_table

OFFICIAL = TableFormat(
    "official-files", 1, {"folder": pl.String(), "name": pl.String(), "sha256": pl.UInt64()}
)
_TABLE = Path(str(files("blastscope.data"))) / "official_files.parquet"
_TEST_SETS = {
    "preliminary": re.compile(r"prelim", re.I),
    "final": re.compile(r"final[ _-]?(phase|test)", re.I),
}
"""How folders of the numbered images of the test sets are called."""


@dataclass(frozen=True)
class OfficialFile:
    """A published file: its official folder, its name and the first 8 bytes of its SHA-256."""

    folder: str
    name: str
    sha256: int


@dataclass
class FolderPresence:
    """How many files an official folder has, and which of them a copy lacks."""

    expected: int
    missing: list[str] = field(default_factory=list)


@dataclass
class OfficialComparison:
    """How a copy of C-NMC 2019 differs from the published files.

    Attributes:
        compared: how many BMP files have the name of a published one and could be read.
        unchanged: how many of them have the published content. If none has, they were saved again
            or are other cells, and the rest of the comparison is empty.
        not_bmp: how many files have such a name and another format, so that their content cannot
            be compared.
        folders: each official folder that the copy has a compared file of.
        altered: files whose content is not that of the published file of the same name.
        doubled: groups of compared files with the same content.
    """

    compared: int = 0
    unchanged: int = 0
    not_bmp: int = 0
    folders: dict[str, FolderPresence] = field(default_factory=dict)
    altered: list[str] = field(default_factory=list)
    doubled: list[list[str]] = field(default_factory=list)


@cache
def official_files() -> tuple[OfficialFile, ...]:
    """Return all published image files."""
    return tuple(OfficialFile(*row) for row in read_table(_TABLE, OFFICIAL)[0].iter_rows())


def match_names(names: Iterable[str], root: str = "") -> dict[str, OfficialFile]:
    """Find the published file that each file of a copy is called after, in any image format.

    A training image is known by its name alone, in any case; an image of a test set, ``17.bmp``, by
    a folder called ``prelim…`` or ``final_phase…`` as well.

    Args:
        names: paths inside the copy, with forward slashes.
        root: the name of the copy's own folder.
    """
    published = {_key(one.folder, one.name): one for one in official_files()}
    found = {}
    for name in names:
        path = PurePosixPath(name)
        above = (root, *path.parts[:-1])
        folder = next((f for f, word in _TEST_SETS.items() if any(map(word.search, above))), "")
        one = published.get(_key(folder, path.name))
        if one is not None:
            found[name] = one
    return found


def is_original(file: str) -> bool:
    """Whether a file has the format of the published ones."""
    return file.lower().endswith(".bmp")


def read_digest(path: Path) -> int | None:
    """Return the first 8 bytes of the SHA-256 of a file; None if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return int.from_bytes(hashlib.file_digest(stream, "sha256").digest()[:8], "big")
    except OSError:
        return None


def compare(
    known: Mapping[str, OfficialFile], digests: Mapping[str, int]
) -> OfficialComparison | None:
    """Compare a copy with the published files.

    Args:
        known: the published file of each file of the copy, from :func:`match_names`.
        digests: by file, what :func:`read_digest` made of its content; BMP files only.

    Returns:
        The comparison; None if no file has the name of a published one.
    """
    if not known:
        return None
    found = OfficialComparison(len(digests), not_bmp=sum(not is_original(file) for file in known))
    altered = sorted(file for file, digest in digests.items() if digest != known[file].sha256)
    found.unchanged = len(digests) - len(altered)
    if not found.unchanged:
        return found
    found.altered = altered
    by_content: dict[int, list[str]] = defaultdict(list)
    for file, digest in digests.items():
        by_content[digest].append(file)
    found.doubled = sorted(sorted(same) for same in by_content.values() if len(same) > 1)
    present = set(known.values())
    for folder in sorted({known[file].folder for file in digests}):
        expected = [one for one in official_files() if one.folder == folder]
        missing = [one.name for one in expected if one not in present]
        found.folders[folder] = FolderPresence(len(expected), missing)
    return found


def _key(folder: str, name: str) -> tuple[str, str]:
    """What a published file is known by: its name, and the folder if the name is a number."""
    stem = PurePosixPath(name).stem.lower()
    return (folder if stem.isdecimal() else "", stem)
