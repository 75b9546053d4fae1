"""The cell table: a row a cell (``docs/formats.md``)."""

from __future__ import annotations

import polars as pl

from blastscope.io.tables import TableFormat

CELLS = TableFormat(
    name="cells",
    version=1,
    columns={
        "cell": pl.String(),
        "file": pl.String(),
        "label": pl.String(),
        "subject": pl.String(),
        "fold": pl.String(),
        "box_x": pl.Int32(),
        "box_y": pl.Int32(),
        "box_w": pl.Int32(),
        "box_h": pl.Int32(),
        "pixel_hash": pl.String(),
        "flags": pl.List(pl.String()),
    },
)

HASH = "xxh3_128"
"""The algorithm behind ``pixel_hash``: xxHash XXH3, 128 bits, over height, width and RGB bytes."""
