"""Folders of images through the networks: prepared as each run wants them, then predicted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from blastscope.data.layouts import Problem
from blastscope.data.preparation import prepare
from blastscope.data.store import INFO, Store, StoreSettings, open_store
from blastscope.io.files import read_json
from blastscope.models.dihedral import count_views
from blastscope.training.finished_run import FinishedRun
from blastscope.training.network_input import NetworkInput
from blastscope.training.store_predictions import probabilities
from blastscope.training.views import PixelViews

Progress = Callable[[int, int], None]
Rows = np.ndarray[Any, np.dtype[np.int64]]


class Pass:
    """Counts the passes over the same images, of which preparing and predicting are several."""

    def __init__(self, runs: Sequence[FinishedRun], on_progress: Progress | None) -> None:
        self.steps = len({run.settings for run in runs}) + len(runs)
        self.step = 0
        self.on_progress = on_progress

    def report(self) -> Progress | None:
        """Return what reports the next pass, as a share of all of them."""
        step, steps, tell = self.step, self.steps, self.on_progress
        self.step += 1
        if tell is None:
            return None
        return lambda done, total: tell(step * total + done, steps * total)


def prepare_images(
    runs: Sequence[FinishedRun],
    images: Sequence[Path],
    folder: Path,
    passes: Pass,
    *,
    force: bool = False,
) -> tuple[list[Store], list[Problem]]:
    """Prepare images once for each way in which the runs want them, in stores under ``folder``.

    Returns:
        The store of each run, and the images that cannot be used.

    Raises:
        BlastscopeError: where no image can be used or the folder cannot be written.
    """
    made: dict[StoreSettings, Store] = {}
    bad: list[Problem] = []
    for settings in dict.fromkeys(run.settings for run in runs):
        name = f"store-{settings.size}-{settings.scale}{'-clahe' * settings.clahe}"
        path = prepare(
            images,
            folder / name,
            settings,
            skip_bad=True,
            force=force,
            on_progress=passes.report(),
        ).path
        made[settings] = open_store(path)
        bad = [Problem(**problem) for problem in read_json(path / INFO).get("skipped", ())]
    return [made[run.settings] for run in runs], bad


def predict_images(
    runs: Sequence[FinishedRun],
    stores: Sequence[Store],
    rows: Rows,
    device: torch.device,
    passes: Pass,
) -> NDArray[np.float64]:
    """Return the probability of ALL, shape (rows, runs), each run on its own store's rows."""
    found = [
        _predict(run, store, rows, device, passes.report())
        for run, store in zip(runs, stores, strict=True)
    ]
    return np.column_stack(found)


def _predict(
    run: FinishedRun, store: Store, rows: Rows, device: torch.device, on_progress: Progress | None
) -> NDArray[np.float64]:
    classifier, views = run.classifier(), run.recipe.prediction.views
    times = count_views(views)
    done = 0

    def count(cells: int) -> None:
        nonlocal done
        done += cells
        if on_progress:
            on_progress(done // times, len(rows))

    feed = NetworkInput(PixelViews(store.pixels), classifier)
    return probabilities(classifier, feed, rows, device, views, count)
