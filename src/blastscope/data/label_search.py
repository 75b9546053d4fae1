"""Finding the labels of images: every table beside them is used, or named with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from blastscope.data.label_matching import Matched, Scope, match_rows, share_a_name
from blastscope.data.labels import (
    MAX_BYTES,
    LabelRow,
    LabelTable,
    NoLabelTableError,
    parse_label_table,
)
from blastscope.errors import BlastscopeError, listing
from blastscope.io import text_tables

PARENT = ".."
"""The folder of a table that lies beside the folder of the images, not in it."""


@dataclass(frozen=True)
class TableFile:
    """A file that may be a labels table.

    Attributes:
        path: what messages call it.
        folder: where it lies: a path from the folder of the images, ``""`` for that folder itself,
            or ``PARENT``.
        read: returns its bytes.
    """

    path: Path
    folder: str
    read: Callable[[], bytes]


def read_limited(path: Path) -> bytes:
    """Read a file, at most one byte more than a labels table may have.

    Raises:
        NoLabelTableError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise NoLabelTableError(f"it cannot be read ({error.strerror})") from error


@dataclass
class FoundLabels:
    """What tables say about images.

    Attributes:
        rows: by file; a file that no table names is missing.
        tables: the table behind each of them.
        required: files that a labels table should have a row for, and has not, with the table.
        notes: which tables were used, what was assumed, and which were not used and why.
    """

    rows: dict[str, LabelRow] = field(default_factory=dict)
    tables: dict[str, Path] = field(default_factory=dict)
    required: dict[str, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    spellings: dict[str, set[str]] = field(default_factory=dict)
    """How each subject is written."""

    def take(self, table: LabelTable, matched: Matched, files: Sequence[str], where: str) -> None:
        """Take in the rows of a table.

        Raises:
            BlastscopeError: if another table says something else of one file.
        """
        for file, row in matched.rows.items():
            before = self.rows.get(file)
            self.rows[file] = row if before is None else _joined(before, row, file, self, table)
            self.tables.setdefault(file, table.path)
        for each in table.named:
            if each.row.subject is not None and each.subject is not None:
                self.spellings.setdefault(each.row.subject, set()).add(each.subject.strip())
        what = "labels" if table.gives_labels else "subjects"
        self.notes.append(f"{what} of {len(matched.rows)} images in {where} from {table.path}")
        assumed = [*table.assumed, *matched.assumed]
        if assumed:
            self.notes.append(f"{table.path} was read with {', '.join(assumed)}")
        if matched.absent:
            self.notes.append(
                f"{table.path.name} lists {len(matched.absent)} files that are not in {where}"
            )
        if table.gives_labels:
            for file in files:
                if file not in matched.rows:
                    self.required.setdefault(file, table.path)


def find_labels(
    root: Path,
    files: Sequence[str],
    tables: Iterable[TableFile],
    *,
    above: tuple[str, ...] = (),
    beside: Callable[[], Iterable[str]] = tuple,
    strict: bool = True,
) -> FoundLabels:
    """Look for labels and subjects of images in the tables that lie in, or beside, their folder.

    A table in the folder is used if it names one of the images. A table beside the folder is used
    if it names every one of them, and no other folder there has images of the same bare names,
    unless the table's name begins with the folder's.

    Args:
        root: the folder of the images, for messages.
        files: the images, by their paths from ``root``.
        tables: what may be a table.
        above: the names of ``root`` and of folders above it, the nearest last.
        beside: returns the images of other folders beside ``root``.
        strict: whether a labels table that is wrong is an error; a note if not.

    Raises:
        BlastscopeError: if a labels table is wrong or two contradict each other, and ``strict``.
    """
    found = FoundLabels()
    for each in tables:
        try:
            reason = _use(found, root, files, each, above, beside)
        except NoLabelTableError as error:
            reason = None if each.folder == PARENT else str(error)
        except BlastscopeError as error:
            if each.folder == PARENT:
                reason = None
            elif strict:
                raise
            else:
                found.notes.append(f"no labels: {str(error).rstrip('.')}")
                reason = None
        if reason:
            found.notes.append(f"{each.path} was not used: {reason}")
    joined = [
        f"{subject} ({', '.join(map(repr, sorted(texts)))})"
        for subject, texts in sorted(found.spellings.items())
        if len(texts) > 1
    ]
    if joined:
        found.notes.append(
            f"subjects written in several ways, each taken for one: {listing(joined, 5)}"
        )
    return found


def _use(
    found: FoundLabels,
    root: Path,
    files: Sequence[str],
    each: TableFile,
    above: tuple[str, ...],
    beside: Callable[[], Iterable[str]],
) -> str | None:
    """Use a table; return the reason if it cannot be used."""
    if each.path.suffix.lower() not in text_tables.SUFFIXES:
        return "it is a spreadsheet: save it as CSV"
    table = parse_label_table(each.read(), each.path)
    if each.folder == PARENT:
        return _use_from_beside(found, root, files, table, above, beside)
    prefix = f"{each.folder}/" if each.folder else ""
    inside = [file for file in files if file.startswith(prefix)]
    inner = (*above, *PurePosixPath(each.folder).parts)
    matched = match_rows(table, Scope([file.removeprefix(prefix) for file in inside], inner))
    if not matched.rows:
        first = table.named[0].file
        return f"it names none of the images in its folder (its first row names {first})"
    matched.rows = {prefix + file: row for file, row in matched.rows.items()}
    found.take(table, matched, inside, str(root / each.folder))
    return None


def _use_from_beside(
    found: FoundLabels,
    root: Path,
    files: Sequence[str],
    table: LabelTable,
    above: tuple[str, ...],
    beside: Callable[[], Iterable[str]],
) -> str | None:
    matched = match_rows(table, Scope(files, above))
    if not matched.rows:
        return None
    if len(matched.rows) < len(files):
        return f"it names only {len(matched.rows)} of {len(files)} images in {root}"
    own = bool(above) and table.path.name.lower().startswith(above[-1].lower())
    other = None if own else share_a_name(table, beside())
    if other is not None:
        return (
            f"its names have no folders, and {other} is called like an image in {root}: write the "
            "folders into it, or give it as the labels table"
        )
    found.take(table, matched, files, str(root))
    return None


def _joined(
    before: LabelRow, row: LabelRow, file: str, found: FoundLabels, table: LabelTable
) -> LabelRow:
    """Join what two tables say about a file."""
    for what in ("label", "subject"):
        one, other = getattr(before, what), getattr(row, what)
        if one is not None and other is not None and one != other:
            raise BlastscopeError(
                f"{found.tables[file]} and {table.path} say different things of the {what} of "
                f"{file} ({one} and {other}): remove one of them, or say which is the labels table."
            )
    return LabelRow(before.label or row.label, before.subject or row.subject)
