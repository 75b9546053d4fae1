"""Measure cells for baselines and shortcuts: size, and from pixels colours and focus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl

from blastscope.data.cell_sources import cells_from_names, read_names
from blastscope.data.cell_table import CELLS
from blastscope.data.contradictions import refuse_contradictions
from blastscope.data.store import open_store
from blastscope.data.traits import measure
from blastscope.errors import BlastscopeError
from blastscope.evaluation.baseline_rules import COLOURS
from blastscope.io.tables import read_table
from blastscope.io.text_tables import SUFFIXES, read_text_table
from blastscope.ood.features import FEATURES, ood_features


@dataclass(frozen=True)
class CellMeasurements:
    """What is known of cells beside a model's probability.

    Attributes:
        path: the store, cell table or table of boxes.
        table: ``cell`` and ``size``; of a store also ``touches_frame``, ``edges`` (how sharp it is:
            the logarithm of the mean gradient of lightness) and, without CLAHE, the mean colours.
        labels: ``cell``, ``label`` and ``subject``, as the source has them.
    """

    path: Path
    table: pl.DataFrame
    labels: pl.DataFrame

    def refuse_contradictions(self, predictions: pl.DataFrame) -> None:
        """Refuse predictions that say different things of a cell's label or subject.

        Raises:
            BlastscopeError: if they do.
        """
        remedy = "give the store that they were made on"
        refuse_contradictions(predictions, "The predictions", self.labels, str(self.path), remedy)

    def of(self, cells: pl.Series, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the measurements of ``cells``, in their order.

        Raises:
            BlastscopeError: if a cell is not there.
        """
        wanted = self.table if columns is None else self.table.select("cell", *columns)
        joined = pl.DataFrame({"cell": cells}).join(
            wanted.with_columns(known=True), on="cell", how="left", maintain_order="left"
        )
        lost = joined.filter(pl.col("known").is_null())
        if lost.height:
            raise BlastscopeError(
                f"{self.path} lacks {lost.height} of {joined.height} cells of the predictions "
                f"(first: {lost['cell'][0]}): give the store that they were made on."
            )
        return joined.drop("cell", "known")


def cell_measurements(source: Path) -> CellMeasurements:
    """Measure all cells of a store, or read the sizes of a cell table or a table of boxes.

    Raises:
        BlastscopeError: if it is none of these, or a box is missing.
    """
    columns = ("cell", "label", "subject")
    if not source.is_dir():
        cells = measure_cells(source).cells
        return CellMeasurements(source, cells.select("cell", "size"), cells.select(columns))
    store = open_store(source)
    changed = (store.path / "store.json").stat().st_mtime_ns
    table = _of_store(source.resolve(), changed)
    return CellMeasurements(source, table, store.cells.select(columns))


@lru_cache(maxsize=4)
def _of_store(path: Path, changed: int) -> pl.DataFrame:
    """Measure a store once for all the models that are judged on it."""
    del changed  # what is asked for anew when the store is
    store = open_store(path)
    size = pl.max_horizontal("box_w", "box_h").cast(pl.Float64)
    touches = pl.col("flags").list.contains("frame")
    sizes = store.cells.select("cell", size=size, touches_frame=touches)
    features = [
        ood_features(some) for some in np.array_split(store.pixels, 1 + sizes.height // 512)
    ]
    edges = np.concatenate(features)[:, FEATURES.index("edges")]
    sizes = sizes.with_columns(edges=pl.Series(edges))
    if not store.settings.own_colours:
        return sizes
    colours = measure(store, store.cells).select("cell", *COLOURS[1:])
    return sizes.join(colours, on="cell", how="left", maintain_order="left")


_NAMED = ("cell", "label", "subject", "fold", "pixel_hash")


@dataclass(frozen=True)
class MeasuredCells:
    """Cells and what was measured of them.

    Attributes:
        cells: ``cell, label, subject, fold, pixel_hash`` and the measured columns; labelled cells
            only.
        has_colours: whether ``COLOURS`` were measured; otherwise only ``SIZE``.
        synthetic: whether the cells are synthetic, if that is known.
        store: the store that holds their pixels; None for a table.
    """

    cells: pl.DataFrame
    has_colours: bool
    synthetic: bool = False
    store: Path | None = None


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
        if not store.settings.own_colours:
            return MeasuredCells(_sized(known, source), False, store.synthetic, source)
        traits = measure(store, known).select("cell", *COLOURS)
        rows = known.select(_NAMED).join(traits, on="cell")
        return MeasuredCells(rows.drop_nulls(COLOURS), True, store.synthetic, source)
    if source.suffix.lower() in SUFFIXES and _is_of_boxes(source):
        return MeasuredCells(_read_boxes(source), False)
    table = read_table(source, CELLS)[0].filter(pl.col("label").is_not_null())
    return MeasuredCells(_sized(table, source), False)


def _sized(table: pl.DataFrame, source: Path) -> pl.DataFrame:
    size = pl.max_horizontal("box_w", "box_h").cast(pl.Float64)
    return _whole(table.select(*_NAMED, size=size), source)


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
    with_size = with_size.select(*_NAMED, "size")
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
