"""What is done of a stress test: a table for each network and step, and how they join."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from blastscope import __version__
from blastscope.data.crop import Pixels
from blastscope.data.store import Store
from blastscope.errors import BlastscopeError
from blastscope.io.files import sha256_of
from blastscope.io.predictions import read_predictions
from blastscope.io.tables import TableFormat, read_table, write_table
from blastscope.ood.detector import OodDetector, fit_ood
from blastscope.robustness.models import TestedModel, TestedNetwork
from blastscope.robustness.non_cell_images import non_cell_images
from blastscope.robustness.perturbation_plan import NOTHING, Step, steps
from blastscope.training.class_balance import Rows
from blastscope.training.network_input import NetworkInput
from blastscope.training.run_folder import RunFolder
from blastscope.training.store_predictions import probabilities
from blastscope.training.views import Operations, PixelViews

Progress = Callable[[int, int], None]
FOLDER = "predictions"
SAME = 0.01
"""By how much a probability may differ from the run's own: machines differ by far less, images by
more."""
_STRANGERS = "strangers"
PART = TableFormat(
    "stress-part", 1, {"cell": pl.String(), "p_all": pl.Float64(), "ood_score": pl.Float64()}
)


@dataclass(frozen=True)
class ChangedViews:
    """Pixels of a store, changed before a network sees them, a batch at a time."""

    pixels: Pixels
    step: Step

    def take(self, rows: Rows, operations: Operations) -> Tensor:
        """Return uint8 pixels N × 3 × S × S."""
        changed = PixelViews(self.step(self.pixels[rows]))
        return changed.take(np.arange(len(rows)), operations)


@dataclass(frozen=True)
class PartialStressTest:
    """A folder with what is done.

    Attributes:
        path: the folder.
        models: what is tried.
        store: the prepared cells.
        device: what to compute on.
    """

    path: Path
    models: tuple[TestedModel, ...]
    store: Store
    device: torch.device

    def fill(self, on_progress: Progress | None) -> None:
        """Do all that is not done; a part that cannot be read, or is of something else, is redone.

        Args:
            on_progress: called with the cells that are done, each once a step, and their total.

        Raises:
            BlastscopeError: where a network's probability of an unchanged cell is not what its
                run recorded.
        """
        todo = tuple(steps())
        members = [
            (k, n, one) for k, m in enumerate(self.models) for n, one in enumerate(m.members)
        ]
        done, total = 0, sum(one.cells.height * len(todo) for _, _, one in members)
        for k, n, member in members:
            network = _Network(member, self.store, self.device)
            for step in todo:
                if self._read(k, n, step.key, member) is None:
                    frame = network.on_cells(step)
                    if step.name == NOTHING:
                        _refuse_other_cells(frame, member, self.store)
                    self._write(frame, k, n, step.key, member)
                done += member.cells.height
                if on_progress:
                    on_progress(done, total)
            if self._read(k, n, _STRANGERS, member) is None:
                self._write(network.on_strangers(), k, n, _STRANGERS, member)

    def of_step(self, model: int, step: Step) -> pl.DataFrame:
        """Return a model's part of a step, its cells in the model's order, once all is done."""
        return self._join(model, step.key)

    def of_strangers(self, model: int) -> pl.DataFrame:
        """Return a model's ood of pictures that are no cells; ``cell`` is their kind."""
        return self._join(model, _STRANGERS)

    def _join(self, model: int, key: str) -> pl.DataFrame:
        members = self.models[model].members
        return pl.concat(
            [read_table(self._file(model, n, key), PART)[0] for n in range(len(members))]
        )

    def _file(self, model: int, member: int, key: str) -> Path:
        return self.path / f"{model:03d}-{member:03d}-{key}.parquet"

    def _identity(self, member: TestedNetwork) -> dict[str, Any]:
        detector = RunFolder(member.run.path).ood
        return {
            "blastscope": __version__,
            "checkpoint": member.run.checkpoint,
            "store": self.store.fingerprint,
            "cells": member.cells.height,
            "ood_score": sha256_of(detector) if detector.is_file() else None,
        }

    def _read(
        self, model: int, number: int, key: str, member: TestedNetwork
    ) -> pl.DataFrame | None:
        try:
            frame, about = read_table(self._file(model, number, key), PART)
        except BlastscopeError:  # none yet, or cut short by a full disk
            return None
        return frame if about.get("identity") == self._identity(member) else None

    def _write(
        self, frame: pl.DataFrame, model: int, number: int, key: str, one: TestedNetwork
    ) -> None:
        about = {"identity": self._identity(one)}
        write_table(frame, self._file(model, number, key), PART, about)


