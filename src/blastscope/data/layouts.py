"""Reading a data set: which files are cells, of which class, subject and fold.

Layouts, which may stand side by side under one folder:

- ``fold_N/{all,hem}/`` and ``{all,hem}/``: the class is the name of the folder, or of the nearest
  one above it, unless a folder between them names another class (``ALL/all_benign``);
- any folders with a table of labels or subjects (``data/labels.py``), in them or beside, or given;
- a folder of images and nothing else: unlabelled cells;
- a WebDataset tar (``data/tars.py``).

If a file's name, its folder and a table say different things, the file is a problem until the user
says which of them to believe.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from posixpath import splitext
from typing import Literal, TypeAlias

from blastscope.data.folder_walk import TABLES, FolderContent, read_folder
from blastscope.data.images import SUFFIXES, Decoded, read_image
from blastscope.data.label_matching import Scope, match_rows
from blastscope.data.label_search import PARENT, FoundLabels, TableFile, find_labels, read_limited
from blastscope.data.labels import LabelRow, read_label_table
from blastscope.data.names import ALL, HEM, LABELS, parse_name, printable
from blastscope.data.synthetic import FIELD_TABLES, MARKER, is_marked
from blastscope.data.tars import is_tar, read_tar
from blastscope.errors import BlastscopeError
from blastscope.errors import listing as join
from blastscope.io.remote import refuse_remote
from blastscope.io.subject_names import look_alikes

Believe: TypeAlias = Literal["name", "folder", "table"]
"""What to believe if a file's name, its folder and a table say different things of its cell."""

_FOLD = re.compile(r"fold_?(\d+)", re.I)
_WORD = re.compile(r"[a-z]+")
_CLASS_WORDS = {
    HEM: frozenset(("hem", "normal", "healthy", "benign", "haematogone", "haematogones",
                    "hematogone", "hematogones", "control", "negative")),
    ALL: frozenset(("all", "blast", "blasts", "lymphoblast", "lymphoblasts", "leukemia",
                    "leukaemia", "leukemic", "leukaemic", "malignant", "positive")),
}  # fmt: skip
"""Words by which folders name a class; only ``all`` and ``hem`` alone give one."""
_MOST_NEIGHBOURS = 50
"""How many folders beside a data set are looked into for images of the same names."""


@dataclass(frozen=True)
class CellFile:
    """One image file and what its folder and name say about it."""

    path: Path
    file: str
    """The path inside the data set, with forward slashes."""
    cell: str
    label: str | None
    subject: str | None
    fold: str | None
    flags: tuple[str, ...] = ()
    source: Callable[[], Decoded] | None = field(default=None, compare=False, repr=False)
    """What reads it, if it is not a file of its own."""

    def decode(self) -> Decoded:
        """Read the image.

        Raises:
            UnusableImageError: if it cannot be used.
        """
        return read_image(self.path) if self.source is None else self.source()


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

    items: list[CellFile | Problem] = field(default_factory=list)
    """Cells and problems, in the order in which they were listed."""

    def add(self, item: CellFile | Problem) -> None:
        """Take in a file, usable or not."""
        self.items.append(item)
        if isinstance(item, CellFile):
            self.cells.append(item)
        else:
            self.problems.append(item)


def list_cells(
    folders: Sequence[Path], labels: Path | None = None, believe: Believe | None = None
) -> Listing:
    """List the cells under ``folders``, in an order that does not depend on the disk's.

    Files of one name in several folders get longer names of their cells; if the name is of C-NMC's
    form, which names one cell, every later file is a problem.

    Args:
        folders: the folders.
        labels: a labels table for all of them; none is looked for then.
        believe: what to believe if name, folder and table contradict each other.

    Raises:
        BlastscopeError: if a folder is missing or holds no image, or a labels table is wrong.
    """
    listing = list_files(folders, labels, believe=believe)
    _rename_namesakes(listing)
    return listing


