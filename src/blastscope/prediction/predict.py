"""From images and a model to a prediction table."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.cluster import RAY
from blastscope.decision.decision_file import DecisionFile
from blastscope.decision.neighbourhood import NEIGHBOURS, STATEMENT, refuse_small_batch
from blastscope.errors import BlastscopeError
from blastscope.io.files import only_one
from blastscope.io.predictions import INDUCTIVE, PROBLEM
from blastscope.prediction.decisions import Tally, about_decision, decide, tally
from blastscope.prediction.images import InputImages
from blastscope.prediction.inputs import list_inputs
from blastscope.prediction.journal import Journal
from blastscope.prediction.members import Members
from blastscope.prediction.models import PredictionModel
from blastscope.prediction.pipeline import predict_rows
from blastscope.prediction.shard_rows import ModelRequest, rows_on_ray
from blastscope.prediction.table import SUFFIXES, rows_frame, subjects_file, write_table
from blastscope.prediction.transductive import corrected_batch

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Predicted:
    """What was predicted."""

    frame: pl.DataFrame  # a row an image
    # Those of usable images that are in distribution and files of their own, by their rows.
    files: Mapping[int, Path]
    model: str  # the name of what predicted
    tally: Tally  # what was decided of all together
    # How probabilities became decisions; None if the model does not decide.
    decision: DecisionFile | None
    notes: tuple[str, ...]  # what the user should know of how the images were found
    synthetic_model: bool  # whether the model or its decision was fitted on synthetic cells
    synthetic_cells: bool  # whether the images are of synthetic cells
    about: dict[str, Any]  # what a table of them records
    path: Path | None  # of the table; None if none was written
    inputs: InputImages  # the images, in the order of the rows
    members: Members  # the networks

    @property
    def transductive(self) -> bool:
        """Whether the probabilities were corrected by each cell's neighbours in the batch."""
        return INDUCTIVE in self.frame.columns

    @property
    def problems(self) -> pl.DataFrame:
        """The rows of images that could not be used."""
        return self.frame.filter(pl.col(PROBLEM).is_not_null())


def predict(
    images: Sequence[str | Path] | InputImages,
    models: Sequence[Path],
    out: Path | None = None,
    *,
    decision: Path | None = None,
    engine: str = "auto",
    device: str = "auto",
    spread: bool = False,
    subject_from: str | None = None,
    transductive: bool = False,
    force: bool = False,
    on_progress: Progress | None = None,
    beside: pl.DataFrame | None = None,
) -> Predicted:
    """Apply a model to images.

    Every network sees them prepared as its own training cells were. An image that cannot be used
    is a row without a probability whose ``problem`` says why. While a table is made, finished
    rows lie in ``.<out>.work`` beside it, from which a killed prediction goes on.

    Args:
        images: files, folders, zips, globs (see ``prediction.inputs``), or listed images.
        models: as ``open_model`` takes them, like ``decision``, ``engine``, ``device``, ``spread``.
        engine: also ``ray``: shards of the images are tasks of a cluster, each computed as by
            ``auto``.
        out: the table to write, .parquet, .csv or .json; None for no file.
        subject_from: a regular expression that finds the subject in a file's name.
        transductive: correct each probability by the cell's neighbours among the images
            (``decision.neighbourhood``).
        on_progress: called with the images done and their total.
        beside: further columns, a row an image, for cells of fields; with them it is an answer that
            there are no images, or none that can be used.

    Raises:
        BlastscopeError: if the model or the images cannot be opened, no image can be used, there
            are too few to correct, or ``out`` exists or cannot be written.
    """
    if out is not None:
        refuse_taken(out, SUFFIXES, force)
    found = images if isinstance(images, InputImages) else list_inputs(images, subject_from)
    request = ModelRequest(tuple(models), decision, engine, device, spread)
    model = request.open().marked(found.synthetic)
    if transductive:
        refuse_small_batch(len(found), "The batch")
    if out is None:
        if engine == RAY:
            frames = rows_on_ray(found, request)
        else:
            frames = predict_rows(found, model.predictor, model.name)
        rows = pl.concat([*_no_rows(model), *_told(frames, found, on_progress)])
        return _predicted(rows, found, model, None, transductive, beside)
    with only_one(out.absolute()):
        journal = open_journal(found, model, out)
        if engine == RAY:
            parts = rows_on_ray(found, request, journal)
            rows = pl.concat([*_no_rows(model), *_told(parts, found, on_progress)])
        else:
            rows = resumed_rows(found, model, journal, on_progress)
        if beside is None and not _any_usable(rows):  # there is nothing to go on from
            journal.remove()
        made = _predicted(rows, found, model, out, transductive, beside)
        write_table(made.frame, made.tally.subjects, out, made.about)
        journal.remove()
    return made


def stream(inputs: InputImages, model: PredictionModel) -> Iterator[pl.DataFrame]:
    """Yield decided rows of listed images as they come, a batch at a time."""
    model = model.marked(inputs.synthetic)
    for frame in predict_rows(inputs, model.predictor, model.name):
        yield decide(frame, model.decision)


