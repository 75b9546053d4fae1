"""Cells explained: what each model calls them, where its evidence lies, what its layers see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from blastscope.evaluation.metrics import THRESHOLD
from blastscope.explanation.activations import feature_maps
from blastscope.explanation.attribution import Attribution, attribute
from blastscope.explanation.cell_batch import CellBatch
from blastscope.explanation.cells import ExplainedCells
from blastscope.explanation.layer_choice import ChosenLayers, choose_layers
from blastscope.explanation.map_measures import agreement, combined_map
from blastscope.explanation.measures import measure, nullable
from blastscope.explanation.models import ExplainedModel, ExplainedModels
from blastscope.explanation.result import (
    CellExplained,
    CropAttribution,
    EnsembleExplained,
    ModelExplained,
    Note,
    NoteCode,
)
from blastscope.explanation.tables import METHODS

AT_ONCE = 8
"""Cells whose pictures and maps are held together; through a network they go as ``passes`` says."""


def explain_cells(
    explained: ExplainedModels,
    dataset: ExplainedCells,
    methods: Sequence[str] = tuple(METHODS),
    layers: Sequence[str] | None = None,
) -> Iterator[CellExplained]:
    """Explain all cells of ``dataset``, in their order.

    A few cells go through the networks at a time, and feature maps are made cell by cell, so that
    memory does not grow with the number of cells. Without occlusion there is one pass through
    each network for the probability and one for the map, and no curves are measured.

    Args:
        explained: the models.
        dataset: the cells, prepared for each of them.
        methods: of ``METHODS``.
        layers: names of layers for the feature maps; None for the first ones.

    Raises:
        BlastscopeError: where no model has a layer that is asked for, or a cell's file is gone.
    """
    chosen = choose_layers(explained.models, layers)
    for start in range(0, len(dataset), AT_ONCE):
        rows = range(start, min(start + AT_ONCE, len(dataset)))
        batch = CellBatch(explained.models, dataset, rows)
        found = [_through(model, batch, methods) for model in explained.models]
        for k in range(len(batch.rows)):
            yield _cell(explained, batch, k, tuple(methods), found, chosen)


@dataclass(frozen=True)
class _Through:
    """What a batch's passage through one network gives."""

    found: dict[str, Attribution]
    measured: list[dict[str, Any]]


def _through(model: ExplainedModel, batch: CellBatch, methods: Sequence[str]) -> _Through:
    images = batch.dataset.images(model.settings, batch.rows)
    found = {method: attribute(model, images, method) for method in methods}
    pictures = batch.cell_images(model)
    table = measure(model, batch.dataset, batch.rows, methods, found, pictures=pictures)
    return _Through(found, table.to_dicts())


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
        {name: _laid(one, batch, k, model) for name, one in through.found.items()}
        for model, through in zip(models, found, strict=True)
    ]
    alike = nullable(agreement(np.stack([maps[methods[0]].signed for maps in laid])))
    cells = tuple(
        _model(model, batch, k, maps, through.measured[k] | {"agreement": row}, layers)
        for model, maps, through, row, layers in zip(
            models, laid, found, alike, chosen, strict=True
        )
    )
    row, shown = batch.rows[k], batch.shown[k]
    ensemble = _ensemble(explained, cells, methods)
    return CellExplained(batch.dataset.files[row], shown, methods, cells, ensemble)


def _model(
    model: ExplainedModel,
    batch: CellBatch,
    k: int,
    laid: Mapping[str, CropAttribution],
    measured: Mapping[str, Any],
    chosen: ChosenLayers,
) -> ModelExplained:
    images = batch.dataset.images(model.settings, [batch.rows[k]])
    _, height, width = model.opened.shape
    return ModelExplained(
        model.name,
        measured["p_all"],
        measured["called"],
        model.opened.layer,
        (height, width),
        images[0].permute(1, 2, 0).numpy(),
        laid,
        feature_maps(model, images, chosen.layers),
        (*chosen.notes, *_map_notes(model, laid, measured["called"])),
        measured,
        model.parts.get(measured["cell"]),
    )


def _map_notes(
    model: ExplainedModel, laid: Mapping[str, CropAttribution], called: str
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


def _laid(found: Attribution, batch: CellBatch, k: int, model: ExplainedModel) -> CropAttribution:
    for_all, for_normal = (
        batch.aligned(maps[k], model, k) for maps in (found.for_all, found.for_normal)
    )
    return CropAttribution(for_all, for_normal)
