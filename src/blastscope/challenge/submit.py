"""From finished runs and a folder of numbered images, or from a table, to a submission."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from blastscope.cells.layouts import list_cells
from blastscope.challenge.loading import FinishedRun, open_run
from blastscope.challenge.submission import numeric_order, write_submission
from blastscope.errors import BlastscopeError, listing
from blastscope.evaluate.metrics import THRESHOLD
from blastscope.files import read_json
from blastscope.predictions import SYNTHETIC_MARK, read_predictions, write_predictions
from blastscope.prepare.build import prepare
from blastscope.prepare.store import INFO, Store, StoreSettings, open_store
from blastscope.train.augment import COUNT
from blastscope.train.devices import choose_device
from blastscope.train.feed import Feed
from blastscope.train.predict import prediction_frame, probabilities
from blastscope.train.views import PixelViews

Progress = Callable[[int, int], None]
TABLE, ZIP = "predictions.parquet", "submission.zip"


@dataclass(frozen=True)
class Submission:
    """A submission on disk."""

    path: Path
    lines: int
    called_all: int
    model: str
    predictions: Path
    """The table that it was made from."""
    already: bool
    """True where the very same was there."""


def submit_table(table: Path, out: Path, *, force: bool = False) -> Submission:
    """Write ``OUT/submission.zip`` from the test part of a prediction table of numbered cells.

    Args:
        table: Parquet or CSV, of one model.
        out: the folder to write to.
        force: replace another submission that is there.

    Raises:
        BlastscopeError: where the table holds several models or no test cells, its cells are not
            called 1 to n, or another submission is there.
    """
    frame, _ = read_predictions(table)
    models = sorted(frame["model"].unique())
    if len(models) > 1:
        raise BlastscopeError(
            f"{table} holds {len(models)} models ({listing(models)}): keep the rows of the one to "
            "submit."
        )
    rows = frame.filter(pl.col("part") == "test")
    if rows.is_empty():
        raise BlastscopeError(f"{table} has no test cells, which are those that are submitted.")
    rows = rows[numeric_order(rows["cell"].to_list(), str(table)).tolist()]
    return _write(rows, table, out, force, already=True)


def submit_runs(
    runs: Sequence[Path],
    images: Path,
    out: Path,
    *,
    device: str = "auto",
    force: bool = False,
    on_progress: Progress | None = None,
) -> Submission:
    """Apply runs to a folder of images ``N.bmp`` and write a submission.

    Writes ``OUT/submission.zip``, ``OUT/predictions.parquet`` and, once for each way in which the
    runs want their cells prepared, a store. Several runs vote with the mean of their
    probabilities (the paper's first ensemble, section 3.4). A cell is ALL above one half.

    Args:
        runs: the folders of finished runs.
        images: the challenge's preliminary or final test set.
        out: the folder to write to; the same command again finds its work there.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        force: replace what another command left there.
        on_progress: called with the images done, prepared or predicted, and their total.

    Raises:
        BlastscopeError: where a run is unfinished or stale, an image cannot be used, the images
            are not numbered 1 to n, or ``out`` holds the submission of something else.
    """
    chosen = choose_device(device)
    opened = [open_run(run) for run in runs]
    _refuse_bad_list(images)
    settings = dict.fromkeys(run.settings for run in opened)
    steps = len(settings) + len(opened)
    stores = {}
    for step, setting in enumerate(settings):
        shown = _shifted(on_progress, step, steps)
        stores[setting] = _prepared(images, out, setting, force, shown)
    members = [
        {
            "recipe": run.recipe.name,
            "checkpoint": run.checkpoint,
            "store": stores[run.settings].fingerprint,
        }
        for run in opened
    ]
    table = out / TABLE
    already = _is_done(table, out / ZIP, members, force)
    if not already:
        found = []
        for step, run in enumerate(opened, start=len(settings)):
            shown = _shifted(on_progress, step, steps)
            found.append(_predict(run, stores[run.settings], chosen, shown))
        _write_table(opened, stores[opened[0].settings], np.mean(found, axis=0), members, table)
    rows = read_predictions(table)[0]
    return _write(rows, table, out, force, already)


def _refuse_bad_list(images: Path) -> None:
    """Look at the names before hours are spent on the pixels."""
    found = list_cells([images])
    if found.problems:
        problems = listing([f"{problem.file} {problem.message}" for problem in found.problems])
        raise BlastscopeError(f"{images} cannot be submitted on: {problems}.")
    numeric_order([item.cell for item in found.cells], str(images))


def _prepared(
    images: Path, out: Path, settings: StoreSettings, force: bool, on_progress: Progress | None
) -> Store:
    """Prepare the images as a run wants them; every image must be usable, for each has its line."""
    name = f"store-{settings.size}-{settings.scale}{'-clahe' * settings.clahe}"
    made = prepare(
        [images], out / name, settings, skip_bad=True, force=force, on_progress=on_progress
    )
    bad = read_json(made.path / INFO).get("skipped", ())
    if bad:
        files = listing([f"{problem['file']} {problem['message']}" for problem in bad])
        count = "1 image" if len(bad) == 1 else f"{len(bad)} images"
        raise BlastscopeError(
            f"{count} of {images} cannot be used: {files}. Each has its line in a submission: get "
            "them again, and give --force."
        )
    return open_store(made.path)


def _is_done(table: Path, zipped: Path, members: list[dict[str, str]], force: bool) -> bool:
    """Whether the table is there already, of the same runs and images."""
    if table.exists():
        try:
            if read_predictions(table)[1].get("members") == members:
                return True
        except BlastscopeError:
            if not force:
                raise
    there = table if table.exists() else zipped
    if there.exists() and not force:
        raise BlastscopeError(
            f"{there} is of other runs or other images: choose another folder, or give --force to "
            "replace it."
        )
    return False


def _predict(
    run: FinishedRun, store: Store, device: torch.device, on_progress: Progress | None
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    classifier, views = run.classifier(), run.recipe.prediction.views
    times = COUNT if views == "dihedral" else 1
    done = 0

    def count(cells: int) -> None:
        nonlocal done
        done += cells
        if on_progress:
            on_progress(done // times, len(store))

    feed = Feed(PixelViews(store.pixels), classifier)
    return probabilities(classifier, feed, _order(store), device, views, count)


def _order(store: Store) -> np.ndarray[Any, np.dtype[np.int64]]:
    return numeric_order(store.cells["cell"].to_list(), str(store.path))


def _write_table(
    runs: Sequence[FinishedRun],
    store: Store,
    p_all: np.ndarray[Any, np.dtype[np.float64]],
    members: list[dict[str, str]],
    path: Path,
) -> None:
    synthetic = store.synthetic or any(run.synthetic for run in runs)
    names = list(dict.fromkeys(run.recipe.name for run in runs))
    model = names[0] if len(runs) == 1 else f"mean of {len(runs)} runs of {listing(names, most=5)}"
    model += SYNTHETIC_MARK * synthetic
    frame = prediction_frame(store, _order(store), ["test"] * len(store), model, p_all)
    metadata: dict[str, Any] = {"members": members, "synthetic": synthetic}
    if len(runs) == 1:
        metadata |= members[0]
    write_predictions(frame, path, metadata)


def _write(rows: pl.DataFrame, table: Path, out: Path, force: bool, already: bool) -> Submission:
    """Write the zip of rows that are in the order of their numbers."""
    calls = (rows["p_all"] > THRESHOLD).to_numpy()
    path = out / ZIP
    written = write_submission(calls, path, force=force)
    return Submission(
        path, len(calls), int(calls.sum()), rows["model"][0], table, already and not written
    )


def _shifted(on_progress: Progress | None, step: int, steps: int) -> Progress | None:
    """Return a report of one of several passes over the same number of images."""
    if on_progress is None:
        return None
    return lambda done, total: on_progress(step * total + done, steps * total)
