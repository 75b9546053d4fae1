"""Explain cells: each model's call, its attributions and the feature maps of its layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
)
from blastscope.explanation.tables import METHODS

AT_ONCE = 8
"""How many cells have their images and maps in memory together."""
_Through = tuple[dict[str, Attribution], list[dict[str, Any]]]
"""What a batch's pass through a network gives: attributions by method, and a row per cell."""


def explain_cells(
    explained: ExplainedModels,
    dataset: ExplainedCells,
    methods: Sequence[str] = tuple(METHODS),
    layers: Sequence[str] | None = None,
) -> Iterator[CellExplained]:
    """Explain all cells of ``dataset``, in their order, by some of ``METHODS``.

    A few cells go through the networks at a time, and feature maps are made cell by cell, so that
    memory does not grow with the number of cells. Without occlusion there is one pass through each
    network for the probability and one for the map, and no curves are measured. ``layers`` are
    names of layers for the feature maps; None means the first ones.

    Raises:
        BlastscopeError: if no model has a layer that is asked for, or a cell's file is gone.
    """
    chosen = choose_layers(explained.models, layers)
    for start in range(0, len(dataset), AT_ONCE):
        rows = range(start, min(start + AT_ONCE, len(dataset)))
        batch = CellBatch(explained.models, dataset, rows)
        found = [_through(model, batch, methods) for model in explained.models]
        for k in range(len(batch.rows)):
            yield _cell(explained, batch, k, tuple(methods), found, chosen)


def _through(model: ExplainedModel, batch: CellBatch, methods: Sequence[str]) -> _Through:
    images = batch.dataset.images(model.settings, batch.rows)
    found = {method: attribute(model, images, method) for method in methods}
    pictures = batch.cell_images(model)
    table = measure(model, batch.dataset, batch.rows, methods, found, pictures=pictures)
    return found, table.to_dicts()


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
    fields = min(model.opened.shape[1:])
    for method, maps in laid.items():
        if method != "occlusion" and fields < 2:
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
