"""Tables that other programs read: columns and versions are a contract, checked on reading.

``docs/formats.md`` documents every table. A Parquet file carries one metadata entry,
``blastscope``, a JSON object with the table's name, its version and what made it.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.errors import BlastscopeError
from blastscope.io.files import replacing
from blastscope.io.remote import refuse_remote
from blastscope.io.text_tables import SUFFIXES, DelimitedTable, read_text_table

METADATA_KEY = "blastscope"
LINE = "__line__"
"""The column of the lines of a text table, if they are asked for."""
_stderr_moved = threading.Lock()
"""Standard error is one for the whole process: two reads that move it would not put it back."""


@dataclass(frozen=True)
class TableFormat:
    """The name, version and columns of a kind of table."""

    name: str
    version: int
    columns: Mapping[str, pl.DataType]


def write_table(
    frame: pl.DataFrame, path: Path, form: TableFormat, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write ``frame`` as Parquet, whole or not at all, its columns in the contract's order.

    Columns beyond the contract are kept, after it.

    Raises:
        BlastscopeError: if the folder cannot be written.
    """
    extra = [name for name in frame.columns if name not in form.columns]
    ordered = frame.select([*form.columns, *extra]).cast(dict(form.columns))  # type: ignore[arg-type]
    note = {"table": form.name, "version": form.version, **(metadata or {})}
    write_parquet(ordered, path, {METADATA_KEY: json.dumps(note)})


