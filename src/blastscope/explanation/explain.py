"""Explain cells: each model's call, its attributions and the feature maps of its layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from blastscope.evaluation.metrics import THRESHOLD
from blastscope.explanation.activations import feature_maps
from blastscope.explanation.attribution import attribute
from blastscope.explanation.cells import CellBatch, ExplainedCells
from blastscope.explanation.layer_choice import ChosenLayers, choose_layers
from blastscope.explanation.map_measures import agreement, combined_map
from blastscope.explanation.measures import measure, nullable
from blastscope.explanation.models import ExplainedModel, ExplainedModels
from blastscope.explanation.result import (
    Attribution,
    CellExplained,
    EnsembleExplained,
    ModelExplained,
    Note,
    NoteCode,
    TableCall,
)
from blastscope.explanation.tables import METHODS

AT_ONCE = 8
"""How many cells have their images and maps in memory together."""
_Through = tuple[dict[str, Attribution], list[dict[str, Any]]]
"""What a batch's pass through a network gives: attributions by method, and a row per cell."""


@dataclass(frozen=True)
class FirstMaps:
    """The attributions of all cells by one method, so that their heatmaps can share a scale."""

    # By batch and model, on the method's own grid: some 400 bytes a cell of Grad-CAM.
    batches: tuple[tuple[Attribution, ...], ...]
    # The strongest attribution of each model to a class, over all cells.
    scales: tuple[float, ...]


def first_maps(explained: ExplainedModels, dataset: ExplainedCells, method: str) -> FirstMaps:
    """Compute the attributions of all cells by ``method``, before the first cell is drawn."""
    batches = tuple(
        tuple(
            attribute(one, dataset.images(one.settings, rows), method) for one in explained.models
        )
        for rows in _batches(len(dataset))
    )
    peaks = [[_peak(one) for one in batch] for batch in batches]
    return FirstMaps(batches, tuple(map(max, zip(*peaks, strict=True))))


def _batches(cells: int) -> list[range]:
    return [range(start, min(start + AT_ONCE, cells)) for start in range(0, cells, AT_ONCE)]


def _peak(found: Attribution) -> float:
    return float(max(found.for_all.max(initial=0), found.for_normal.max(initial=0)))


def explain_cells(
    explained: ExplainedModels,
    dataset: ExplainedCells,
    methods: Sequence[str] = tuple(METHODS),
    layers: Sequence[str] | None = None,
    *,
    first: FirstMaps | None = None,
    table: Mapping[Path, TableCall] | None = None,
) -> Iterator[CellExplained]:
    """Explain all cells of ``dataset``, in their order, by some of ``METHODS``.

    A few cells go through the networks at a time, and feature maps are made cell by cell, so that
    memory does not grow with the number of cells. Without occlusion there is one pass through each
    network for the probability and one for the map, and no curves are measured.

    Args:
        layers: names of layers for the feature maps; None means the first ones.
        first: the attributions by the first of ``methods``, with the scales that all cells share;
            without them each cell has its own scale.
        table: what a prediction table says of the cells, by their files: then the calls, and the
            probability of the whole, are the table's.

    Raises:
        BlastscopeError: if no model has a layer that is asked for, or a cell's file is gone.
    """
    chosen = choose_layers(explained.models, layers)
    for place, rows in enumerate(_batches(len(dataset))):
        batch = CellBatch(explained.models, dataset, rows)
        said = [table[dataset.files[row].path] for row in rows] if table else None
        found = [
            _through(model, batch, methods, first.batches[place][k] if first else None, said)
            for k, model in enumerate(explained.models)
        ]
        for k in range(len(batch.rows)):
            cell = _cell(explained, batch, k, tuple(methods), found, chosen)
            if first:
                cell = _on_scale(cell, first, explained)
            yield _as_table(cell, said[k]) if said else cell


def _through(
    model: ExplainedModel,
    batch: CellBatch,
    methods: Sequence[str],
    first: Attribution | None,
    said: Sequence[TableCall] | None,
) -> _Through:
    images = batch.dataset.images(model.settings, batch.rows)
    found = {} if first is None else {methods[0]: first}
    for method in methods[len(found) :]:
        found[method] = attribute(model, images, method)
    measured = measure(
        model, batch.dataset, batch.rows, methods, found,
        pictures=batch.cell_images(model),
        calls_all=None if said is None else np.array([one.called == "all" for one in said]),
    )  # fmt: skip
    return found, measured.to_dicts()


