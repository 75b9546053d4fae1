"""Measure what the baselines need: the size of each cell, and its colours if there are pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from blastscope.data.cell_sources import cells_from_names, read_names
from blastscope.data.cell_table import CELLS
from blastscope.data.store import open_store
from blastscope.data.traits import measure
from blastscope.errors import BlastscopeError
from blastscope.evaluation.baseline_rules import COLOURS
from blastscope.io.tables import read_table
from blastscope.io.text_tables import SUFFIXES, read_text_table


@dataclass(frozen=True)
class MeasuredCells:
    """Cells and what was measured of them.

    Attributes:
        cells: ``cell, label, subject, fold`` and the measured columns; labelled cells only.
        has_colours: whether ``COLOURS`` were measured; otherwise only ``SIZE``.
        synthetic: whether the cells are synthetic, if that is known.
    """

    cells: pl.DataFrame
    has_colours: bool
    synthetic: bool = False


def measure_cells(source: Path) -> MeasuredCells:
    """Measure the labelled cells of a store, a cell table or a table of boxes.

    A size is the longer side of a cell's box, in pixels of its image. From a store's pixels come
    the mean colours of the stain as well.

    Args:
        source: a store; a cell table (Parquet or CSV); or a CSV with the columns ``file, width,
            height``, its files named as C-NMC's are.

    Raises:
        BlastscopeError: if it is none of these, or a box is missing.
    """
    if source.is_dir():
        store = open_store(source)
        known = store.cells.filter(pl.col("label").is_not_null())
        colours = not store.settings.clahe  # CLAHE changes the stain
        if not colours:
            return MeasuredCells(_sized(known, source), False, store.synthetic)
        traits = measure(store, known).select("cell", *COLOURS)
        rows = known.select("cell", "label", "subject", "fold").join(traits, on="cell")
        return MeasuredCells(rows.drop_nulls(COLOURS), True, store.synthetic)
    if source.suffix.lower() in SUFFIXES and _is_of_boxes(source):
        return MeasuredCells(_read_boxes(source), False)
    table = read_table(source, CELLS)[0].filter(pl.col("label").is_not_null())
    return MeasuredCells(_sized(table, source), False)


def _sized(table: pl.DataFrame, source: Path) -> pl.DataFrame:
    size = pl.max_horizontal("box_w", "box_h").cast(pl.Float64)
    return _whole(table.select("cell", "label", "subject", "fold", size=size), source)


def _is_of_boxes(source: Path) -> bool:
    table = read_text_table(source)
    return all(table.column(name) for name in ("file", "width", "height"))


def _read_boxes(source: Path) -> pl.DataFrame:
    table = read_names(source, "file", "width", "height")
    cells = cells_from_names(table["file"].to_list(), source)
    sides = table.select(pl.col("width", "height").cast(pl.Float64, strict=False))
    size = sides.select(size=pl.max_horizontal("width", "height"))
    lacking = sides.select(pl.any_horizontal(pl.all().is_null())).to_series()
    with_size = pl.concat([cells, size], how="horizontal").with_columns(
        size=pl.when(~lacking).then("size")
    )
    with_size = with_size.select("cell", "label", "subject", "fold", "size")
    return _whole(with_size.filter(pl.col("label").is_not_null()), source)


def _whole(rows: pl.DataFrame, source: Path) -> pl.DataFrame:
    """Refuse cells without a size above zero."""
    bad = rows.filter(pl.col("size").is_null() | pl.col("size").is_nan() | (pl.col("size") <= 0))
    if bad.height:
        raise BlastscopeError(
            f"{source}: the cell {bad['cell'][0]} has no box of a size above zero "
            f"({bad.height} such): fill width and height."
        )
    if rows.is_empty():
        raise BlastscopeError(f"{source} has no labelled cells: baselines need labels.")
    return rows