def list_files(
    folders: Sequence[Path],
    labels: Path | None = None,
    *,
    strict: bool = True,
    believe: Believe | None = None,
) -> Listing:
    """List the image files under ``folders`` as :func:`list_cells` does, namesakes and all.

    If not ``strict``, a labels table that is wrong is a note rather than an error, and an image
    that it lacks a cell without a label rather than a problem.

    Raises:
        BlastscopeError: as :func:`list_cells` does.
    """
    refuse_twice(folders)
    listing = Listing()
    contents = []
    sources: dict[Path, tuple[Path, Callable[[], Decoded]]] = {}
    for folder in folders:
        if is_tar(folder):
            tar = read_tar(folder)
            contents.append(tar.content)
            sources |= {folder / name: (folder, read) for name, read in tar.sources.items()}
            listing.synthetic |= is_marked(folder.parent) or tar.content.marked
            listing.notes += tar.content.notes(str(folder))
            if not labels:
                base = base_of(folder, folders)
                _describe(listing, base, folder, tar.content.images, tar.known, strict, believe)
            continue
        refuse_remote(folder)
        if not folder.is_dir():
            raise BlastscopeError(
                f"{folder} is not a folder or a tar: give the folder that holds the cells."
            )
        content = read_folder(folder)
        contents.append(content)
        listing.synthetic |= is_marked(folder) or content.marked
        listing.notes += content.notes(str(folder))
        for name, reason in content.unreadable:
            message = f"cannot be read ({reason})"
            listing.problems.append(Problem(printable(name), "unreadable", message))
        if not labels:
            known = _look_for_labels(folder, content, strict)
            base = base_of(folder, folders)
            _describe(listing, base, folder, content.images, known, strict, believe)
    if labels:
        _apply_given(listing, folders, contents, labels, strict, believe)
    if not listing.cells and not listing.problems:
        where = ", ".join(map(str, folders))
        raise BlastscopeError(
            f"{where} holds no image ({', '.join(sorted(SUFFIXES))}): give the folder with the "
            "cells, for example C-NMC_training_data."
        )
    if sources:
        listing.cells = [_in_tar(item, *sources.get(item.path, ())) for item in listing.cells]
    listing.cells.sort(key=lambda item: (item.cell, item.file))
    alike = look_alikes(item.subject for item in listing.cells)
    if alike:
        groups = join([" and ".join(names) for names in alike], 5)
        listing.notes.append(
            f"subjects that may be one and are taken for several: {groups}: write each in one way"
        )
    return listing


def base_of(folder: Path, folders: Sequence[Path]) -> Path:
    """Return the folder from which the files of one of several folders are named.

    It is the folder itself if it is the only one, and else the one that holds it; if two have one
    name, the one that holds all of them, so that no two files are called alike.
    """
    if len(folders) == 1:
        return folder
    if len({one.name for one in folders}) == len(folders):
        return folder.parent
    return Path(os.path.commonpath([one.absolute() for one in folders]))


def refuse_twice(folders: Sequence[Path]) -> None:
    """Refuse a folder that is given twice or lies in another: its cells would count twice.

    Raises:
        BlastscopeError: if one is or does, also by a link.
    """
    places: dict[Path, Path] = {}
    for one in folders:
        place = one.resolve()
        if place in places:
            raise BlastscopeError(f"{one} is given twice: give each folder once.")
        places[place] = one
    for place, one in places.items():
        around = next((places[up] for up in place.parents if up in places), None)
        if around is not None and place.is_dir():
            raise BlastscopeError(f"{one} lies in {around}, which is given too: give one of them.")


def _in_tar(
    item: CellFile, tar: Path | None = None, read: Callable[[], Decoded] | None = None
) -> CellFile:
    return item if tar is None else replace(item, path=tar, source=read)


def list_some(root: Path, folder: Path, names: Sequence[str]) -> Listing:
    """List the files ``names`` of ``folder``, which the user named one by one.

    Args:
        root: the folder that the user gave, ``folder`` or one above it.
        folder: where they lie.
        names: their names; only these are listed.

    Returns:
        The files; ``items`` has them in the order of ``names``.
    """
    content = FolderContent(images=sorted(path.name for path in _files(folder) if _is_image(path)))
    content.images = sorted({*content.images, *names})
    content.tables = sorted(p.name for p in _files(folder) if p.suffix.lower() in TABLES)
    known = _look_for_labels(folder, content, False)
    listing = Listing(notes=known.notes, synthetic=is_marked(folder))
    listing.synthetic |= (folder / MARKER).is_file()
    _describe(listing, root, folder, names, known, False, None)
    return listing


def read_parts(parts: Sequence[str]) -> tuple[str | None, str | None]:
    """Return the class after which the last of some folders is called, and the fold.

    A folder's class does not count if a folder below it names the other one.
    """
    label = None
    for part in parts:
        word = part.strip().lower()
        if word in LABELS:
            label = word
        elif label and _CLASS_WORDS[HEM if label == ALL else ALL] & set(_WORD.findall(word)):
            label = None
    return label, next((m[1] for part in parts if (m := _FOLD.fullmatch(part))), None)


