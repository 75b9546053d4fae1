"""The prediction table of new images, with those that cannot be used; and its files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from blastscope import DISCLAIMER, __version__
from blastscope.errors import writing
from blastscope.io.files import without_nan, write_json
from blastscope.io.predictions import PREDICTIONS, write_predictions
from blastscope.io.tables import write_csv, write_parquet
from blastscope.prediction.models import Prepared, Probabilities

SCHEMA = {
    "file": pl.String(),
    **PREDICTIONS.columns,
    "ood_score": pl.Float64(),
    "out_of_distribution": pl.Boolean(),
    "flags": pl.String(),
    "problem": pl.String(),
}
"""The columns before anything is decided; ``spread``, if asked for, comes before ``problem``."""
NEW = "test"
"""The split part that new cells count as."""
SUFFIXES = (".parquet", ".csv", ".json")
FORMAT = "blastscope-predictions/2"


@dataclass(frozen=True)
class Altered:
    """How many images were not used as they are.

    Attributes:
        several: files of several pictures, of which the first was used.
        transparent: images with transparency, which counts as black.
    """

    several: int
    transparent: int


def altered(frame: pl.DataFrame) -> Altered:
    """Count the rows of images that were not used as they are, by their ``flags``."""
    words = frame["flags"].drop_nulls().str.split(",")
    return Altered(*(int(words.list.contains(name).sum()) for name in ("frames", "alpha")))


@dataclass(frozen=True)
class PredictionRow:
    """An image: its names, why it cannot be used, if so, and what is known without a network."""

    file: str
    cell: str
    subject: str | None
    label: str | None
    problem: str | None = None
    flags: tuple[str, ...] = ()
    ood_score: float = math.nan


def rows_frame(
    rows: Sequence[PredictionRow],
    found: Probabilities | None,
    model: str,
    *,
    spread: bool = False,
) -> pl.DataFrame:
    """Make a table of rows, in their order.

    Args:
        rows: of images.
        found: the probabilities of those without a problem; None if there are none.
        spread: whether there is a column for it.
    """
    usable = [k for k, row in enumerate(rows) if row.problem is None]

    def placed(values: np.ndarray | None) -> list[float | None]:
        known = dict(zip(usable, [] if values is None else values.tolist(), strict=True))
        return [known.get(k) for k in range(len(rows))]

    # Lists: for so few rows they cost a fraction of what expressions do.
    ood = [None if math.isnan(row.ood_score) else row.ood_score for row in rows]
    names = ("file", "cell", "subject", "label")
    columns = {
        **{name: [getattr(row, name) for row in rows] for name in names},
        "part": [NEW] * len(rows),
        "model": [model] * len(rows),
        "p_all": placed(found.p_all if found else None),
        "ood_score": ood,
        "out_of_distribution": [None if value is None else value > 1 for value in ood],
        "flags": [",".join(row.flags) or None for row in rows],
    }
    if spread:
        columns["spread"] = placed(found.spread if found else None)
    columns["problem"] = [row.problem for row in rows]
    return pl.DataFrame(columns, {name: SCHEMA.get(name, pl.Float64()) for name in columns})


def stacked(prepared: Sequence[Prepared]) -> Prepared:
    """Stack single prepared cells, (S, S, 3) each, into batches (N, S, S, 3)."""
    settings = prepared[0].keys() if prepared else ()
    return {one: np.stack([cell[one] for cell in prepared]) for one in settings}


def subjects_file(out: Path) -> Path:
    """Return the file beside a table that has its subjects."""
    return out.with_stem(f"{out.stem}-subjects")


def names_beside(name: str, *, fields: bool) -> list[str]:
    """Return the names of what may come beside a table; ``fields``: its cells are of fields."""
    out = Path(name)
    found = [] if out.suffix.lower() == ".json" else [subjects_file(out).name]
    return [*found, fields_folder(out).name] if fields else found


def fields_folder(out: Path) -> Path:
    """Return the folder beside a table that has the cells cut out of fields."""
    return out.with_name(f"{out.stem}-fields")


def _is_of_subjects(path: Path) -> bool:
    """Whether a file is a table of subjects that was written beside predictions."""
    if not path.is_file():
        return False
    read = pl.scan_csv if path.suffix.lower() == ".csv" else pl.scan_parquet
    try:
        names = set(read(path.absolute(), glob=False).collect_schema())
    except (pl.exceptions.PolarsError, OSError):
        return False
    return {"subject", "called", "share", "line"} <= names


def write_table(
    frame: pl.DataFrame, subjects: pl.DataFrame | None, out: Path, about: Mapping[str, Any]
) -> None:
    """Write predictions as .parquet, .csv (without ``about``) or .json (with ``subjects``).

    Each file is written whole or not at all. ``subjects``, a row a subject, are in the JSON; beside
    another format they are in a file ``OUT-subjects``, and if there are none such a file of an
    older table goes.

    Raises:
        BlastscopeError: if ``out`` cannot be written.
    """
    if out.suffix.lower() != ".json":
        beside = subjects_file(out)
        if subjects is not None and not subjects.is_empty():
            write = write_csv if out.suffix.lower() == ".csv" else write_parquet
            write(subjects, beside)
        elif _is_of_subjects(beside):
            with writing(beside):
                beside.unlink()
        write_predictions(frame, out, about)
        return
    content = {
        "format": FORMAT,
        "made_by": f"blastscope {__version__}",
        "disclaimer": DISCLAIMER,
        **about,
        "cells": frame.to_dicts(),
        "subjects": [] if subjects is None else subjects.to_dicts(),
    }
    write_json(out, without_nan(content))


def json_lines(frame: pl.DataFrame) -> Iterator[str]:
    """Yield a JSON object a row, without what is null."""
    for row in frame.iter_rows(named=True):
        yield json.dumps({name: value for name, value in row.items() if value is not None})
