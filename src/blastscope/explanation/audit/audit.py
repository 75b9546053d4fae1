"""Run an audit: every measure of several models' maps on a whole part of a split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from blastscope import __version__
from blastscope.data.layouts import Listing
from blastscope.errors import BlastscopeError
from blastscope.evaluation.aligned_predictions import align_predictions
from blastscope.explanation.attribution import BLUR, STRIDE, WINDOW
from blastscope.explanation.audit.partial_audit import BATCH, PartialAudit
from blastscope.explanation.cell_sources import list_data
from blastscope.explanation.cells import ExplainedCells
from blastscope.explanation.deletion_insertion import STEPS
from blastscope.explanation.layer_groups import GROUPS
from blastscope.explanation.map_measures import RADII, SIDE
from blastscope.explanation.models import ExplainedModels
from blastscope.explanation.sanity_checks import DRAWS, SAMPLE, SEED
from blastscope.explanation.tables import AUDIT, METHODS, RANDOMIZATION, SCALES
from blastscope.io.files import only_one, remove_folder
from blastscope.io.tables import read_table, write_table

CELLS_FILE, RANDOMIZATION_FILE, _PARTS = "audit.parquet", "randomization.parquet", ".audit"


@dataclass(frozen=True)
class Audit:
    """The tables of an audit.

    Attributes:
        cells: the columns of ``AUDIT``, one row per cell and model; those of the first model first.
        randomization: the columns of ``RANDOMIZATION``.
    """

    cells: pl.DataFrame
    randomization: pl.DataFrame


def audit_cells(given: Sequence[str | Path], part: str, data: Sequence[Path]) -> Listing:
    """List the cells of a part, as the models' own predictions have it, with their images.

    Args:
        given: the models, as for ``align_predictions``.
        part: ``train``, ``val`` or ``test``.
        data: where the images are, as for ``list_data``.

    Raises:
        BlastscopeError: if the models were not predicted on the same cells, or a cell is not in
            ``data`` or has another label there.
    """
    cells = align_predictions(given).every(part).cells
    known = list_data(data)
    by_name = {item.cell: item for item in known.cells}
    lost = [name for name in cells["cell"] if name not in by_name]
    where = ", ".join(str(path) for path in data)
    if lost:
        raise BlastscopeError(
            f"{where} lacks {len(lost)} of the {cells.height} {part} cells of the predictions "
            f"(first: {lost[0]}): give the data that the models were trained on."
        )
    found = []
    for name, subject, label in cells.select("cell", "subject", "label").iter_rows():
        item = by_name[name]
        if label and item.label and label != item.label:
            raise BlastscopeError(
                f"{where} has the label '{item.label}' for the cell '{name}', where the "
                f"predictions have '{label}': give the data that the models were trained on."
            )
        found.append(replace(item, label=label or item.label, subject=subject or item.subject))
    return Listing(found, synthetic=known.synthetic)


def run_audit(
    explained: ExplainedModels,
    dataset: ExplainedCells,
    out: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Measure every model on every cell, and write ``audit.parquet`` and ``randomization.parquet``.

    By batches of 32 cells, so that memory hardly grows with their number. What is done lies in
    ``out/.audit`` until all is: an audit that was killed goes on there, and one of other models or
    cells begins anew. An audit that is in ``out`` already is read.

    Args:
        explained: the models.
        dataset: the cells, prepared for each of the models.
        out: the folder to write to.
        on_progress: called with how many cells are done and their total; each counts once a
            model, and those of the randomization test once more.

    Raises:
        BlastscopeError: if a cell's file is gone, a model's probability for a cell is not the one
            its run recorded, ``out`` cannot be written, or another process writes it.
    """
    identity = _identity(explained, dataset)
    with only_one((out / CELLS_FILE).absolute()):
        found = _finished(out, identity)
        if found is None:
            parts = PartialAudit(out / _PARTS, explained, dataset)
            parts.begin(identity)
            parts.fill(on_progress)
            found = Audit(*parts.join())
            about = {"identity": identity, "synthetic": explained.synthetic or dataset.synthetic}
            write_table(found.cells, out / CELLS_FILE, AUDIT, about)
            write_table(found.randomization, out / RANDOMIZATION_FILE, RANDOMIZATION, about)
        remove_folder(out / _PARTS)
    return found


def _identity(explained: ExplainedModels, dataset: ExplainedCells) -> dict[str, Any]:
    """Return all that the numbers follow from, in types that JSON has."""
    models = explained.models
    constants = [BATCH, STEPS, SIDE, SAMPLE, SEED, DRAWS, GROUPS, WINDOW, STRIDE, BLUR]
    return {
        "blastscope": __version__,
        "models": [[one.name, one.run.checkpoint, one.grid, len(one.views)] for one in models],
        "cells": [dataset.stores[one.settings].fingerprint for one in models],
        "methods": list(METHODS),
        "constants": [*constants, list(SCALES), list(RADII)],
    }


def _finished(out: Path, identity: dict[str, Any]) -> Audit | None:
    """Return the audit that is in ``out`` already, if it is this one."""
    forms = {CELLS_FILE: AUDIT, RANDOMIZATION_FILE: RANDOMIZATION}
    try:
        tables = [read_table(out / name, form) for name, form in forms.items()]
    except BlastscopeError:  # none, or one that is damaged: it is made anew
        return None
    if any(metadata.get("identity") != identity for _, metadata in tables):
        return None
    return Audit(*(frame for frame, _ in tables))
