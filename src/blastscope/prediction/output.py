"""Predictions in the shapes that others read: Parquet, CSV, JSON, and lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from blastscope import DISCLAIMER, __version__
from blastscope.io.files import without_nan, write_json
from blastscope.io.predictions import write_predictions

SUFFIXES = (".parquet", ".csv", ".json")
FORMAT = "blastscope-predictions/1"


def write_output(
    frame: pl.DataFrame, persons: pl.DataFrame | None, out: Path, about: Mapping[str, Any]
) -> None:
    """Write predictions, whole or not at all.

    Args:
        frame: a row an image.
        persons: a row a subject, which only JSON has room for; None where nothing is known.
        out: .parquet, .csv or .json.
        about: what made them; a CSV has no place for it.

    Raises:
        BlastscopeError: where ``out`` cannot be written.
    """
    if out.suffix.lower() != ".json":
        write_predictions(frame, out, about)
        return
    content = {
        "format": FORMAT,
        "made_by": f"blastscope {__version__}",
        "disclaimer": DISCLAIMER,
        **about,
        "cells": frame.to_dicts(),
        "subjects": [] if persons is None else persons.to_dicts(),
    }
    write_json(out, without_nan(content))


def json_lines(frame: pl.DataFrame) -> Iterator[str]:
    """Yield a JSON object a row, without what is null."""
    for row in frame.iter_rows(named=True):
        yield json.dumps({name: value for name, value in row.items() if value is not None})
