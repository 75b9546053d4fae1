"""All that can be measured of a model's maps of some cells, a row a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit

from blastscope.evaluation.metrics import THRESHOLD
from blastscope.explanation.attribution import METHODS, Attribution
from blastscope.explanation.batched import evidence_of, logits_of
from blastscope.explanation.cell_image import REGIONS, CellImage
from blastscope.explanation.cells import ExplainedCells
from blastscope.explanation.deletion_insertion import curves, rival
from blastscope.explanation.models import ExplainedModel
from blastscope.explanation.radius import radial_profile
from blastscope.explanation.region_shares import Shares, area_shares, shares
from blastscope.explanation.size import logits_scaled, p_same_size, p_there_and_back
from blastscope.io.tables import TableFormat

CELL_CURVES = {
    "grad-cam": "grad_cam", "grad-cam++": "grad_cam_pp", "occlusion": "occlusion",
    "random": "random",
}  # fmt: skip
"""What the columns of each method's curves end in, of those that a cell has by itself."""
CURVES = CELL_CURVES | {"other": "other"}
"""The same of all that a study has: also of another cell's map."""

_NUMBERS = pl.List(pl.Float64())
STUDY = TableFormat(
    "explanation study",
    1,
    {
        "cell": pl.String(),
        "subject": pl.String(),
        "label": pl.String(),
        "model": pl.String(),
        "p_all": pl.Float64(),
        "called": pl.String(),
        "side": pl.Int64(),
        **{f"{of}_{region}": pl.Float64() for of in ("heat", "area", "occlusion", "other")
           for region in REGIONS},
        **{f"{curve}_{name}": _NUMBERS for name in CURVES.values()
           for curve in ("deletion", "insertion")},
        "agreement": _NUMBERS,
        "radius": _NUMBERS,
        "logits_scaled": _NUMBERS,
        "p_same_size": pl.Float64(),
        "p_there_and_back": pl.Float64(),
    },
)  # fmt: skip

_Columns = dict[str, Sequence[Any]]


def measure(
    model: ExplainedModel,
    material: ExplainedCells,
    rows: Sequence[int],
    methods: Sequence[str] = tuple(METHODS),
    found: Mapping[str, Attribution] | None = None,
    same_size: float | None = None,
    pictures: Sequence[CellImage] | None = None,
    others: bool = False,
) -> pl.DataFrame:
    """Measure a model's maps of some cells.

    Without occlusion there are no curves and nothing is rescaled: that takes no pass through the
    network but for the probability and the maps themselves.

    Args:
        model: the network.
        material: the cells.
        rows: which of them; their pictures are all held in memory, so some 32 at a time.
        methods: of ``METHODS``.
        found: evidence in these cells that is at hand already, by method.
        same_size: the side in source pixels that all cells are given for ``p_same_size``, and
            there and back for ``p_there_and_back``.
        pictures: these cells, where they were read already, with the model's contour.
        others: whether each cell is also measured with another's Grad-CAM map, that of the next of
            ``rows`` (the first for the last) for what that one was called. Null where there is but
            one row; an empty map ranks pixels as the random one does.

    Returns:
        The columns of ``STUDY``, in the order of ``rows``. ``agreement`` is null, and so is what
        was not asked for or cannot be had.

    Raises:
        BlastscopeError: where a cell's file is gone.
    """
    images = material.images(model.settings, rows)
    p_all = np.asarray(expit(logits_of(model, images, every_view=True)), np.float64)
    calls_all = p_all > THRESHOLD
    seen = pictures or [material.picture(row, model.settings) for row in rows]
    known = {
        method: (found or {}).get(method) or evidence_of(model, images, method)
        for method in methods
    }
    maps = {method: one.at_size(model.size) for method, one in known.items() if method in methods}
    heat = {method: one.for_call(calls_all) for method, one in maps.items()}
    regions = [one.regions_at(model.settings) for one in seen]
    files = [material.files[row] for row in rows]
    columns: _Columns = {
        "cell": [item.cell for item in files],
        "subject": [item.subject for item in files],
        "label": [item.label for item in files],
        "model": [model.name] * len(files),
        "p_all": p_all.tolist(),
        "called": np.where(calls_all, "all", "hem").tolist(),
        "side": [one.side for one in seen],
        **_by_region("area", [area_shares(one) for one in regions]),
    }
    if others and "grad-cam" in heat and len(files) > 1:
        heat["other"] = np.roll(heat["grad-cam"], -1, axis=0)
    for name, of in (("grad-cam", "heat"), ("occlusion", "occlusion"), ("other", "other")):
        if name in heat:
            on = [shares(*pair) for pair in zip(heat[name], regions, strict=True)]
            columns |= _by_region(of, on)
    if "grad-cam" in maps:
        signed = maps["grad-cam"].signed
        profiles = [radial_profile(*pair) for pair in zip(signed, regions, strict=True)]
        columns["radius"] = nullable(profiles)
    if "occlusion" in methods:
        rivals = rival(columns["cell"], model)
        for name, both in curves(model, images, heat, rivals, calls_all).items():
            columns[f"deletion_{CURVES[name]}"] = both.deletion.tolist()
            columns[f"insertion_{CURVES[name]}"] = both.insertion.tolist()
        columns["logits_scaled"] = logits_scaled(model, seen).tolist()
        if same_size is not None:
            columns["p_same_size"] = p_same_size(model, seen, same_size).tolist()
            columns["p_there_and_back"] = p_there_and_back(model, seen, same_size).tolist()
    return _frame(columns, len(files))


def _by_region(of: str, found: Sequence[Shares | None]) -> _Columns:
    return {
        f"{of}_{region}": [None if one is None else getattr(one, region) for one in found]
        for region in REGIONS
    }


def nullable(values: Sequence[NDArray[np.floating]] | NDArray[np.floating]) -> list[Any]:
    """Return rows of numbers as lists, with None for NaN."""
    return [[None if np.isnan(value) else float(value) for value in row] for row in values]


def _frame(columns: _Columns, height: int) -> pl.DataFrame:
    empty = [None] * height
    data = {name: columns.get(name, empty) for name in STUDY.columns}
    return pl.DataFrame(data, schema=dict(STUDY.columns))