class _Network:
    """A member's network, built when it is first asked."""

    def __init__(self, member: TestedNetwork, store: Store, device: torch.device) -> None:
        self.member, self.store, self.device = member, store, device
        self._opened: tuple[Any, OodDetector | None] | None = None

    def on_cells(self, step: Step) -> pl.DataFrame:
        """Predict the member's cells, changed."""
        return self._predict(
            ChangedViews(self.store.pixels, step), self.member.rows,
            self.member.cells["cell"].to_list(),
        )  # fmt: skip

    def on_strangers(self) -> pl.DataFrame:
        """Predict pictures that are no cells."""
        drawn = non_cell_images(self.store.settings.size)
        frames = [
            self._predict(PixelViews(pixels), np.arange(len(pixels)), [kind] * len(pixels))
            for kind, pixels in drawn.items()
        ]
        return pl.concat(frames)

    def _predict(
        self, views: ChangedViews | PixelViews, rows: Rows, names: list[str]
    ) -> pl.DataFrame:
        classifier, known = self._open()
        seen = _Seen(views, known)
        p_all = probabilities(
            classifier, NetworkInput(seen, classifier), rows, self.device,
            self.member.run.recipe.prediction.views,
        )  # fmt: skip
        far = np.concatenate(seen.ood)[: len(rows)]  # of the first view
        ood = pl.Series(far, dtype=pl.Float64).fill_nan(None)
        return pl.DataFrame({"cell": names, "p_all": p_all, "ood_score": ood})

    def _open(self) -> tuple[Any, OodDetector | None]:
        if self._opened is None:
            classifier = self.member.run.classifier()
            classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._opened = classifier, self.member.run.ood() or self._fitted()
        return self._opened

    def _fitted(self) -> OodDetector | None:
        """What a run of an earlier version does not have is fitted here, as training does it."""
        table, _ = read_predictions(RunFolder(self.member.run.path).predictions)
        placed = self.store.cells.with_row_index("row").join(
            table.select("cell", "part"), on="cell"
        )
        training, validation = (
            placed.filter(part=part)["row"].to_numpy().astype(np.int64)
            for part in ("train", "validation")
        )
        return fit_ood(self.store.pixels, training, validation)


class _Seen:
    """Hands pictures on to a network, and measures each the first time that it is seen."""

    def __init__(self, views: ChangedViews | PixelViews, known: OodDetector | None) -> None:
        self.views, self.known = views, known
        self.ood: list[NDArray[np.float64]] = []

    def take(self, rows: Rows, operations: Operations) -> Tensor:
        """Return uint8 pixels N × 3 × S × S."""
        taken = self.views.take(rows, operations)
        if not operations.any():  # as the cell lies, which is the first view
            pictures = taken.permute(0, 2, 3, 1).numpy()
            nobody = np.full(len(rows), np.nan)
            self.ood.append(nobody if self.known is None else self.known.of(pictures))
        return taken


def _refuse_other_cells(frame: pl.DataFrame, member: TestedNetwork, store: Store) -> None:
    """Refuse cells that are not those that the run was predicted on, before hours are spent."""
    off = np.abs(frame["p_all"].to_numpy() - member.cells["p_all"].to_numpy())
    worst = int(off.argmax())
    if off[worst] > SAME:
        said, found = member.cells["p_all"][worst], frame["p_all"][worst]
        raise BlastscopeError(
            f"The cell '{frame['cell'][worst]}' has p(ALL) {found:.3f} in {store.path}, where "
            f"{member.run.path} recorded {said:.3f}: give the store that it was trained on."
        )
