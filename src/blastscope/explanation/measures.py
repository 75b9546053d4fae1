"""Measure a model's attribution maps of some cells: one row per cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit

from blastscope.data.crop import Pixels
from blastscope.evaluation.metrics import THRESHOLD
from blastscope.explanation.attribution import attribute
from blastscope.explanation.cell_image import REGIONS, CellImage, Map
from blastscope.explanation.cells import ExplainedCells
from blastscope.explanation.deletion_insertion import curves, rival
from blastscope.explanation.map_measures import Shares, area_shares, radial_profile, shares
from blastscope.explanation.models import ExplainedModel
from blastscope.explanation.result import Attribution
from blastscope.explanation.size import logits_scaled, p_same_size, p_there_and_back
from blastscope.explanation.tables import AUDIT, CURVES, METHODS

_Columns = dict[str, Sequence[Any]]


def measure(
    model: ExplainedModel,
    dataset: ExplainedCells,
    rows: Sequence[int],
    methods: Sequence[str] = tuple(METHODS),
    found: Mapping[str, Attribution] | None = None,
    same_size: float | None = None,
    pictures: Sequence[CellImage] | None = None,
    others: bool = False,
    calls_all: NDArray[np.bool_] | None = None,
) -> pl.DataFrame:
    """Measure a model's attribution maps of some cells.

    Without occlusion there are no curves and nothing is rescaled: then only the probability and the
    maps themselves take a pass through the network.

    Args:
        rows: which of the cells; all their images are held in memory, so some 32 at a time.
        methods: of ``METHODS``.
        found: attributions of these cells that are known already, by method.
        same_size: the side in source pixels to which all cells are rescaled for ``p_same_size``,
            and there and back for ``p_there_and_back``.
        pictures: these cells, if they were read already, with the model's contour.
        others: whether each cell is also measured with the Grad-CAM map of another cell: the next
            of ``rows`` (the first for the last), for the call of that cell. Null if there is only
            one row; an empty map ranks pixels as the random map does.
        calls_all: whether each cell is called ALL, if something else than the threshold of one half
            has decided it.

    Returns:
        The columns of ``AUDIT``, in the order of ``rows``. ``agreement`` is null, and so is what
        was not asked for or does not exist.

    Raises:
        BlastscopeError: if the file of a cell is missing.
    """
    images = dataset.images(model.settings, rows)
    p_all = np.asarray(expit(model.logits(images, tta=True)), np.float64)
    if calls_all is None:
        calls_all = p_all > THRESHOLD
    seen = pictures or [dataset.cell_image(row, model.settings) for row in rows]
    known = found or {}
    attributions = {name: known.get(name) or attribute(model, images, name) for name in methods}
    maps = {name: one.at_size(model.size) for name, one in attributions.items()}
    called = {name: one.for_call(calls_all) for name, one in maps.items()}
    if others and "grad-cam" in called and len(rows) > 1:
        called["other"] = np.roll(called["grad-cam"], -1, axis=0)
    files = [dataset.files[row] for row in rows]
    columns: _Columns = {
        **{name: [getattr(item, name) for item in files] for name in ("cell", "subject", "label")},
        "model": [model.name] * len(files),
        "p_all": p_all.tolist(),
        "called": np.where(calls_all, "all", "hem").tolist(),
        "side": [one.side for one in seen],
        **_by_region(maps, called, [one.regions_at(model.settings) for one in seen]),
    }
    if "occlusion" in methods:
        rivals = rival(columns["cell"], model)
        for name, both in curves(model, images, called, rivals, calls_all).items():
            columns[f"deletion_{CURVES[name]}"] = both.deletion.tolist()
            columns[f"insertion_{CURVES[name]}"] = both.insertion.tolist()
        columns["logits_scaled"] = logits_scaled(model, seen).tolist()
        if same_size is not None:
            columns["p_same_size"] = p_same_size(model, seen, same_size).tolist()
            columns["p_there_and_back"] = p_there_and_back(model, seen, same_size).tolist()
    empty = [None] * len(files)
    data = {name: columns.get(name, empty) for name in AUDIT.columns}
    return pl.DataFrame(data, schema=dict(AUDIT.columns))


def _by_region(
    maps: Mapping[str, Attribution], called: Mapping[str, Map], regions: Sequence[Pixels]
) -> _Columns:
    """Return the columns of each region's area and attribution, and the profiles by radius."""
    found: dict[str, list[Shares | None]] = {"area": [area_shares(one) for one in regions]}
    for name, of in (("grad-cam", "grad_cam"), ("occlusion", "occlusion"), ("other", "other")):
        if name in called:
            found[of] = [shares(*pair) for pair in zip(called[name], regions, strict=True)]
    columns: _Columns = {
        f"{of}_{region}": [None if one is None else getattr(one, region) for one in each]
        for of, each in found.items()
        for region in REGIONS
    }
    if "grad-cam" in maps:
        pairs = zip(maps["grad-cam"].signed, regions, strict=True)
        columns["radius"] = nullable([radial_profile(*pair) for pair in pairs])
    return columns


def nullable(values: Sequence[NDArray[np.floating]] | NDArray[np.floating]) -> list[Any]:
    """Return rows of numbers as lists, with None for NaN."""
    return [[None if np.isnan(value) else float(value) for value in row] for row in values]
