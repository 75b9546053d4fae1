"""The predictions of a stress test: a table for each network and step, and how they join."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from blastscope import __version__
from blastscope.data.store import Store
from blastscope.io.files import sha256_of
from blastscope.io.predictions import read_predictions
from blastscope.io.tables import TableFormat, read_part, read_table, write_table
from blastscope.io.workfolder import FolderKind, WorkFolder
from blastscope.ood.detector import fit_ood
from blastscope.prediction.members import mean_of
from blastscope.prediction.models import Floats, Predictor
from blastscope.prediction.pipeline import predict_store
from blastscope.robustness.models import TestedModel, TestedNetwork
from blastscope.robustness.non_cell_images import non_cell_images
from blastscope.robustness.perturbations import NON_CELLS, NOTHING, Step, steps
from blastscope.training.run_folder import RunFolder

Progress = Callable[[int, int], None]
FOLDER = "predictions"
_KIND = FolderKind("identity.json", scratch=True)
PART = TableFormat(
    "stress-part", 1, {"cell": pl.String(), "p_all": pl.Float64(), "ood_score": pl.Float64()}
)


@dataclass(frozen=True)
class PartialStressTest:
    """The folder of the predictions that are done."""

    path: Path  # the folder
    models: tuple[TestedModel, ...]  # the tested models
    store: Store  # the prepared cells
    device: torch.device  # what to compute on

    def fill(self, on_progress: Progress | None) -> None:
        """Predict all that is not done; a part that cannot be read is predicted again.

        ``on_progress`` is called with the cells that are done, each once per step, and their total.

        Raises:
            BlastscopeError: if a network's probability for an unchanged cell is not the one
                that its run recorded.
        """
        WorkFolder(self.path, _KIND, self._identity()).open_or_resume()
        todo = tuple(steps())
        members = [
            (k, n, one) for k, m in enumerate(self.models) for n, one in enumerate(m.members)
        ]
        done, total = 0, sum(one.cells.height * len(todo) for _, _, one in members)
        for k, n, member in members:
            predictor = _open(member, self.store, self.device)
            for step in todo:
                if read_part(self._file(k, n, step.key), PART) is None:
                    frame = _on_cells(predictor, member, self.store, step)
                    if step.name == NOTHING:  # before hours are spent on other images
                        found = frame["cell"], frame["p_all"]
                        member.run.refuse_other_images(*found, f"in {self.store.path}")
                    write_table(frame, self._file(k, n, step.key), PART)
                done += member.cells.height
                if on_progress:
                    on_progress(done, total)
            if read_part(self._file(k, n, NON_CELLS), PART) is None:
                frame = _on_non_cells(predictor, self.store.settings.size)
                write_table(frame, self._file(k, n, NON_CELLS), PART)

    def table(self, model: int, key: str) -> pl.DataFrame:
        """Return a model's predictions of a step or of ``NON_CELLS``, whose kind is ``cell``."""
        members = range(len(self.models[model].members))
        return pl.concat([read_table(self._file(model, n, key), PART)[0] for n in members])

    def _file(self, model: int, member: int, key: str) -> Path:
        return self.path / f"{model:03d}-{member:03d}-{key}.parquet"

    def _identity(self) -> dict[str, Any]:
        """Return all that the predictions follow from."""
        networks = [[_network(member) for member in model.members] for model in self.models]
        return {
            "blastscope": __version__,
            "store": self.store.fingerprint,
            "networks": networks,
        }


def _network(member: TestedNetwork) -> dict[str, Any]:
    detector = RunFolder(member.run.path).ood
    return {
        "checkpoint": member.run.checkpoint,
        "cells": member.cells.height,
        "ood": sha256_of(detector) if detector.is_file() else None,
    }


def _open(member: TestedNetwork, store: Store, device: torch.device) -> Predictor:
    """Open a member's network; if its run has no OOD detector, fit one as training does."""
    predictor = Predictor(mean_of([member.run]), device=device.type)
    if not predictor.detectors:
        table, _ = read_predictions(RunFolder(member.run.path).predictions)
        rows = store.cells.with_row_index("row").join(table.select("cell", "part"), on="cell")
        training, validation = (
            rows.filter(part=part)["row"].to_numpy().astype(np.int64)
            for part in ("train", "validation")
        )
        fitted = fit_ood(store.pixels, training, validation)
        predictor.detectors = () if fitted is None else ((member.run.settings, fitted),)
    return predictor


def _on_cells(
    predictor: Predictor, member: TestedNetwork, store: Store, step: Step
) -> pl.DataFrame:
    """Predict a member's cells, perturbed."""
    found = predict_store(store.pixels, member.rows, predictor, step)
    return _frame(member.cells["cell"].to_list(), *found)


def _on_non_cells(predictor: Predictor, side: int) -> pl.DataFrame:
    """Predict images that are not cells."""
    return pl.concat(
        _frame([kind] * len(images), *predict_store(images, np.arange(len(images)), predictor))
        for kind, images in non_cell_images(side).items()
    )


def _frame(names: list[str], p_all: Floats, ood: Floats) -> pl.DataFrame:
    scores = pl.Series(ood, dtype=pl.Float64).fill_nan(None)
    return pl.DataFrame({"cell": names, "p_all": p_all, "ood_score": scores})