def refuse_taken(out: Path, suffixes: Sequence[str], force: bool) -> None:
    """Refuse a file to write if its suffix is not known, or it is there and not to be replaced.

    Of a table the file of its subjects counts too, unless a killed prediction may have written it.
    """
    if out.suffix.lower() not in suffixes:
        raise BlastscopeError(f"{out} is not a {', '.join(suffixes)} file: choose another suffix.")
    if out.is_dir():
        raise BlastscopeError(f"{out} is a folder: choose another name.")
    files = [out]
    if out.suffix.lower() in (".csv", ".parquet") and not _work_of(out).exists():
        files.append(subjects_file(out))
    for path in files:
        if path.exists() and not force:
            raise BlastscopeError(f"{path} exists already: choose another name, or give --force.")


def open_journal(found: InputImages, model: PredictionModel, out: Path) -> Journal:
    """Open the finished rows of an unfinished table ``out``; its writer removes them at the end."""
    return Journal(_work_of(out), identity(found, model))


def _work_of(out: Path) -> Path:
    return out.with_name(f".{out.name}.work")


def resumed_rows(
    found: InputImages, model: PredictionModel, journal: Journal, on_progress: Progress | None
) -> pl.DataFrame:
    """Predict images whose rows are not in the journal, and return the rows of all, undecided."""
    frames = journal.done()
    done = sum(map(len, frames))
    rest = replace(found, images=found.images[done:])
    rows = _told(predict_rows(rest, model.predictor, model.name), found, on_progress, done)
    return pl.concat([*_no_rows(model), *frames, *journal.keep(rows)])


def _no_rows(model: PredictionModel) -> list[pl.DataFrame]:
    """Return a table without rows, so that there is a table even without images."""
    return [rows_frame([], None, model.name, spread=model.predictor.spread)]


def _told(
    frames: Iterator[pl.DataFrame],
    found: InputImages,
    on_progress: Progress | None,
    done: int = 0,
) -> Iterator[pl.DataFrame]:
    """Pass frames on and report how many rows are done."""
    for frame in frames:
        done += len(frame)
        if on_progress:
            on_progress(done, len(found))
        yield frame


def _predicted(
    rows: pl.DataFrame,
    found: InputImages,
    model: PredictionModel,
    out: Path | None,
    transductive: bool,
    beside: pl.DataFrame | None,
) -> Predicted:
    if beside is None and not _any_usable(rows):
        first = rows.row(0, named=True)
        raise BlastscopeError(
            f"None of {len(rows):,} images can be used: {first['file'] or first['cell']} "
            f"{first['problem']}. Give images of single cells (BMP, PNG, TIFF, JPEG or WebP)."
        )
    frame, known = decide(rows, model.decision), about(found, model)
    if transductive:
        frame = corrected_batch(frame, found, model.predictor.settings[0], model.decision)
        known["transductive"] = _how_corrected(frame)
    if beside is not None:
        frame = frame.hstack(beside).select(pl.exclude(PROBLEM), PROBLEM)
    usable = rows["p_all"].is_not_null() & ~rows["out_of_distribution"].fill_null(False)
    return Predicted(
        frame=frame,
        files={
            row: one.path
            for row, (one, good) in enumerate(zip(found, usable, strict=True))
            if good and one.path
        },
        model=model.name,
        tally=tally(frame, model.decision),
        decision=model.decision,
        notes=found.notes,
        synthetic_model=model.synthetic,
        synthetic_cells=found.synthetic,
        about=known,
        path=out,
        inputs=found,
        members=model.predictor.members,
    )


def _how_corrected(frame: pl.DataFrame) -> dict[str, Any]:
    """Return what a table records of a correction by neighbours."""
    outside = frame["out_of_distribution"].fill_null(False)
    cells = int((frame["p_all"].is_not_null() & ~outside).sum())
    return {"neighbours": NEIGHBOURS, "cells": cells, "note": STATEMENT}


def _any_usable(rows: pl.DataFrame) -> bool:
    return rows["p_all"].null_count() < len(rows)


def about(found: InputImages, model: PredictionModel) -> dict[str, Any]:
    """Return what a table of a model's predictions records of them."""
    synthetic = model.synthetic or found.synthetic
    members = model.predictor.members.metadata()
    return {**members, **about_decision(model.decision), "synthetic": synthetic}


def identity(found: InputImages, model: PredictionModel) -> dict[str, str]:
    """Return digests of all that decides the rows of a table: images, model and settings."""
    from blastscope import __version__

    members = model.predictor.members
    networks = repr([(run.checkpoint, run.settings, run.recipe.prediction) for run in members.runs])
    what = (networks, members.bundle, members.combination, model.name)
    how = repr((*what, model.predictor.spread, __version__))
    return {"images": found.digest(), "model": hashlib.sha256(how.encode()).hexdigest()}