def describe(
    path: Path,
    file: str,
    by_folder: str | None,
    row: LabelRow | None,
    fold: str | None,
    table: str = "",
    believe: Believe | None = None,
) -> CellFile | Problem:
    """Put together what an image's name, its folder and a table say about it.

    Args:
        path: of the image.
        file: its path inside the data set.
        by_folder: the class after which its folder is called.
        row: what a table says of it.
        fold: the fold of its folder.
        table: the table's name, for messages.
        believe: what to believe if they contradict each other; without it that is a problem.
    """
    if printable(file) != file:  # no table could hold the name, no screen show it
        message = "has a name that cannot be printed: rename it"
        return Problem(printable(file), "name", message)
    named = parse_name(splitext(file.rpartition("/")[2])[0])
    row = row or LabelRow(None, None)
    labels = {
        "name": (named.label, f"is called {named.label}"),
        "folder": (by_folder, f"stands in a folder called {by_folder}"),
        "table": (row.label, f"stands as {row.label} in {table}"),
    }
    subjects = {
        "name": (named.subject, f"is of the subject {named.subject} by its name"),
        "table": (row.subject, f"of {row.subject} in {table}"),
    }
    said = {}
    for what, sources in (("label", labels), ("subject", subjects)):
        known = {key: value for key, value in sources.items() if value[0] is not None}
        values = {value for value, _ in known.values()}
        if len(values) > 1 and (believe not in known):
            return Problem(file, what, " but ".join(text for _, text in known.values()))
        chosen = known.get(believe or "") or next(iter(known.values()), (None, ""))
        said[what] = chosen[0]
    flags = ("subject-case",) if named.lower_case else ()
    return CellFile(path, file, named.cell, said["label"], said["subject"], fold, flags)


def _describe(
    listing: Listing,
    base: Path,
    folder: Path,
    files: Sequence[str],
    known: FoundLabels,
    strict: bool,
    believe: Believe | None,
) -> None:
    """Add the images of a folder, by what their names, folders and tables say."""
    known_as = folder.absolute() if base.is_absolute() else folder
    inner = known_as.relative_to(base).as_posix() if known_as != base else ""
    prefix = "" if inner in ("", ".") else f"{inner}/"
    listing.notes += known.notes
    further_up: Counter[str] = Counter()
    first = len(listing.items)
    names = (base.resolve().name, *known_as.relative_to(base).parts)
    for file in files:
        parts = (*names, *file.split("/")[:-1])
        label, fold = _parts_read(parts)
        if label and parts[-1].strip().lower() != label:
            further_up[label] += 1
        row = known.rows.get(file)
        if row and fold is None and "prelim" in parts[-1].lower():
            fold = "preliminary"
        table = known.tables[file].name if row else ""
        item = describe(folder / file, prefix + file, label, row, fold, table, believe)
        missing = known.required.get(file) if strict and not label and row is None else None
        if missing and isinstance(item, CellFile):
            item = Problem(item.file, "no-row", f"has no row in {missing.name}")
        listing.add(item)
    if note := note_on_class_folders(listing.items[first:]):
        listing.notes.append(note)
    for label, count in sorted(further_up.items()):
        listing.notes.append(
            f"{count} images in {folder} have their class, {label}, from a folder further up"
        )


_parts_read = cache(read_parts)


def note_on_class_folders(items: Iterable[CellFile | Problem]) -> str | None:
    """Return a note on folders of unlabelled images that are called like a class and give none."""
    cells = [item for item in items if isinstance(item, CellFile) and item.label is None]
    folders = sorted({part for item in cells for part in item.file.split("/")[:-1]})
    words = frozenset.union(*_CLASS_WORDS.values())
    found = [one for one in folders if words & set(_WORD.findall(one.lower()))]
    if not found and set(folders) == {"0", "1"}:
        found = folders
    if not found:
        return None
    return (
        f"folders that may be classes and are not read as such: {join(found, 5)}: call them all "
        "and hem, or give a table of labels"
    )


def _is_of_fields(table: Path) -> bool:
    """Whether a table is one of those of a folder of synthetic fields."""
    return table.name in FIELD_TABLES and table.with_name(MARKER).is_file()


