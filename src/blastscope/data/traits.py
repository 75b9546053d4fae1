"""Measure a cell without any model: its size, its outline and its stain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import polars as pl

from blastscope.data.contradictions import refuse_contradictions
from blastscope.data.crop import Pixels
from blastscope.data.store import Store
from blastscope.errors import BlastscopeError


@dataclass(frozen=True)
class Trait:
    """A measured number: its column, how to say it, and what more and less of it is called."""

    column: str
    name: str
    unit: str
    digits: int
    more: str
    less: str


TRAITS = (
    Trait("size", "longer side", "px", 0, "larger", "smaller"),
    Trait("background", "background share", "", 3,
          "surrounded by more black background", "surrounded by less black background"),
    Trait("solidity", "solidity", "", 3,
          "more regular in outline (solidity)", "less regular in outline (solidity)"),
    Trait("eccentricity", "eccentricity", "", 3,
          "more elongated (eccentricity)", "rounder (eccentricity)"),
    Trait("lightness", "lightness L*", "", 1,
          "stained lighter (L*)", "stained darker (L*)"),
    Trait("a_star", "a* (green to red)", "", 1,
          "stained redder (a*)", "stained less red (a*)"),
    Trait("b_star", "b* (blue to yellow)", "", 1,
          "stained less blue (b*)", "stained bluer (b*)"),
)  # fmt: skip
"""The continuous traits. Size is in source pixels; colours are CIELAB, L* from 0 to 100."""

FLAGS = {"touches_frame": "touch the image's frame", "components": "lie in several pieces"}
"""The yes-or-no traits, as the store's cell table has them."""

_SHAPE = ("background", "solidity", "eccentricity", "lightness", "a_star", "b_star")
_RIM = np.ones((3, 3), np.uint8)


def measure(store: Store, cells: pl.DataFrame) -> pl.DataFrame:
    """Measure cells from their prepared pixels and the store's table.

    The background share is the part of a square, whose side is the longer side of the cell's box,
    that lies outside every outline. Solidity and eccentricity are of the largest outline;
    eccentricity is sqrt(1 - (b/a)²) of the ellipse with its second moments. Stain colour is the
    mean in CIELAB (sRGB, D65) over the foreground without its rim.

    Where a picture was shrunk its rim is mixed with black, the more of a cell the smaller it is. So
    the rim's colour is left out, and the outline is drawn at the source's scale where half the
    stain's brightness is reached: that mixing does not move. What is left on 156 C-NMC cells,
    against their unshrunk pixels: background .005 lower from a ``crop`` store of 120, .010 and .015
    from ``keep`` stores of 96 and 64; L* 0.1, 0.3 and 0.6 lower.

    Args:
        store: an open store that has all the cells.
        cells: ``cell`` and ``label``, a row a cell.

    Returns:
        ``cell``, the columns of ``TRAITS`` and ``FLAGS``, in the order of ``cells``. Shape is null
        if a ``keep`` store's field cuts the cell.

    Raises:
        BlastscopeError: if the store lacks cells, has other labels, or was made with CLAHE.
    """
    if store.settings.clahe:
        raise BlastscopeError(
            f"{store.path} was prepared with CLAHE, which lifts the black around a cell and "
            "changes its stain: give a store of the same cells without it."
        )
    if not store.settings.own_colours:
        raise BlastscopeError(
            f"{store.path} was prepared with --colour-normalization, which changes a cell's stain: "
            "give a store of the same cells without it."
        )
    known = _rows_of(store, cells)
    known = known.with_columns(size=pl.max_horizontal("box_w", "box_h").cast(pl.Float64))
    keeps, threshold = store.settings.scale == "keep", store.settings.threshold
    measured = [
        _shape_and_stain(store.pixels[row], threshold, store.settings.field if keeps else int(size))
        for row, size in known.select("row", "size").iter_rows()
    ]
    frame = pl.DataFrame(measured, schema=dict.fromkeys(_SHAPE, pl.Float64), orient="row")
    joined = pl.concat([known, frame], how="horizontal").with_columns(
        touches_frame=pl.col("flags").list.contains("frame"),
        components=pl.col("flags").list.contains("components"),
    )
    if keeps:
        joined = _from_field(joined, store.settings.field)
    columns = [trait.column for trait in TRAITS]
    return joined.select("cell", pl.col(columns).fill_nan(None), *FLAGS)


def _rows_of(store: Store, cells: pl.DataFrame) -> pl.DataFrame:
    held = store.cells.with_row_index("row")
    wanted = ["cell", "row", "box_w", "box_h", "flags"]
    known = cells.select("cell", "label").join(
        held.select(wanted), on="cell", how="left", maintain_order="left"
    )
    lost = known.filter(pl.col("row").is_null())
    if not lost.is_empty():
        raise BlastscopeError(
            f"{store.path} lacks {lost.height} of {known.height} cells of the predictions (first: "
            f"{lost['cell'][0]}): give a store with all of them, or none."
        )
    held = store.cells.select("cell", "label", "subject")
    if "subject" not in cells.columns:
        cells = cells.with_columns(subject=pl.lit(None, pl.String))
    refuse_contradictions(
        cells, "The predictions", held, str(store.path), "give the store that they were made on"
    )
    return known


def _shape_and_stain(pixels: Pixels, threshold: int, side: int) -> tuple[float, ...]:
    """Measure one picture of ``side`` source pixels; the first number is its own black share.

    All are NaN without a cell.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    _, mask = cv2.threshold(grey, threshold, 1, cv2.THRESH_BINARY)
    if not mask.any():
        return (float("nan"),) * len(_SHAPE)
    core = cv2.erode(mask, _RIM, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    inside = (core if core.any() else mask) > 0
    stain = cv2.cvtColor(pixels[inside][None].astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    colour = stain[0].mean(axis=0, dtype=np.float64)
    if side > len(grey):
        grey = cv2.resize(grey, (side, side), interpolation=cv2.INTER_LINEAR)
    half = max(float(threshold), float(np.median(grey[grey > threshold])) / 2)
    _, cell = cv2.threshold(grey, half, 1, cv2.THRESH_BINARY)
    outlines, _ = cv2.findContours(cell, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(cell, outlines, -1, 1, cv2.FILLED)  # dark chromatin is not background
    largest = max(outlines, key=cv2.contourArea)
    return (float(1 - cell.mean()), *_outline_shape(largest), *(float(v) for v in colour))


def _outline_shape(outline: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Return an outline's solidity and eccentricity; NaN if it encloses nothing."""
    area, hull = cv2.contourArea(outline), cv2.contourArea(cv2.convexHull(outline))
    moments = cv2.moments(outline)
    if not area or not hull:
        return float("nan"), float("nan")
    mixed = moments["mu11"]
    spread = [[moments["mu20"], mixed], [mixed, moments["mu02"]]]
    short, long = np.linalg.eigvalsh(np.array(spread))
    return area / hull, float(np.sqrt(max(0.0, 1 - short / long)))


def _from_field(frame: pl.DataFrame, field: int) -> pl.DataFrame:
    """Turn a field's black share into that of the cell's own square; a cut cell has no shape."""
    area = (1 - pl.col("background")) * field**2
    whole = ~pl.col("flags").list.contains("beyond-field")
    return frame.with_columns(background=1 - area / pl.col("size") ** 2).with_columns(
        pl.when(whole).then(pl.col(name)).alias(name)
        for name in ("background", "solidity", "eccentricity")
    )
