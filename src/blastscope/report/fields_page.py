"""The page of whole fields: each with its cells outlined by call, then that of predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from blastscope.data.images import UnusableImageError
from blastscope.errors import BlastscopeError
from blastscope.evaluation.metrics import THRESHOLD
from blastscope.prediction.predict import Predicted
from blastscope.report.fields_text import (
    cell_scale_text,
    converted_text,
    mostly_unlike,
    refused_text,
    scale_text,
    what_was_found,
)
from blastscope.report.html import small_uri
from blastscope.report.predictions_page import predictions_page
from blastscope.report.text import counted, number
from blastscope.segmentation.fields import read_field
from blastscope.segmentation.mask_files import read_own_labels
from blastscope.segmentation.overlay import COLOURS, overlay
from blastscope.segmentation.segment import Segmented

MOST_FIELDS = 40
"""Fields that are shown."""
KINDS = {
    "all": ("ALL", "called ALL"),
    "hem": ("N", "called normal"),
    "refer": ("?", "referred to an expert"),
    "ood": ("OOD", "out of distribution, no call"),
    "refused": ("R", "box only: refused, no call"),
}
"""The letters that stand beside an outline, and what they mean."""


def fields_page(found: Predicted, cells: Segmented) -> str:
    """Write the page of fields, as HTML that needs no other file and no network.

    Args:
        found: the predictions of the cells, in the order of ``cells.cells``.
        cells: what was segmented.
    """
    kinds = _kinds(found.frame)
    refused = kinds.count("refused")
    used = len(kinds) - refused
    ordered = _ordered(cells, kinds)
    shown = [_field(row, cells, kinds) for row in ordered[:MOST_FIELDS]]
    return predictions_page(
        found,
        fields={
            "title": f"Predictions for {counted(cells.fields.height, 'field')} of a smear",
            "warning": mostly_unlike(kinds.count("ood"), used),
            "found": what_was_found(cells),
            "refused": refused_text(refused, len(kinds)) if kinds else "",
            "total": cells.fields.height,
            "shown": shown,
            "legend": [
                (letter, _hex(COLOURS[kind]), sentence)
                for kind, (letter, sentence) in KINDS.items()
            ],
            "scale": [*converted_text(cells), scale_text(cells.scale), cell_scale_text()],
        },
    )


def _hex(colour: Sequence[int]) -> str:
    return "#" + "".join(f"{value:02x}" for value in colour)


def _kinds(frame: pl.DataFrame) -> list[str]:
    """Return what became of each cell, a key of ``KINDS``."""
    kinds = []
    for row in frame.iter_rows(named=True):
        if row["p_all"] is None:
            kinds.append("refused")
        elif row["out_of_distribution"]:
            kinds.append("ood")
        elif row.get("refer"):
            kinds.append("refer")
        else:
            kinds.append(row.get("called") or ("all" if row["p_all"] > THRESHOLD else "hem"))
    return kinds


def _ordered(cells: Segmented, kinds: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of fields, those with most cells called ALL first."""
    table = cells.cells.select("field").with_columns(kind=pl.Series(kinds, dtype=pl.String))
    called = table.filter(pl.col("kind") == "all").group_by("field").len("called_all")
    joined = cells.fields.with_row_index("row").join(called, on="field", how="left")
    joined = joined.with_columns(pl.col("called_all").fill_null(0), pl.col("cells").fill_null(-1))
    return joined.sort("called_all", "cells", "row", descending=[True, True, False]).to_dicts()


def _field(row: Mapping[str, Any], cells: Segmented, kinds: Sequence[str]) -> dict[str, Any]:
    """Return what is shown of a field."""
    if row["problem"]:
        return {"file": row["file"], "text": row["problem"], "picture": "", "problem": True}
    indices = [k for k, name in enumerate(cells.cells["field"]) if name == row["field"]]
    mine = [kinds[k] for k in indices]
    told = [
        f"{number(mine.count(kind))} {sentence.removeprefix('box only: ').split(',')[0]}"
        for kind, (_, sentence) in KINDS.items()
        if kind in mine
    ]
    text = f"{counted(len(mine), 'white cell')}" + (f": {', '.join(told)}" if told else "")
    return {
        "file": row["file"],
        "text": text if mine else "no white cells",
        "picture": _picture(row, cells, mine),
        "problem": False,
    }


def _picture(row: Mapping[str, Any], cells: Segmented, mine: Sequence[str]) -> str:
    """Draw a field that is read again; nothing if it cannot be read any more."""
    try:
        rgb = read_field(cells.paths[row["field"]])
        masks = cells.path / "masks" / f"{cells.stems[row['field']]}.tif"
        found = read_own_labels(masks, rgb.shape, len(mine))
    except (UnusableImageError, BlastscopeError):
        return ""
    texts = [f"{k} {KINDS[kind][0]}" for k, kind in enumerate(mine, 1)]
    return small_uri(overlay(rgb, found, mine, texts))