def _look_for_labels(folder: Path, content: FolderContent, strict: bool) -> FoundLabels:
    """Find the labels of a folder's images in the tables in it and beside it."""
    parent = folder.absolute().parent
    inside = [
        TableFile(folder / name, name.rpartition("/")[0], partial(read_limited, folder / name))
        for name in content.tables
        if not _is_of_fields(folder / name)
    ]
    beside = [
        TableFile(path, PARENT, partial(read_limited, path))
        for path in sorted(_files(parent))
        if path.suffix.lower() in TABLES
    ]
    above = (folder.resolve().name,)

    def neighbours() -> Iterator[str]:
        others = [path for path in sorted(parent.iterdir()) if path.is_dir()]
        for other in others[:_MOST_NEIGHBOURS]:
            if not other.name.startswith(".") and other.resolve() != folder.resolve():
                for name in read_folder(other).images:
                    yield f"{other.name}/{name}"

    found = find_labels(folder, content.images, inside, above=above, strict=strict)
    if found.rows or all(map(_says_all, content.images)):
        return found
    more = find_labels(
        folder, content.images, beside, above=above, beside=neighbours, strict=strict
    )
    more.notes = [*found.notes, *more.notes]
    return more


def _apply_given(
    listing: Listing,
    folders: Sequence[Path],
    contents: Sequence[FolderContent],
    labels: Path,
    strict: bool,
    believe: Believe | None,
) -> None:
    """Describe all images, with the rows of the table that the user gave."""
    table = read_label_table(labels)
    several = len(folders) > 1
    alike = len({folder.name for folder in folders}) < len(folders)
    files = {
        f"{folder.as_posix() if alike else folder.name}/{name}" if several else name: (folder, name)
        for folder, content in zip(folders, contents, strict=True)
        for name in content.images
    }
    above = () if several else (folders[0].resolve().name,)
    matched = match_rows(table, Scope(list(files), above))
    if not matched.rows:
        raise BlastscopeError(
            f"{table.path} was not used, because it names none of the images: check its file names "
            f"(the first is {table.named[0].file})."
        )
    for folder, content in zip(folders, contents, strict=True):
        known = FoundLabels()
        of = {name: key for key, (home, name) in files.items() if home == folder}
        known.rows = {n: matched.rows[key] for n, key in of.items() if key in matched.rows}
        known.tables = dict.fromkeys(known.rows, table.path)
        if table.gives_labels:
            known.required = {name: table.path for name in of if name not in known.rows}
        base = base_of(folder, folders)
        _describe(listing, base, folder, content.images, known, strict, believe)
    listing.notes.append(f"labels of {len(matched.rows)} images from {table.path}")
    if matched.absent:
        listing.notes.append(
            f"{table.path.name} lists {len(matched.absent)} files that are not in "
            f"{', '.join(map(str, folders))}"
        )
    if table.instead_of_subjects:
        columns = join(table.instead_of_subjects)
        listing.notes.append(
            f"{table.path} has no column 'subject' or 'patient_id', so it tells no subjects; not "
            f"read: {columns}"
        )
    assumed = [*table.assumed, *matched.assumed]
    if assumed:
        listing.notes.append(f"{table.path} was read with {', '.join(assumed)}")


def _says_all(file: str) -> bool:
    """Whether an image's name says its subject and label."""
    return parse_name(splitext(file.rpartition("/")[2])[0]).subject is not None


def _files(folder: Path) -> list[Path]:
    try:
        return [p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")]
    except OSError:
        return []


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _rename_namesakes(listing: Listing) -> None:
    """Give files of one name longer names of their cells, or refuse the later of one cell's."""
    by_cell: dict[str, list[CellFile]] = defaultdict(list)
    for item in listing.cells:
        by_cell[item.cell].append(item)
    kept, longer = [], 0
    for items in by_cell.values():
        first, *others = items
        if not others:
            kept.append(first)
        elif parse_name(first.cell).subject is not None:
            kept.append(first)
            message = f"has the name of another cell, {first.file}"
            listing.problems += [Problem(item.file, "same-name", message) for item in others]
        else:
            longer += len(items)
            stems = [splitext(item.file)[0] for item in items]
            unique = len(set(stems)) == len(stems)
            kept += [
                replace(item, cell=stem if unique else item.file)
                for item, stem in zip(items, stems, strict=True)
            ]
    if longer:
        listing.notes.append(
            f"{longer} images have the name of another: their cells are called by their folders too"
        )
    listing.cells = sorted(kept, key=lambda item: (item.cell, item.file))
