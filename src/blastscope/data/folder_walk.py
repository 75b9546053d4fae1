"""What lies in a folder of images: images, tables, and what is of another kind.

Linked folders are followed, each real folder is read once, and what is left out is counted, so
that nothing is skipped in silence.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from blastscope.data.images import SUFFIXES
from blastscope.data.synthetic import MARKER
from blastscope.io import text_tables

TABLES = frozenset((*text_tables.SUFFIXES, ".xlsx", ".xls", ".ods")) - {".txt"}
"""The suffixes of tables; spreadsheets are named and not read."""
SEGMENTATION = "segmentation.json"
"""The file that marks a folder of ``blastscope segment``."""
_PICTURES = frozenset(("overlays", "masks"))
"""What such a folder holds beside its cells."""


@dataclass
class FolderContent:
    """The files below a folder; names are paths from it, with forward slashes.

    Attributes:
        images: sorted.
        tables: sorted.
        left_out: how many other files there are of each suffix; hidden files do not count.
        unreadable: folders, each with the reason.
        linked: folders that were not read again, because they were read under another name.
        marked: whether a folder is marked as synthetic.
        pictures: folders of ``blastscope segment`` whose overlays and masks were left out.
    """

    images: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    linked: list[str] = field(default_factory=list)
    marked: bool = False
    pictures: list[str] = field(default_factory=list)

    def add(self, file: str) -> None:
        """Take in a file by its name."""
        name = PurePosixPath(file).name
        suffix = PurePosixPath(name.lower()).suffix
        if name == MARKER:
            self.marked = True
        elif suffix in SUFFIXES:
            self.images.append(file)
        elif suffix in TABLES:
            self.tables.append(file)
        else:
            self.left_out[suffix or "without suffix"] += 1

    def notes(self, where: str) -> list[str]:
        """Say what was left out of ``where``, if anything was."""
        found = []
        if self.left_out:
            counts = ", ".join(f"{n} {suffix}" for suffix, n in sorted(self.left_out.items()))
            found.append(f"files in {where} that are not read: {counts}")
        if self.linked:
            links = ", ".join(self.linked[:3])
            found.append(f"folders in {where} that are links to a folder read already: {links}")
        if self.pictures:
            inner = [name for name in self.pictures if name != "."]  # which is the folder itself
            names = f": {', '.join(inner[:3])}" if inner else ""
            found.append(f"overlays and masks of segmented fields in {where} are not read{names}")
        return found


def read_folder(root: Path) -> FolderContent:
    """Walk through a folder and the folders below it, linked ones last."""
    content = FolderContent()
    waiting: list[Path] = [root]
    links: list[Path] = []
    seen: set[str] = set()
    while waiting or links:
        here = waiting.pop() if waiting else links.pop(0)
        real = os.path.realpath(here)
        if real in seen:
            content.linked.append(_inner(root, here))
            continue
        seen.add(real)
        folders, files = _entries(root, here, content)
        if here / SEGMENTATION in files:
            folders = [path for path in folders if path.name not in _PICTURES]
            content.pictures.append(_inner(root, here))
        waiting += [path for path in folders if not path.is_symlink()]
        links += sorted(path for path in folders if path.is_symlink())
        for path in files:
            content.add(_inner(root, path))
    content.images.sort()
    content.tables.sort()
    return content


def _entries(root: Path, here: Path, content: FolderContent) -> tuple[list[Path], list[Path]]:
    folders: list[Path] = []
    files: list[Path] = []
    try:
        with os.scandir(here) as entries:
            for entry in entries:
                if entry.name.startswith((".", "__MACOSX")):
                    continue
                (folders if entry.is_dir() else files).append(here / entry.name)
    except OSError as error:
        name = str(here) if here == root else _inner(root, here)
        content.unreadable.append((name, error.strerror or str(error)))
    return folders, files


def _inner(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
