"""Labels and subjects that come in a table: which columns count, and what each row says.

A table has a column of file names and a column of labels, of subjects, or both; the challenge's
preliminary set has ``Patient_ID,new_names,labels``, in which ``Patient_ID`` is the cell's original
name. Paths in a table are never opened. ``data.label_matching`` finds the images that rows name.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PureWindowsPath
from unicodedata import normalize

from blastscope.data.images import KNOWN_SUFFIXES
from blastscope.data.names import parse_label, parse_name
from blastscope.errors import BlastscopeError
from blastscope.io.remote import refuse_remote
from blastscope.io.subject_names import subject_name
from blastscope.io.text_tables import DelimitedTable, parse_text_table, plain_name, read_text_table

MAX_BYTES = 64 * 2**20
_FILE = (
    "new_names", "file", "filename", "file_name", "image", "image_id", "image_name", "img",
    "image_file", "image_path", "file_path", "path", "name",
)  # fmt: skip
_LABEL = ("labels", "label", "class", "class_label", "cell_label")
_SUBJECT = ("subject", "subject_id", "patient", "patient_id", "patientid", "subjectid", "person")
_PREDICTED = "p_all"
"""A column of prediction tables, which may have files and labels and yet give no labels."""
_FORMS = "a header file,label or file,subject or file,label,subject"


class NoLabelTableError(BlastscopeError):
    """A table gives no labels or subjects; the message is the reason, without the table's name."""


@dataclass(frozen=True)
class LabelRow:
    """What a labels table says of one file; None if it does not say it."""

    label: str | None
    subject: str | None


@dataclass(frozen=True)
class NamedRow:
    """A row of a labels table.

    Attributes:
        file: the file's name as it is written.
        folders: the folders before the name, as keys.
        key: the name without the suffix of an image, as a key.
        line: of the table's file.
        row: what it says.
        subject: the subject as it is written.
    """

    file: str
    folders: tuple[str, ...]
    key: str
    line: int
    row: LabelRow
    subject: str | None


@dataclass(frozen=True)
class LabelTable:
    """A labels table.

    Attributes:
        path: of the file; a name inside a zip follows the zip's.
        named: its rows in their order.
        assumed: what was assumed about its text or columns.
        gives_labels: whether it has a column of labels.
        instead_of_subjects: its columns that were not read, if none is of subjects.
    """

    path: Path
    named: tuple[NamedRow, ...] = ()
    assumed: tuple[str, ...] = ()
    gives_labels: bool = True
    instead_of_subjects: tuple[str, ...] = ()

    @cached_property
    def rows(self) -> dict[str, LabelRow]:
        """The rows by the key of their file's name, whatever its folders.

        Raises:
            BlastscopeError: if two rows of one name say different things.
        """
        found: dict[str, LabelRow] = {}
        for each in self.named:
            if found.setdefault(each.key, each.row) != each.row:
                raise BlastscopeError(
                    f"{self.path}, line {each.line}: {each.file} has the name of an earlier row "
                    "that says something else: write one row for each image."
                )
        return found


def name_key(name: str) -> str:
    """Return a file's or folder's name for comparisons: composed letters, lower case."""
    return normalize("NFC", name.strip()).casefold()


def file_key(name: str) -> str:
    """Return the key of a file's name without its suffix, if that is one of images."""
    key = name_key(name)
    stem, dot, suffix = key.rpartition(".")
    return stem if dot and stem and f".{suffix}" in KNOWN_SUFFIXES else key


def read_label_table(path: Path) -> LabelTable:
    """Read a labels table that the user gave.

    Raises:
        BlastscopeError: if it is missing or too large, lacks the columns, has a label that is
            none, gives one file two labels, or has two columns that contradict each other.
    """
    refuse_remote(path)
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise BlastscopeError(f"{path} {what}: give the path of a labels table.")
    try:
        return _labels_of(read_text_table(path, MAX_BYTES), path, given=True)
    except NoLabelTableError as error:
        raise BlastscopeError(f"{path} is not a labels table: {error}.") from error


def parse_label_table(data: bytes, path: Path) -> LabelTable:
    """Read a table that was found beside images.

    Args:
        data: its bytes.
        path: names it in messages.

    Raises:
        NoLabelTableError: if it is a table of something else.
        BlastscopeError: if it is a labels table and a row is wrong.
    """
    if len(data) > MAX_BYTES:
        raise NoLabelTableError(f"it is larger than {MAX_BYTES:,} bytes")
    return _labels_of(parse_text_table(data, str(path)), path, given=False)


