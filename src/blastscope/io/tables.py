"""Tables that other programs read: columns and versions are a contract, checked on reading.

``docs/formats.md`` documents every table. A Parquet file carries one metadata entry,
``blastscope``, a JSON object with the table's name, its version and what made it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.errors import BlastscopeError
from blastscope.io.files import replacing

METADATA_KEY = "blastscope"


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
    with replacing(path) as beside:
        ordered.write_parquet(beside, metadata={METADATA_KEY: json.dumps(note)})


def read_table(path: Path, form: TableFormat) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Read a Parquet or CSV table and check it against its contract.

    Returns:
        The rows, and the metadata that was written with them (empty for a CSV).

    Raises:
        BlastscopeError: if the file is missing, is not a table, lacks a column, has a column of
            another type or is of another version.
    """
    frame, metadata = _read(path)
    version = metadata.get("version", form.version)
    if metadata.get("table", form.name) != form.name:
        raise BlastscopeError(f"{path} is a {metadata['table']} table: give a {form.name} table.")
    if version != form.version:
        raise BlastscopeError(
            f"{path} is a {form.name} table of version {version}; this blastscope reads version "
            f"{form.version}: make it again with this version."
        )
    return check_columns(frame, form, path), metadata


def check_columns(frame: pl.DataFrame, form: TableFormat, path: Path | str) -> pl.DataFrame:
    """Check a table's columns against its contract, and give them the contract's types.

    Raises:
        BlastscopeError: if a column is missing or of another type.
    """
    missing = [name for name in form.columns if name not in frame.columns]
    if missing and len(frame.columns) == 1 and ";" in frame.columns[0]:
        raise BlastscopeError(f"{path} has semicolons between its columns: save it with commas.")
    if missing:
        raise BlastscopeError(
            f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            f"a {form.name} table has {', '.join(form.columns)}."
        )
    try:
        return frame.cast(dict(form.columns))  # type: ignore[arg-type]
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise BlastscopeError(f"{path} has a column of the wrong type ({reason}).") from error


def read_part(path: Path, form: TableFormat) -> pl.DataFrame | None:
    """Read a part of unfinished work; None if it is missing or damaged, so that it is made again.

    Parts are written whole, but a crash of the machine may still cut one short.
    """
    try:
        return read_table(path, form)[0]
    except BlastscopeError:
        return None


def _read(path: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    if not path.is_file():
        raise BlastscopeError(f"{path} does not exist: give the path of a Parquet or CSV table.")
    try:
        if path.suffix.lower() == ".csv":
            return pl.read_csv(path, infer_schema=False), {}
        note = pl.read_parquet_metadata(path).get(METADATA_KEY, "{}")
        metadata = json.loads(note)
        return pl.read_parquet(path), metadata if isinstance(metadata, dict) else {}
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise BlastscopeError(f"{path} cannot be read as a table ({reason}).") from error
