"""Where a split's cells come from: a store, a cell table, or a CSV that names the files."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath

import polars as pl

from blastscope.data.cell_table import CELLS
from blastscope.data.names import parse_name
from blastscope.data.store import INFO, TABLE, open_store
from blastscope.errors import BlastscopeError
from blastscope.io.subject_names import with_subject_names
from blastscope.io.tables import read_table
from blastscope.io.text_tables import SUFFIXES, read_text_table

_COLUMNS = ("cell", "label", "subject", "fold", "pixel_hash")


def read_cells(source: Path) -> pl.DataFrame:
    """Return ``cell, label, subject, fold, pixel_hash`` of a store, cell table or list of names.

    A list of names is a CSV with a column ``file`` in the C-NMC form, from which cell, subject
    and label are read. Subjects have their one spelling, and a row that is there twice counts once.

    Raises:
        BlastscopeError: if the source is none of these.
    """
    if source.is_dir() or not source.exists():
        if (source / TABLE).is_file() and not (source / INFO).is_file():
            source = source / TABLE
        else:
            return open_store(source).cells.select(_COLUMNS)
    if source.suffix.lower() not in SUFFIXES:
        cells = read_table(source, CELLS)[0].select(_COLUMNS)
    else:
        cells = cells_from_names(read_names(source, "file")["file"].to_list(), source)
    return with_subject_names(cells).unique(maintain_order=True)


def cells_from_names(names: list[str], source: Path) -> pl.DataFrame:
    """Read cells out of file names; ``source`` is named where one cannot be read."""
    parsed = [parse_name(PureWindowsPath(name).stem) for name in names]
    strange = [name for name, cell in zip(names, parsed, strict=True) if cell.subject is None]
    if strange:
        raise BlastscopeError(
            f"{source} names {strange[0]!r}, which is not of the form "
            "UID_<subject>_<image>_<cell>_<all|hem>: give a store, or names of that form."
        )
    rows = {
        "cell": [cell.cell for cell in parsed],
        "label": [cell.label for cell in parsed],
        "subject": [cell.subject for cell in parsed],
        "fold": [None] * len(parsed),
        "pixel_hash": [None] * len(parsed),
    }
    return pl.DataFrame(rows, schema=dict.fromkeys(_COLUMNS, pl.String()))


def read_names(path: Path, *columns: str) -> pl.DataFrame:
    """Read a CSV of text columns.

    Raises:
        BlastscopeError: if it is missing, not a CSV, or lacks one of ``columns``.
    """
    table = read_text_table(path).renamed(str(path), *columns)
    missing = [name for name in columns if name not in table.frame.columns]
    if missing:
        raise BlastscopeError(
            f"{path} lacks the column {missing[0]}: it needs {', '.join(columns)}, and has "
            f"{', '.join(table.frame.columns[:12])}."
        )
    numbers = [table.numbers(name).alias(name) for name in table.frame.columns]
    return table.frame.with_columns(numbers).fill_null("")
