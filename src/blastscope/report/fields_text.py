"""What is said of fields and their cells: on the screen and on the page."""

from __future__ import annotations

import polars as pl

from blastscope.data.check import MEANINGS
from blastscope.report.text import counted
from blastscope.segmentation.scale import C_NMC, RED_CELL, Scale
from blastscope.segmentation.segment import Segmented

MOSTLY = 0.5
"""The share of out-of-distribution cells above which nothing else is said first."""


def what_was_found(found: Segmented) -> str:
    """Say how many cells were found, and how many were refused."""
    used = found.fields.filter(pl.col("problem").is_null()).height
    fields = counted(used, "field")
    if found.cells.is_empty():
        return f"No white cells were found in {fields}."
    refused = int(found.cells["refused"].is_not_null().sum())
    told = f"{counted(len(found.cells), 'white cell')} in {fields}"
    if not refused:
        return f"{told}: all were cut out."
    return f"{told}: {len(found.cells) - refused:,} were cut out, {refused:,} refused."


def converted_text(found: Segmented) -> list[str]:
    """Count the fields that were not read as they are, by what was converted."""
    flags = found.fields["flags"].drop_nulls().str.split(",").explode().value_counts()
    counts = sorted(flags.iter_rows())
    return [f"{MEANINGS[flag][0].upper()}{MEANINGS[flag][1:]}: {n:,}." for flag, n in counts]


def scale_text(scale: Scale) -> str:
    """Say how the scale is known."""
    if scale.within is None:
        told = f"Scale: {scale.um_per_pixel:.3g} µm per pixel, as given."
        if not scale.is_contradicted:
            return told
        return (
            f"{told} Check it: the red cells of these fields show {scale.by_red_cells:.3g}, if a "
            f"red cell measures {RED_CELL} µm. Without --um-per-pixel that is taken."
        )
    return (
        f"Scale: {scale.um_per_pixel:.3g} µm per pixel ± {scale.within:.0%}, from "
        f"{scale.red_cells:,} red cells of {scale.diameter:.0f} pixels, if a red cell measures "
        f"{RED_CELL} µm. Give --um-per-pixel if you know it."
    )


def cell_scale_text() -> str:
    """Say at which scale cells are cut out."""
    return (
        f"Cells are cut out at {C_NMC} µm per pixel, the estimated scale of C-NMC: its makers do "
        "not state it."
    )


def mostly_unlike(outside: int, cells: int) -> str:
    """Warn if most cells are out of distribution; nothing if not."""
    if not cells or outside / cells <= MOSTLY:
        return ""
    return (
        f"Most cells are out of distribution: {outside:,} of {cells:,} are unlike every cell that "
        "the model was trained on. They have no call. A share of blasts among the others says "
        "nothing of this smear: the model does not know this stain, camera or magnification."
    )


def refused_text(refused: int, cells: int) -> str:
    """Say how many cells count for no share; empty if none was refused."""
    if not refused:
        return ""
    return (
        f"{refused:,} of {cells:,} cells that were found were refused, and count for no share: "
        "they could not be outlined surely, or the field's edge cuts them."
    )