def write_parquet(frame: pl.DataFrame, path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a Parquet file, whole or not at all.

    Raises:
        BlastscopeError: if the folder cannot be written, or the disk is full.
    """
    content = io.BytesIO()  # Polars reports a full disk by an error of its own
    frame.write_parquet(content, metadata=metadata)
    with replacing(path) as beside:
        beside.write_bytes(content.getbuffer())


def write_csv(frame: pl.DataFrame, path: Path) -> None:
    """Write a CSV file in UTF-8, whole or not at all.

    Raises:
        BlastscopeError: as :func:`write_parquet`.
    """
    content = io.BytesIO()
    frame.write_csv(content)
    with replacing(path) as beside:
        beside.write_bytes(content.getbuffer())


def read_parquet(path: Path) -> pl.DataFrame:
    """Read a Parquet file; no sign in its path has a meaning of its own."""
    with _no_panic():
        return pl.read_parquet(path.absolute(), glob=False)


def read_metadata(path: Path) -> dict[str, str]:
    """Read the metadata of a Parquet file; no sign in its path has a meaning of its own."""
    with _no_panic():
        return pl.read_parquet_metadata(path.absolute())


@contextmanager
def _no_panic() -> Iterator[None]:
    """Make Polars's panic on a damaged file an error like its others.

    It is not an ``Exception``, and Rust writes a page of its own to standard error before. Reads in
    other threads wait meanwhile.

    Raises:
        polars.exceptions.ComputeError: if Polars panics.
    """
    with _stderr_moved, tempfile.TemporaryFile() as said:
        try:
            kept = os.dup(2)
        except OSError:  # standard error is closed
            yield
            return
        os.dup2(said.fileno(), 2)
        try:
            yield
        except pl.exceptions.PanicException as error:
            said.truncate(0)
            reason = str(error).splitlines()[0]
            raise pl.exceptions.ComputeError(f"it is damaged: {reason}") from error
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            said.seek(0)
            os.write(2, said.read())


def read_table(
    path: Path, form: TableFormat, *, with_lines: bool = False
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Read a Parquet or CSV table and check it against its contract.

    Args:
        path: the file.
        form: the contract.
        with_lines: whether a column ``LINE`` says which line of the file a row is; rows of a
            Parquet file are counted from 1.

    Returns:
        The rows, and the metadata that was written with them; of a CSV, ``assumed``: what was
        assumed about its text.

    Raises:
        BlastscopeError: if the file is missing, is not a table, lacks a column, has a column of
            another type or is of another version.
    """
    frame, metadata, text = _read(path)
    if text is not None:
        text = text.renamed(str(path), *form.columns)
        frame = check_columns(text.frame, form, path, text)
        if with_lines:
            frame = frame.with_columns(text.lines.alias(LINE))
        return frame, {"assumed": list(text.assumed)} if text.assumed else {}
    version = metadata.get("version", form.version)
    if metadata.get("table", form.name) != form.name:
        raise BlastscopeError(f"{path} is a {metadata['table']} table: give a {form.name} table.")
    if version != form.version:
        raise BlastscopeError(
            f"{path} is a {form.name} table of version {version}; this blastscope reads version "
            f"{form.version}: make it again with this version."
        )
    frame = check_columns(frame, form, path)
    return frame.with_row_index(LINE, offset=1) if with_lines else frame, metadata


def check_columns(
    frame: pl.DataFrame, form: TableFormat, where: Path | str, text: DelimitedTable | None = None
) -> pl.DataFrame:
    """Check a table's columns against its contract, and give them the contract's types.

    Args:
        frame: the rows.
        form: the contract.
        where: what messages call the table.
        text: the text table that the rows are of; its numbers may have decimal commas.

    Raises:
        BlastscopeError: if a column is missing or of another type.
    """
    missing = [name for name in form.columns if name not in frame.columns]
    if missing:
        raise BlastscopeError(
            f"{where} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            f"a {form.name} table has {', '.join(form.columns)}, and this one "
            f"{', '.join(frame.columns[:12])}."
        )
    if text is not None:
        numbers = [name for name, kind in form.columns.items() if kind.is_numeric()]
        frame = frame.with_columns(text.numbers(name) for name in numbers)
    for name, kind in form.columns.items():
        _refuse_other_type(frame, name, kind, where, text)
    return frame.cast(dict(form.columns))  # type: ignore[arg-type]


def _refuse_other_type(
    frame: pl.DataFrame,
    name: str,
    kind: pl.DataType,
    where: Path | str,
    text: DelimitedTable | None,
) -> None:
    """Raise one sentence on the first value that is not of a column's type."""
    values = frame[name]
    try:
        if kind.is_numeric() and (values.dtype == pl.Boolean or values.dtype.is_temporal()):
            raise pl.exceptions.InvalidOperationError("True is not the probability 1")
        cast = values.cast(kind, strict=False)
    except pl.exceptions.PolarsError:
        raise BlastscopeError(
            f"{where}: the column {name} is of type {values.dtype}, and {kind} was expected."
        ) from None
    bad = cast.is_null() & values.is_not_null()
    if not bad.any():
        return
    row = int(bad.arg_true()[0])
    line = f", line {text.lines[row]}" if text is not None else f", row {row + 1}"
    expected = "a number with a decimal point" if kind.is_float() else f"a value of type {kind}"
    raise BlastscopeError(f"{where}{line}: {name} is '{values[row]}', and {expected} was expected.")


def read_part(path: Path, form: TableFormat) -> pl.DataFrame | None:
    """Read a part of unfinished work; None if it is missing or damaged, so that it is made again.

    Parts are written whole, but a crash of the machine may still cut one short.
    """
    try:
        return read_table(path, form)[0]
    except BlastscopeError:
        return None


def _read(path: Path) -> tuple[pl.DataFrame, dict[str, Any], DelimitedTable | None]:
    refuse_remote(path)
    if path.is_dir():
        raise BlastscopeError(f"{path} is a folder: give the path of a Parquet or CSV table.")
    if not path.is_file():
        raise BlastscopeError(f"{path} does not exist: give the path of a Parquet or CSV table.")
    if path.suffix.lower() in SUFFIXES:
        text = read_text_table(path)
        return text.frame, {}, text
    try:
        metadata = json.loads(read_metadata(path).get(METADATA_KEY, "{}"))
        return read_parquet(path), metadata if isinstance(metadata, dict) else {}, None
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise BlastscopeError(f"{path} cannot be read as a table ({reason}).") from error
