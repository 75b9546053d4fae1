"""Labels that come in a table beside a flat folder of images.

Two forms are read: ``file,label`` (and ``subject``, where it is known), and the columns of the
challenge's preliminary set, ``Patient_ID,new_names,labels``, in which ``Patient_ID`` is the
cell's original name. Paths in a table are never opened: a row is found by its file's stem.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

from blastscope.data.names import parse_label, parse_name
from blastscope.errors import BlastscopeError, listing

MAX_BYTES = 64 * 2**20
_FILE = ("new_names", "file", "filename", "image")
_LABEL = ("labels", "label")
_SUBJECT = ("subject", "patient_id")
_PREDICTED = "p_all"
"""A column of prediction tables, which may have files and labels and yet give no labels."""


@dataclass(frozen=True)
class LabelRow:
    """What a labels table says of one file."""

    label: str
    subject: str | None


@dataclass(frozen=True)
class LabelTable:
    """A labels table: its rows by the lower-case stem of their file."""

    path: Path
    rows: dict[str, LabelRow] = field(default_factory=dict)

    def notes_for(self, names: Sequence[str], place: str) -> list[str]:
        """Say which rows have no image in ``place``; nothing where every row has one."""
        stems = {Path(name).stem.lower() for name in names}
        absent = sorted(stem for stem in self.rows if stem not in stems)
        if not absent:
            return []
        return [f"{self.path.name} lists {len(absent)} files that are not in {place}"]


def read_label_table(path: Path) -> LabelTable:
    """Read a labels table.

    Raises:
        BlastscopeError: if it is missing or too large, lacks the columns, has a label that is
            none, or gives one file two labels.
    """
    table = _read(path)
    if table is None:
        raise BlastscopeError(
            f"{path} is no labels table: that is a CSV in UTF-8, with a header file,label "
            "or file,label,subject or Patient_ID,new_names,labels."
        )
    return table


def find_label_table(place: Path, names: Sequence[str]) -> LabelTable | None:
    """Find the one labels table for the images ``names`` of the folder ``place``.

    In the folder itself, that is any table which names one of them. The challenge's lies beside
    its folder: in the folder above, it is a table that names every one of them, since tables of
    something else may lie there as well. A table of predictions is none, wherever it lies.

    Raises:
        BlastscopeError: if more than one table fits, or one in the folder itself is wrong.
    """
    stems = {Path(name).stem.lower() for name in names}
    own = [table for path in sorted(place.glob("*.csv")) if (table := _read(path, found=True))]
    fitting = [table for table in own if not stems.isdisjoint(table.rows)]
    if not fitting:
        for path in sorted(place.absolute().parent.glob("*.csv")):
            with suppress(BlastscopeError):
                if (table := _read(path, found=True)) and stems <= table.rows.keys():
                    fitting.append(table)
    if len(fitting) > 1:
        paths = listing([str(table.path) for table in fitting])
        raise BlastscopeError(f"{place} has more than one labels table ({paths}): give --labels.")
    return fitting[0] if fitting else None


def _read(path: Path, *, found: bool = False) -> LabelTable | None:
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
            by_file = next((columns[name] for name in _FILE if name in columns), None)
            by_label = next((columns[name] for name in _LABEL if name in columns), None)
            if by_file is None or by_label is None or (found and _PREDICTED in columns):
                return None
            by_subject = next((columns[name] for name in _SUBJECT if name in columns), None)
            table = LabelTable(path)
            for number, row in enumerate(reader, start=2):
                _add(table, number, row[by_file], row[by_label], row.get(by_subject or "", None))
            return table
    except OSError as error:
        raise BlastscopeError(f"{path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error):
        return None


def _add(
    table: LabelTable, number: int, file: str | None, text: str | None, person: str | None
) -> None:
    if not file or text is None:
        raise BlastscopeError(f"{table.path}, line {number}, lacks its file or label: complete it.")
    try:
        label = parse_label(text)
    except BlastscopeError as error:
        raise BlastscopeError(f"{table.path}, line {number}: {error}") from None
    subject = None
    if person and person.strip():
        named = parse_name(PureWindowsPath(person.strip()).stem)
        subject = named.subject or person.strip().upper()
    stem = PureWindowsPath(file.strip()).stem.lower()
    row = LabelRow(label, subject)
    if table.rows.setdefault(stem, row) != row:
        raise BlastscopeError(f"{table.path} says two things of {file}: keep one row of them.")
