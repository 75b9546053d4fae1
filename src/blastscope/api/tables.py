"""What verbs are given: paths, frames of Polars or pandas, and names for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.api.result import AnyPath
from blastscope.data.store import Store, open_store
from blastscope.errors import BlastscopeError
from blastscope.evaluation.cell_measurements import CellMeasurements, cell_measurements
from blastscope.evaluation.sources import InMemoryTable

Source = Any
"""A path of a run or a prediction table, or a Polars or pandas frame."""
Models = Source | Iterable[Source] | Mapping[str, Source]


def as_frame(table: object) -> pl.DataFrame | None:
    """Return a Polars or pandas frame as Polars; None for anything else."""
    if isinstance(table, pl.DataFrame):
        return table
    if isinstance(table, pl.LazyFrame):
        return table.collect()
    if type(table).__module__.partition(".")[0] != "pandas" or not hasattr(table, "columns"):
        return None
    columns = {str(name): _values(table[name]) for name in table.columns}  # type: ignore[index]
    try:
        return pl.DataFrame(columns, strict=False)
    except (pl.exceptions.PolarsError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise BlastscopeError(f"The pandas table cannot be read ({reason}).") from error


def _values(column: Any) -> list[Any]:
    """Return a pandas column as a list, missing values as None; pyarrow is not needed."""
    missing = column.isna().tolist()
    return [None if gone else value for value, gone in zip(column.tolist(), missing, strict=True)]


def as_source(source: Source, name: str | None = None) -> Path | InMemoryTable:
    """Return a path, or a frame under the name that its model is to have."""
    frame = as_frame(source)
    if frame is not None:
        return InMemoryTable(frame, name)
    if isinstance(source, str | PathLike):
        return Path(source)
    raise BlastscopeError(
        f"{type(source).__name__} is neither a path nor a table: give the path of a run or of a "
        "prediction table, or a Polars or pandas frame."
    )


def as_models(models: Models) -> list[str | Path | InMemoryTable]:
    """Return one model or several; a mapping names them, and a text may be ``NAME=PATH``."""
    if isinstance(models, Mapping):
        return [_named(name, source) for name, source in models.items()]
    if isinstance(models, str | PathLike) or as_frame(models) is not None:
        models = [models]
    if not isinstance(models, Iterable):
        return [as_source(models)]
    return [one if isinstance(one, str) else as_source(one) for one in models]


def _named(name: str, source: Source) -> str | InMemoryTable:
    found = as_source(source, name)
    return found if isinstance(found, InMemoryTable) else f"{name}={found}"


def as_measured_cells(store: AnyPath | None) -> tuple[Store | None, CellMeasurements | None]:
    """Open a store and measure its cells; a cell table or a table of boxes has the sizes alone."""
    if store is None:
        return None, None
    path = Path(store)
    return None if path.is_file() else open_store(path), cell_measurements(path)


def as_run_paths(models: AnyPath | Iterable[AnyPath] | Mapping[str, AnyPath]) -> list[str | Path]:
    """Return models that must be folders: their networks are needed, not their predictions."""
    found: list[str | Path] = []
    for one in as_models(models):
        if isinstance(one, InMemoryTable):
            raise BlastscopeError(
                f"{one} has no network: give the folder of a run, an ensemble or a bundle."
            )
        found.append(one)
    return found
