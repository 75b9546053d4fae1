"""Hold an unfinished audit: a table for each batch of cells of each model, and how they join."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from blastscope.errors import BlastscopeError
from blastscope.explanation.attribution import attribute
from blastscope.explanation.cell_batch import CellBatch
from blastscope.explanation.cells import ExplainedCells
from blastscope.explanation.map_measures import agreement_of, coarse
from blastscope.explanation.measures import measure, nullable
from blastscope.explanation.models import ExplainedModel, ExplainedModels
from blastscope.explanation.sanity_checks import randomize, sample
from blastscope.explanation.tables import AUDIT, METHODS, RANDOMIZATION
from blastscope.io.predictions import read_predictions
from blastscope.io.tables import TableFormat, read_part, read_table, write_table
from blastscope.io.workfolder import FolderKind, WorkFolder
from blastscope.training.run_folder import RunFolder

BATCH = 32
SAME = 0.01
"""By how much a probability may differ from the run's own: machines differ by far less, images by
more."""
_KIND = FolderKind("audit.json", scratch=True)
_COARSE = "coarse"  # a cell's map on the grid on which the models' maps are compared


@dataclass(frozen=True)
class PartialAudit:
    """A folder with the finished parts of an audit.

    Attributes:
        path: the folder.
        explained: the models.
        dataset: the cells, prepared for each of them.
    """

    path: Path
    explained: ExplainedModels
    dataset: ExplainedCells

    def begin(self, identity: dict[str, Any]) -> None:
        """Go on with what is there, or begin anew if that is of another audit."""
        WorkFolder(self.path, _KIND, identity).open_or_resume()

    def fill(self, on_progress: Callable[[int, int], None] | None) -> None:
        """Measure all that is not done; a part that cannot be read is measured again.

        Args:
            on_progress: called with how many cells are done, over all the models, and their total.

        Raises:
            BlastscopeError: if a model's probability for a cell is not the one its run recorded.
        """
        drawn = sample([item.label for item in self.dataset.files]).tolist()
        models = self.explained.models
        recorded = [_recorded(model) for model in models]
        done, total = 0, len(models) * (len(self.dataset) + len(drawn))
        for number, rows in enumerate(self._batches()):
            batch = CellBatch(models, self.dataset, rows)
            for k, model in enumerate(models):
                if not _is_whole(self._batch(k, number), AUDIT, _COARSE):
                    frame = self._measured(model, batch)
                    _refuse_other_cells(frame, recorded[k], model)
                    write_table(frame, self._batch(k, number), AUDIT)
                done += len(rows)
                if on_progress:
                    on_progress(done, total)
        for k, model in enumerate(models):
            if not _is_whole(self._randomized(k), RANDOMIZATION):
                frame = randomize(model, self.dataset, drawn)
                write_table(frame, self._randomized(k), RANDOMIZATION)
            done += len(drawn)
            if on_progress:
                on_progress(done, total)

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
        images = self.dataset.images(settings, rows)
        found = {"grad-cam": attribute(model, images, "grad-cam")}
        frame = measure(
            model, self.dataset, rows, tuple(METHODS), found, median, pictures, others=True
        )
        maps = [
            coarse(batch.aligned(one, model, k)) for k, one in enumerate(found["grad-cam"].signed)
        ]
        return frame.with_columns(pl.Series(_COARSE, [one.tolist() for one in maps]))

    def join(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the two tables of the audit once all is done, the first model's cells first."""
        models = range(len(self.explained.models))
        of_model: list[list[pl.DataFrame]] = [[] for _ in models]
        for number, _ in enumerate(self._batches()):
            frames = [read_table(self._batch(k, number), AUDIT)[0] for k in models]
            maps = np.stack([np.array(frame[_COARSE].to_list()) for frame in frames], axis=1)
            alike = np.stack([agreement_of(cell) for cell in maps])
            for k, frame in enumerate(frames):
                said = pl.Series("agreement", nullable(alike[:, k]), AUDIT.columns["agreement"])
                of_model[k].append(frame.with_columns(said).select(*AUDIT.columns))
        cells = pl.concat([frame for frames in of_model for frame in frames])
        randomized = [read_table(self._randomized(k), RANDOMIZATION)[0] for k in models]
        return cells, pl.concat(randomized)


def _is_whole(path: Path, form: TableFormat, *more: str) -> bool:
    frame = read_part(path, form)
    return frame is not None and set(more) <= set(frame.columns)


def _recorded(model: ExplainedModel) -> dict[str, float]:
    """Return the probabilities of ALL that a model's run recorded, by cell."""
    path = RunFolder(model.run.path).predictions
    if not path.is_file():
        return {}
    return dict(read_predictions(path)[0].select("cell", "p_all").iter_rows())


def _refuse_other_cells(
    measured: pl.DataFrame, recorded: Mapping[str, float], model: ExplainedModel
) -> None:
    """Refuse images that are not those the model was predicted on.

    With each batch, so that an audit of other data ends with its first.
    """
    for cell, p_all in measured.select("cell", "p_all").iter_rows():
        said = recorded.get(cell, p_all)
        if abs(p_all - said) > SAME:
            raise BlastscopeError(
                f"The cell '{cell}' has p(ALL) {p_all:.3f} with these images, where the "
                f"predictions of {model.run.path} have {said:.3f}: give the data that the models "
                "were trained on."
            )