def _on_scale(cell: CellExplained, first: FirstMaps, explained: ExplainedModels) -> CellExplained:
    """Give a cell's heatmaps the scales that all cells share."""
    pairs = zip(cell.models, first.scales, strict=True)
    models = tuple(replace(model, scale=scale) for model, scale in pairs)
    whole, rule = cell.ensemble, explained.combination
    if whole is not None and rule is not None:
        maps = [model.attributions[cell.methods[0]].signed for model in models]
        whole = replace(whole, on_scale=combined_map(maps, rule, first.scales))
    return replace(cell, models=models, ensemble=whole)


def _as_table(cell: CellExplained, said: TableCall) -> CellExplained:
    """Give a cell the probability and the call of the table, in place of the networks' own."""
    if cell.ensemble is None:
        return replace(cell, models=(replace(cell.models[0], p_all=said.p_all),), table=said)
    whole = replace(cell.ensemble, p_all=said.p_all, called=said.called)
    return replace(cell, ensemble=whole, table=said)


def _cell(
    explained: ExplainedModels,
    batch: CellBatch,
    k: int,
    methods: tuple[str, ...],
    found: Sequence[_Through],
    chosen: Sequence[ChosenLayers],
) -> CellExplained:
    models = explained.models
    laid = [
        {name: _laid(one, batch, k, model) for name, one in attributions.items()}
        for model, (attributions, _) in zip(models, found, strict=True)
    ]
    alike = nullable(agreement(np.stack([maps[methods[0]].signed for maps in laid])))
    rows = [rows[k] | {"agreement": row} for (_, rows), row in zip(found, alike, strict=True)]
    of_models = zip(models, laid, rows, chosen, strict=True)
    cells = tuple(
        _model(model, batch, k, maps, row, layers) for model, maps, row, layers in of_models
    )
    row, shown = batch.rows[k], batch.shown[k]
    ensemble = _ensemble(explained, cells, methods)
    return CellExplained(batch.dataset.files[row], shown, methods, cells, ensemble)


def _model(
    model: ExplainedModel,
    batch: CellBatch,
    k: int,
    laid: Mapping[str, Attribution],
    measured: Mapping[str, Any],
    chosen: ChosenLayers,
) -> ModelExplained:
    images = batch.dataset.images(model.settings, [batch.rows[k]])
    _, height, width = model.opened.shape
    return ModelExplained(
        name=model.name,
        p_all=measured["p_all"],
        called=measured["called"],
        target_layer=model.opened.layer,
        grid=(height, width),
        seen=images[0].permute(1, 2, 0).numpy(),
        attributions=laid,
        layers=feature_maps(model, images, chosen.layers),
        notes=(*chosen.notes, *_map_notes(model, laid, measured["called"])),
        measured=measured,
        part=model.parts.get(measured["cell"]),
    )


def _map_notes(
    model: ExplainedModel, laid: Mapping[str, Attribution], called: str
) -> Iterator[Note]:
    """Yield a note on each method that does not apply, or has no attribution for the call."""
    positions = min(model.opened.shape[1:])
    for method, maps in laid.items():
        if method != "occlusion" and positions < 2:
            yield Note(NoteCode.SINGLE_FIELD, model.name, (method,))
        elif not (maps.for_all if called == "all" else maps.for_normal).any():
            yield Note(NoteCode.NO_ATTRIBUTION, model.name, (method, called))


def _ensemble(
    explained: ExplainedModels, models: Sequence[ModelExplained], methods: Sequence[str]
) -> EnsembleExplained | None:
    rule = explained.combination
    if rule is None:
        return None
    p_all = float(rule.apply(np.array([[model.p_all for model in models]]))[0])
    signed = {
        method: combined_map([model.attributions[method].signed for model in models], rule)
        for method in methods
    }
    called = "all" if p_all > THRESHOLD else "hem"
    return EnsembleExplained(explained.name, p_all, called, signed)


def _laid(found: Attribution, batch: CellBatch, k: int, model: ExplainedModel) -> Attribution:
    maps = (found.for_all[k], found.for_normal[k])
    return Attribution(*(batch.aligned(one, model, k) for one in maps))
