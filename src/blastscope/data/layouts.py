"""Reading a data set: which files are cells, of which class, subject and fold.

Layouts, which may stand side by side under one folder:

- ``fold_N/{all,hem}/`` and ``{all,hem}/``: the class is the name of the folder, or of the nearest
  one above it;
- a flat folder with a labels table (``cells/labels.py``), in it or beside it, or given;
- a folder of images and nothing else: unlabelled cells.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from posixpath import splitext

from blastscope.data.images import SUFFIXES
from blastscope.data.labels import LabelRow, LabelTable, find_label_table, read_label_table
from blastscope.data.names import LABELS, parse_name, printable
from blastscope.data.synthetic import MARKER, is_marked
from blastscope.errors import BlastscopeError

_FOLD = re.compile(r"fold_?(\d+)", re.I)


@dataclass(frozen=True)
class CellFile:
    """One image file and what its place and name say of it."""

    path: Path
    file: str
    """The path inside the data set, with forward slashes."""
    cell: str
    label: str | None
    subject: str | None
    fold: str | None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Problem:
    """Something that makes a file unusable."""

    file: str
    kind: str
    message: str


@dataclass
class Listing:
    """The cells of a data set in the order of their names, and what is wrong with the list."""

    cells: list[CellFile] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    synthetic: bool = False

    def add(self, item: CellFile | Problem) -> None:
        """Take in a file, usable or not."""
        if isinstance(item, CellFile):
            self.cells.append(item)
        else:
            self.problems.append(item)


@dataclass(frozen=True)
class ImageFolder:
    """A folder of images, and what it says of those in it.

    Attributes:
        root: the folder that the names of its files begin from.
        path: the folder.
        label: the class after which it, or the nearest folder above it, is called.
        fold: likewise.
        table: the labels table of its images.
        strict: whether an image that the table lacks is a problem.
        notes: what to say of its labels.
    """

    root: Path
    path: Path
    label: str | None
    fold: str | None
    table: LabelTable | None = None
    strict: bool = True
    notes: tuple[str, ...] = ()

    @cached_property
    def _prefix(self) -> str:
        inner = self.path.relative_to(self.root).as_posix()
        return "" if inner == "." else f"{inner}/"

    def cell(self, name: str) -> CellFile | Problem:
        """Say what its place and name tell of one image of the folder."""
        path, file = self.path / name, self._prefix + name
        if self.table is None:
            by_folder = LabelRow(self.label, None) if self.label else None
            return describe(path, file, by_folder, self.fold, f"in a folder called {self.label}")
        row = self.table.rows.get(path.stem.lower())
        item = describe(path, file, row, self.fold, f"in {self.table.path.name}")
        if row is None and self.strict and isinstance(item, CellFile):
            return Problem(file, "label", f"has no row in {self.table.path.name}")
        return item


def list_cells(folders: Sequence[Path], labels: Path | None = None) -> Listing:
    """List the cells under ``folders``, in an order that does not depend on the disk's.

    Every later file of a cell's name is a problem. ``labels`` is a table for the folders that are
    not called after a class.

    Raises:
        BlastscopeError: if a folder is missing or holds no image.
    """
    listing = list_files(folders, labels)
    _part_namesakes(listing)
    return listing


def list_files(
    folders: Sequence[Path], labels: Path | None = None, *, strict: bool = True
) -> Listing:
    """List the image files under ``folders`` as :func:`list_cells` does, namesakes and all.

    If not ``strict``, a labels table that is wrong is a note rather than an error, and an image
    that it lacks a cell without a label rather than a problem.

    Raises:
        BlastscopeError: as :func:`list_cells` does.
    """
    listing = Listing()
    given = read_label_table(labels) if labels else None
    for folder in folders:
        if not folder.is_dir():
            raise BlastscopeError(f"{folder} is no folder: give the folder that holds the cells.")
        listing.synthetic |= is_marked(folder)
        base = folder if len(folders) == 1 else folder.parent
        for path, names in _image_folders(base, folder, listing.problems):
            listing.synthetic |= (path / MARKER).is_file()
            place = read_place(base, path, names, given, strict=strict)
            listing.notes.extend(place.notes)
            for item in map(place.cell, names):
                listing.add(item)
    if given and not any(str(given.path) in note for note in listing.notes):
        raise BlastscopeError(
            f"{given.path} was not used, because every folder is called after a class: leave out "
            "--labels."
        )
    if not listing.cells and not listing.problems:
        where = ", ".join(map(str, folders))
        raise BlastscopeError(
            f"{where} holds no image ({', '.join(sorted(SUFFIXES))}): give the folder with the "
            "cells, for example C-NMC_training_data."
        )
    listing.cells.sort(key=lambda item: (item.cell, item.file))
    return listing


def read_place(
    root: Path,
    path: Path,
    names: Sequence[str],
    given: LabelTable | None = None,
    *,
    strict: bool = True,
) -> ImageFolder:
    """Find out what a folder says of the images ``names`` in it: class, fold and labels table.

    Args:
        root: the folder that the user gave, ``path`` or one above it.
        path: the folder.
        names: the images in it that count.
        given: a labels table, so that none is looked for.
        strict: as in :func:`list_files`.

    Raises:
        BlastscopeError: if its labels table is wrong, or one of several, and ``strict``.
    """
    label, fold = read_parts((root.resolve().name, *path.relative_to(root).parts))
    if label:
        return ImageFolder(root, path, label, fold)
    try:
        table = given or find_label_table(path, names)
    except BlastscopeError as error:
        if strict:
            raise
        return ImageFolder(root, path, None, fold, notes=(f"no labels: {error}",))
    if table is None:
        return ImageFolder(root, path, None, fold)
    notes = (f"labels of {path} from {table.path}", *table.notes_for(names, str(path)))
    if fold is None and "prelim" in path.name.lower():
        fold = "preliminary"
    return ImageFolder(root, path, None, fold, table, strict, notes)


def read_parts(parts: Sequence[str]) -> tuple[str | None, str | None]:
    """Return the class after which the last of some folders is called, and the fold."""
    label = next((part.lower() for part in reversed(parts) if part.lower() in LABELS), None)
    return label, next((m[1] for part in parts if (m := _FOLD.fullmatch(part))), None)


def describe(
    path: Path, file: str, known: LabelRow | None, fold: str | None, source: str
) -> CellFile | Problem:
    """Put together an image's name and what is known of it otherwise, by its folder or a table.

    ``source`` says where that stands, for a message: ``in labels.csv``.
    """
    if printable(file) != file:  # no table could hold the name, no screen show it
        message = "has a name that cannot be printed: rename it"
        return Problem(printable(file), "name", message)
    named = parse_name(splitext(file.rpartition("/")[2])[0])
    if known and named.label and known.label != named.label:
        message = f"is called {named.label} but stands as {known.label} {source}"
        return Problem(file, "label", message)
    subject = named.subject or (known.subject if known else None)
    flags = ("subject-case",) if named.lower_case else ()
    label = known.label if known else named.label
    return CellFile(path, file, named.cell, label, subject, fold, flags)


def _image_folders(
    root: Path, folder: Path, problems: list[Problem]
) -> Iterator[tuple[Path, list[str]]]:
    def unreadable(error: OSError) -> None:
        path = Path(error.filename)
        file = str(path if path == root else path.relative_to(root).as_posix())
        problems.append(
            Problem(printable(file), "unreadable", f"cannot be read ({error.strerror})")
        )

    for here, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(n for n in folders if not n.startswith((".", "__MACOSX")))
        images = sorted(
            n for n in names if Path(n).suffix.lower() in SUFFIXES and not n.startswith(".")
        )
        if images:
            yield Path(here), images


def _part_namesakes(listing: Listing) -> None:
    """Move every later file of a cell's name from the cells to the problems."""
    first: dict[str, str] = {}
    kept = []
    for item in listing.cells:
        if item.cell in first:
            message = f"has the name of another cell, {first[item.cell]}"
            listing.problems.append(Problem(item.file, "same-name", message))
        else:
            first[item.cell] = item.file
            kept.append(item)
    listing.cells = kept
