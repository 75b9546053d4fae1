"""From finished runs and a folder of numbered images, or from a table, to a submission."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.data.layouts import Problem, list_cells
from blastscope.data.store import Store
from blastscope.engines.torch_engine import choose_device
from blastscope.errors import BlastscopeError, listing
from blastscope.evaluation.metrics import THRESHOLD
from blastscope.io.predictions import SYNTHETIC_MARK, read_predictions, write_predictions
from blastscope.prediction.members import Members, open_members
from blastscope.prediction.prepared_images import (
    Pass,
    Progress,
    Rows,
    predict_images,
    prepare_images,
)
from blastscope.prediction.submission import numeric_order, write_submission
from blastscope.training.store_predictions import prediction_frame

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
    """Apply runs or an ensemble to a folder of images ``N.bmp`` and write a submission.

    Writes ``OUT/submission.zip``, ``OUT/predictions.parquet`` and, once for each way in which the
    runs want their cells prepared, a store. Several runs vote with the mean of their
    probabilities (the paper's first ensemble, section 3.4), an ensemble as its weights say. A
    cell is ALL above one half.

    Args:
        runs: the folders of finished runs, or of one ensemble.
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
    voters = open_members(runs)
    _refuse_bad_list(images)
    passes = Pass(voters.runs, on_progress)
    stores, bad = prepare_images(voters.runs, [images], out, passes, force=force)
    _refuse_bad(bad, images)
    about = voters.metadata([store.fingerprint for store in stores])
    table = out / TABLE
    already = _is_done(table, out / ZIP, about, force)
    if not already:
        order = numeric_order(stores[0].cells["cell"].to_list(), str(images))
        p_all = predict_images(voters.runs, stores, order, chosen, passes)
        _write_table(voters, stores[0], order, voters.combination.apply(p_all), about, table)
    rows = read_predictions(table)[0]
    return _write(rows, table, out, force, already)


def _refuse_bad_list(images: Path) -> None:
    """Look at the names before hours are spent on the pixels."""
    found = list_cells([images])
    if found.problems:
        problems = listing([f"{problem.file} {problem.message}" for problem in found.problems])
        raise BlastscopeError(f"{images} cannot be submitted on: {problems}.")
    numeric_order([item.cell for item in found.cells], str(images))


def _refuse_bad(bad: Sequence[Problem], images: Path) -> None:
    """Every image must be usable, for each has its line."""
    if not bad:
        return
    files = listing([f"{problem.file} {problem.message}" for problem in bad])
    count = "1 image" if len(bad) == 1 else f"{len(bad)} images"
    raise BlastscopeError(
        f"{count} of {images} cannot be used: {files}. Each has its line in a submission: get "
        "them again, and give --force."
    )


def _is_done(table: Path, zipped: Path, about: dict[str, Any], force: bool) -> bool:
    """Whether the table is there already, of the same runs, weights and images."""
    if table.exists():
        try:
            known = read_predictions(table)[1]
            if all(known.get(key) == about.get(key) for key in ("members", "weights_of")):
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


def _write_table(
    voters: Members,
    store: Store,
    order: Rows,
    p_all: NDArray[np.float64],
    about: dict[str, Any],
    path: Path,
) -> None:
    synthetic = store.synthetic or voters.synthetic
    model = voters.name
    if synthetic and not model.endswith(SYNTHETIC_MARK):
        model += SYNTHETIC_MARK
    frame = prediction_frame(store, order, ["test"] * len(store), model, p_all)
    write_predictions(frame, path, about | {"synthetic": synthetic})


def _write(rows: pl.DataFrame, table: Path, out: Path, force: bool, already: bool) -> Submission:
    """Write the zip of rows that are in the order of their numbers."""
    calls = (rows["p_all"] > THRESHOLD).to_numpy()
    path = out / ZIP
    written = write_submission(calls, path, force=force)
    return Submission(
        path, len(calls), int(calls.sum()), rows["model"][0], table, already and not written
    )
