"""From models and a folder of numbered images, or from a table, to the challenge's submission."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from blastscope.data.layouts import list_cells
from blastscope.errors import BlastscopeError, listing
from blastscope.evaluation.metrics import THRESHOLD
from blastscope.io.files import only_one
from blastscope.io.predictions import PROBLEM, read_predictions, write_predictions
from blastscope.io.submission import numeric_order, write_submission
from blastscope.prediction.inputs import list_inputs
from blastscope.prediction.journal import Journal
from blastscope.prediction.models import open_model
from blastscope.prediction.predict import Progress, about, identity, open_journal, resumed_rows

TABLE, ZIP = "predictions.parquet", "submission.zip"


@dataclass(frozen=True)
class Submission:
    """A submission on disk."""

    path: Path  # of the zip
    lines: int  # the number of images
    called_all: int  # how many of them are called ALL
    model: str  # the name of what predicted
    predictions: Path  # the table that it was made from
    already: bool  # whether the same submission existed


def submit_table(table: Path, out: Path, *, force: bool = False) -> Submission:
    """Write ``OUT/submission.zip`` from the test part of a prediction table of numbered cells.

    Args:
        table: Parquet or CSV, of one model.

    Raises:
        BlastscopeError: if the table holds several models or no test cells, its cells are not
            called 1 to n, or another submission exists.
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
        raise BlastscopeError(f"{table} has no test cells: give the table of the test set.")
    rows = rows[numeric_order(rows["cell"].to_list(), str(table)).tolist()]
    return _write(rows, table, out, force, already=True)


def submit_images(
    models: Sequence[Path],
    images: Path,
    out: Path,
    *,
    device: str = "auto",
    force: bool = False,
    on_progress: Progress | None = None,
) -> Submission:
    """Apply a model to a folder of images ``N.bmp`` and write a submission.

    Writes ``OUT/submission.zip`` and ``OUT/predictions.parquet``; the same command resumes. Several
    runs are averaged (the paper's first ensemble, section 3.4), an ensemble is combined by its own
    weights. A cell is called ALL above one half, whatever the model's decision. ``models``,
    ``device`` is as ``open_model`` takes it.

    Raises:
        BlastscopeError: if a model is unfinished or stale, an image cannot be used, the images
            are not numbered 1 to n, or ``out`` holds another submission.
    """
    _refuse_bad_names(images)
    found = list_inputs([images])
    model = replace(open_model(models, device=device), decision=None)
    model = model.marked(found.synthetic)
    table, known = out / TABLE, {"identity": identity(found, model)}
    already = _is_done(table, out / ZIP, known, force)
    if not already:
        with only_one(table.absolute()):
            journal = open_journal(found, model, table)
            rows = resumed_rows(found, model, journal, on_progress)
            _refuse_unusable(rows, images, journal)
            rows = rows[numeric_order(rows["cell"].to_list(), str(images)).tolist()]
            write_predictions(rows, table, about(found, model) | known)
            journal.remove()
    return _write(read_predictions(table)[0], table, out, force, already)


def _refuse_bad_names(images: Path) -> None:
    """Check the names before hours are spent on the pixels."""
    found = list_cells([images])
    if found.problems:
        problems = listing([f"{problem.file} {problem.message}" for problem in found.problems])
        raise BlastscopeError(f"{images} cannot be submitted on: {problems}.")
    numeric_order([item.cell for item in found.cells], str(images))


def _refuse_unusable(rows: pl.DataFrame, images: Path, journal: Journal) -> None:
    """Refuse a table with images that cannot be used, for each has its line in a submission."""
    bad = rows.filter(pl.col(PROBLEM).is_not_null())
    if bad.is_empty():
        return
    journal.remove()
    files = listing([f"{file} {problem}" for file, problem in bad.select("file", PROBLEM).rows()])
    count = "1 image" if bad.height == 1 else f"{bad.height} images"
    raise BlastscopeError(
        f"{count} of {images} cannot be used: {files}. A submission needs all of them: get them "
        "again."
    )


def _is_done(table: Path, zipped: Path, known: dict[str, dict[str, str]], force: bool) -> bool:
    """Whether the table exists already, of the same model and images."""
    if table.exists():
        try:
            if known.items() <= read_predictions(table)[1].items():
                return True
        except BlastscopeError:
            if not force:
                raise
    existing = table if table.exists() else zipped
    if existing.exists() and not force:
        raise BlastscopeError(
            f"{existing} is of another model or other images: choose another folder, or give "
            "--force to replace it."
        )
    return False


def _write(rows: pl.DataFrame, table: Path, out: Path, force: bool, already: bool) -> Submission:
    """Write the zip of rows that are in the order of their numbers."""
    calls = (rows["p_all"] > THRESHOLD).to_numpy()
    path = out / ZIP
    written = write_submission(calls, path, force=force)
    return Submission(
        path, len(calls), int(calls.sum()), rows["model"][0], table, already and not written
    )
