"""``cells.csv`` of an explanation: its columns, and a cell's rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from blastscope.explanation.cell_image import REGIONS
from blastscope.explanation.measures import CELL_CURVES, STUDY
from blastscope.explanation.result import CellExplained
from blastscope.report.explanation_pages import curve_areas

_SHARES = tuple(f"{of}_{region}" for of in ("heat", "area", "occlusion") for region in REGIONS)
_AREAS = tuple(
    f"{kind}_{name}" for name in CELL_CURVES.values() for kind in ("deletion", "insertion")
)
COLUMNS: dict[str, pl.DataType] = {
    **{name: STUDY.columns[name] for name in ("cell", "subject", "label", "model", "p_all")},
    "called": pl.String(),
    "right": pl.Boolean(),
    **dict.fromkeys((*_SHARES, "agreement", *_AREAS), pl.Float64()),
}


def table_rows(cell: CellExplained) -> Iterator[dict[str, Any]]:
    """Yield a cell's rows of ``cells.csv``: areas for curves, the mean for agreements."""
    item = cell.file
    shared = {"cell": item.cell, "subject": item.subject, "label": item.label}
    blank = dict.fromkeys(COLUMNS)
    for model in cell.models:
        alike = [value for value in model.measured["agreement"] if value is not None]
        yield (
            blank
            | shared
            | {
                "model": model.name,
                "p_all": model.p_all,
                "called": model.called,
                "right": cell.right(model.called),
                **{name: model.measured[name] for name in _SHARES},
                "agreement": sum(alike) / len(alike) if alike else None,
                **curve_areas(model.measured),
            }
        )
    if cell.ensemble is not None:
        whole = {"model": cell.ensemble.name, "p_all": cell.ensemble.p_all}
        called = cell.ensemble.called
        yield blank | shared | whole | {"called": called, "right": cell.right(called)}
