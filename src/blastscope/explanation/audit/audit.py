"""Run an audit: every measure of several models' maps on a whole part of a split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from blastscope import __version__
from blastscope.data.layouts import Listing
from blastscope.errors import BlastscopeError
from blastscope.evaluation.aligned_predictions import align_predictions
from blastscope.explanation.attribution import BLUR, STRIDE, WINDOW, attribute
from blastscope.explanation.cells import CellBatch, ExplainedCells, list_data
from blastscope.explanation.deletion_insertion import STEPS
from blastscope.explanation.map_measures import RADII, SIDE, agreement_of, coarse
from blastscope.explanation.measures import measure, nullable
from blastscope.explanation.models import ExplainedModel, ExplainedModels
from blastscope.explanation.sanity_checks import DRAWS, GROUPS, SAMPLE, SEED, randomize, sample
from blastscope.explanation.tables import AUDIT, METHODS, RANDOMIZATION, SCALES
from blastscope.io.files import only_one, remove_folder
from blastscope.io.tables import TableFormat, read_part, read_table, write_table
from blastscope.io.workfolder import FolderKind, WorkFolder

CELLS_FILE, RANDOMIZATION_FILE, _PARTS = "audit.parquet", "randomization.parquet", ".audit"
BATCH = 32
_KIND = FolderKind("audit.json", scratch=True)
_COARSE = "coarse"  # a cell's map on the grid on which the models' maps are compared
_PART = TableFormat(AUDIT.name, AUDIT.version, {**AUDIT.columns, _COARSE: pl.List(pl.Float64())})


@dataclass(frozen=True)
class Audit:
    """The tables of an audit."""

    # The columns of ``AUDIT``, one row per cell and model; those of the first model first.
    cells: pl.DataFrame
    randomization: pl.DataFrame  # the columns of ``RANDOMIZATION``


def audit_cells(models: Sequence[str | Path], part: str, data: Sequence[Path]) -> Listing:
    """List the cells of a part, as the models' own predictions have it, with their images.

    ``models`` are as ``align_predictions`` takes them, ``data`` as ``list_data``.

    Raises:
        BlastscopeError: if the models were not predicted on the same cells, or a cell is not in
            ``data`` or has another label there.
    """
    cells = align_predictions(models).every(part).cells
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

    Cells are measured in batches of 32, so that memory hardly grows with their number. Finished
    batches are in ``out/.audit`` until all are finished: a killed audit resumes there, one of other
    models or cells begins again. If this audit is in ``out`` already, it is read. ``on_progress``
    is called with how many cells are done and their total; each counts once per model, and those of
    the randomization test once more.

    Raises:
        BlastscopeError: if a cell's file is gone, a model's probability for a cell is not the
            one its run recorded, ``out`` cannot be written, or another process writes it.
    """
    identity = _identity(explained, dataset)
    with only_one((out / CELLS_FILE).absolute()):
        found = _finished(out, identity)
        if found is None:
            WorkFolder(out / _PARTS, _KIND, identity).open_or_resume()
            parts = _PartialAudit(out / _PARTS, explained, dataset)
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


@dataclass(frozen=True)
class _PartialAudit:
    """A folder with the finished parts of an audit."""

    path: Path  # the folder
    explained: ExplainedModels  # the models
    dataset: ExplainedCells  # the cells, prepared for each of them

    def fill(self, on_progress: Callable[[int, int], None] | None) -> None:
        """Measure all that is not done; a part that cannot be read is measured again."""
        drawn = sample([item.label for item in self.dataset.files]).tolist()
        models = self.explained.models
        done, total = 0, len(models) * (len(self.dataset) + len(drawn))

        def tell(cells: int) -> None:
            nonlocal done
            done += cells
            if on_progress:
                on_progress(done, total)

        for number, rows in enumerate(self._batches()):
            batch = CellBatch(models, self.dataset, rows)
            for k, model in enumerate(models):
                if read_part(self._batch(k, number), _PART) is None:
                    frame = self._measured(model, batch)
                    # With each batch, so that an audit of other data ends with its first.
                    found = frame["cell"], frame["p_all"]
                    model.run.refuse_other_images(*found, "with these images")
                    write_table(frame, self._batch(k, number), _PART)
                tell(len(rows))
        for k, model in enumerate(models):
            if read_part(self._randomized(k), RANDOMIZATION) is None:
                frame = randomize(model, self.dataset, drawn)
                write_table(frame, self._randomized(k), RANDOMIZATION)
            tell(len(drawn))

    def _batches(self) -> list[range]:
        rows = range(len(self.dataset))
        return [rows[first : first + BATCH] for first in rows[::BATCH]]

    def _batch(self, model: int, number: int) -> Path:
        return self.path / f"{model:03d}-{number:06d}.parquet"

    def _randomized(self, model: int) -> Path:
        return self.path / f"{model:03d}-randomized.parquet"

    def _measured(self, model: ExplainedModel, batch: CellBatch) -> pl.DataFrame:
        settings, rows, pictures = model.settings, batch.rows, batch.cell_images(model)
        boxes = self.dataset.stores[settings].cells.select(pl.max_horizontal("box_w", "box_h"))
        median = float(np.median(boxes.to_series().to_numpy()))
        grad_cam = attribute(model, self.dataset.images(settings, rows), "grad-cam")
        found = {"grad-cam": grad_cam}
        frame = measure(
            model, self.dataset, rows, tuple(METHODS), found, median, pictures, others=True
        )
        maps = [coarse(batch.aligned(one, model, k)) for k, one in enumerate(grad_cam.signed)]
        return frame.with_columns(pl.Series(_COARSE, [one.tolist() for one in maps]))

    def join(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the two tables of the audit once all is done, the first model's cells first."""
        models = range(len(self.explained.models))
        of_model: list[list[pl.DataFrame]] = [[] for _ in models]
        for number, _ in enumerate(self._batches()):
            frames = [read_table(self._batch(k, number), _PART)[0] for k in models]
            maps = np.stack([np.array(frame[_COARSE].to_list()) for frame in frames], axis=1)
            alike = np.stack([agreement_of(cell) for cell in maps])
            for k, frame in enumerate(frames):
                said = pl.Series("agreement", nullable(alike[:, k]), AUDIT.columns["agreement"])
                of_model[k].append(frame.with_columns(said).select(*AUDIT.columns))
        cells = pl.concat([frame for frames in of_model for frame in frames])
        randomized = [read_table(self._randomized(k), RANDOMIZATION)[0] for k in models]
        return cells, pl.concat(randomized)
