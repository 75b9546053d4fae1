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
from pathlib import Path

from blastscope.cells.images import SUFFIXES
from blastscope.cells.labels import LabelTable, find_label_table, read_label_table
from blastscope.cells.names import LABELS, parse_name
from blastscope.cells.synthetic_marker import MARKER
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


def list_cells(folders: Sequence[Path], labels: Path | None = None) -> Listing:
    """List the cells under ``folders``, in an order that does not depend on the disk's.

    Args:
        folders: the data set's folders.
        labels: a labels table for the folders that are not called after a class.

    Raises:
        BlastscopeError: where a folder is missing or holds no image.
    """
    listing = Listing()
    given = read_label_table(labels) if labels else None
    for folder in folders:
        if not folder.is_dir():
            raise BlastscopeError(f"{folder} is no folder: give the folder that holds the cells.")
        whole = folder.resolve()  # "." has neither a name nor parents
        listing.synthetic |= any((up / MARKER).is_file() for up in (whole, *whole.parents[:2]))
        for place, names in _image_folders(folder, listing.problems):
            listing.synthetic |= (place / MARKER).is_file()
            base = folder if len(folders) == 1 else folder.parent
            _add_folder(listing, base, place, names, given)
    if given and not any(str(given.path) in note for note in listing.notes):
        raise BlastscopeError(
            f"{given.path} was not used, because every folder is called after a class: leave out "
            "--labels."
        )
    if not listing.cells and not listing.problems:
        where = ", ".join(str(folder) for folder in folders)
        raise BlastscopeError(
            f"{where} holds no image ({', '.join(sorted(SUFFIXES))}): give the folder with the "
            "cells, for example C-NMC_training_data."
        )
    listing.cells.sort(key=lambda item: (item.cell, item.file))
    _part_namesakes(listing)
    return listing


def _image_folders(folder: Path, problems: list[Problem]) -> Iterator[tuple[Path, list[str]]]:
    def unreadable(error: OSError) -> None:
        problems.append(Problem(str(error.filename), "unreadable", f"cannot be read ({error})"))

    for here, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(n for n in folders if not n.startswith((".", "__MACOSX")))
        images = sorted(
            n for n in names if Path(n).suffix.lower() in SUFFIXES and not n.startswith(".")
        )
        if images:
            yield Path(here), images


def _add_folder(
    listing: Listing, root: Path, place: Path, names: list[str], given: LabelTable | None
) -> None:
    parts = (root.resolve().name, *place.relative_to(root).parts)
    fold = next((m[1] for part in parts if (m := _FOLD.fullmatch(part))), None)
    by_name = next((part.lower() for part in reversed(parts) if part.lower() in LABELS), None)
    table = None if by_name else given or find_label_table(place, names)
    if table is not None:
        listing.notes.append(f"labels of {place} from {table.path}")
        listing.notes.extend(table.notes_for(names, str(place)))
        if fold is None:
            fold = "preliminary" if "prelim" in place.name.lower() else None
    for name in names:
        _add_file(listing, root, place / name, by_name, fold, table)


def _add_file(
    listing: Listing,
    root: Path,
    path: Path,
    by_folder: str | None,
    fold: str | None,
    table: LabelTable | None,
) -> None:
    file = path.relative_to(root).as_posix()
    try:
        file.encode()
    except UnicodeEncodeError:  # bytes that are no text: no table could hold the name
        message = "has a name that cannot be printed: rename it"
        listing.problems.append(Problem(ascii(file), "name", message))
        return
    named = parse_name(path.stem)
    row = table.rows.get(path.stem.lower()) if table else None
    if table is not None and row is None:
        listing.problems.append(Problem(file, "label", f"has no row in {table.path.name}"))
        return
    label = row.label if row else by_folder
    subject = named.subject or (row.subject if row else None)
    if label and named.label and label != named.label:
        source = table.path.name if table else f"its folder {path.parent.name}"
        message = f"is called {named.label} but stands as {label} in {source}"
        listing.problems.append(Problem(file, "label", message))
        return
    flags = ("subject-case",) if named.lower_case else ()
    listing.cells.append(
        CellFile(path, file, named.cell, label or named.label, subject, fold, flags)
    )


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