def _labels_of(text: DelimitedTable, path: Path, given: bool) -> LabelTable:
    by_file, by_subject = _file_column(text, path), _subject_column(text, path)
    by_label = _label_column(text, path)
    has = ", ".join(text.frame.columns[:8])
    if by_file is None:
        raise NoLabelTableError(f"it has the columns {has}, and needs {_FORMS}")
    if text.column(_PREDICTED) and not given:
        raise NoLabelTableError("it is a table of predictions")
    if by_label is None and by_subject is None:
        raise NoLabelTableError(f"it has the columns {has}, and needs {_FORMS}")
    if by_subject in (by_file, by_label):
        by_subject = None
    columns = [text.frame[by_file].to_list()]
    columns += [
        text.frame[name].to_list() if name else [None] * text.frame.height
        for name in (by_label, by_subject)
    ]
    named: list[NamedRow] = []
    seen: dict[tuple[tuple[str, ...], str], NamedRow] = {}
    for line, file, label, subject in zip(text.lines, *columns, strict=True):
        row = _row(path, line, file, label, subject)
        first = seen.setdefault((row.folders, row.key), row)
        if first.row != row.row:
            raise BlastscopeError(
                f"{path}, line {line}, says something else of {row.file} than line {first.line}: "
                "keep one of them."
            )
        if first is row:
            named.append(row)
    if not named:
        raise NoLabelTableError("it has no rows")
    assumed = [*text.assumed, *_assumed(text, by_file, by_label, by_subject)]
    read = (*_FILE, *_LABEL, *_SUBJECT)
    unread = tuple(name for name in text.frame.columns if plain_name(name) not in read)
    unread = unread if by_subject is None else ()
    return LabelTable(path, tuple(named), tuple(assumed), by_label is not None, unread)


def _file_column(text: DelimitedTable, path: Path) -> str | None:
    """Return the column of file names; two of one name that differ are an error."""
    first = text.column(*_FILE)
    if first is None:
        return None
    for name in text.frame.columns:
        same = name != first and plain_name(name) == plain_name(first)
        if same and not text.frame[first].equals(text.frame[name], null_equal=True):
            raise BlastscopeError(
                f"{path} has two columns of file names that differ, {first} and {name}: remove "
                "one of them."
            )
    return first


def _label_column(text: DelimitedTable, path: Path) -> str | None:
    """Return the column of labels; two that say different things are an error."""
    columns = [name for name in text.frame.columns if plain_name(name) in _LABEL]
    if len(columns) < 2:
        return columns[0] if columns else None
    first, *others = ([_label_or_text(one) for one in text.frame[name]] for name in columns)
    for name, other in zip(columns[1:], others, strict=True):
        if first != other:
            raise BlastscopeError(
                f"{path} has two columns of labels that differ, {columns[0]} and {name}: remove "
                "one of them."
            )
    return columns[0]


def _label_or_text(text: str | None) -> str | None:
    """Return a label in its one spelling; what is none stays, for the message on its row."""
    try:
        return None if text is None else parse_label(text)
    except BlastscopeError:
        return text.lower() if text else None


def _subject_column(text: DelimitedTable, path: Path) -> str | None:
    """Return the column of subjects; two that tell the rows apart differently are an error."""
    first = text.column(*_SUBJECT)
    if first is None:
        return None
    for name in text.frame.columns:
        if name == first or plain_name(name) not in _SUBJECT:
            continue
        one, other = (list(map(_subject, text.frame[column])) for column in (first, name))
        if not len(set(zip(one, other, strict=True))) == len(set(one)) == len(set(other)):
            raise BlastscopeError(
                f"{path} has two columns of subjects that differ, {first} and {name}: remove one "
                "of them."
            )
    return first


def _assumed(text: DelimitedTable, file: str, label: str | None, subject: str | None) -> list[str]:
    """Name the columns that are called otherwise than in the documentation."""
    usual = {"file": _FILE[:3], "labels": _LABEL[:2], "subjects": ("subject", "patient_id")}
    found = {"file": file, "labels": label, "subjects": subject}
    said = [
        f"{what} in the column '{name}'"
        for what, name in found.items()
        if name and name.strip() not in usual[what] and name not in ("Patient_ID",)
    ]
    others = [name for name in text.frame.columns if name != file and plain_name(name) in _FILE]
    if others:
        said.append(f"file names from the column '{file}' and not from {', '.join(others)}")
    return said


def _row(path: Path, line: int, file: str | None, text: str | None, who: str | None) -> NamedRow:
    if file is None:
        raise BlastscopeError(f"{path}, line {line}, has no file name: complete it.")
    label = None
    if text is not None and subject_name(text) is not None:  # a word for a missing value is none
        try:
            label = parse_label(text)
        except BlastscopeError as error:
            raise BlastscopeError(f"{path}, line {line}: {error}") from None
    parts = PureWindowsPath(file.replace("\\", "/")).as_posix().split("/")
    folders = tuple(name_key(part) for part in parts[:-1] if part not in ("", "."))
    return NamedRow(file, folders, file_key(parts[-1]), line, LabelRow(label, _subject(who)), who)


def _subject(text: str | None) -> str | None:
    """Return the subject that a field names, by itself or by a file's name of C-NMC's form."""
    if text is None:
        return None
    return parse_name(PureWindowsPath(text).stem).subject or subject_name(text)
