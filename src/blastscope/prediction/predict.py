"""From images and a model to a prediction table."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.errors import BlastscopeError
from blastscope.io.files import only_one
from blastscope.io.predictions import PROBLEM
from blastscope.prediction.decisions import (
    Tally,
    about_decision,
    decide,
    how_decided,
    tally,
)
from blastscope.prediction.input_images import InputImages
from blastscope.prediction.inputs import list_inputs
from blastscope.prediction.journal import Journal
from blastscope.prediction.model import PredictionModel, open_model
from blastscope.prediction.output import SUFFIXES, write_output
from blastscope.prediction.pipeline import predict_rows

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Predicted:
    """What was predicted.

    Attributes:
        frame: a row an image.
        files: those of usable, familiar images that are files of their own.
        model: the name of what predicted.
        tally: what was decided of all together.
        decided_by: the file that says how probabilities become decisions; None where none does.
        how: by which rule, threshold and calibration cells were called; empty likewise.
        notes: what should be said of how they were found.
        taught_synthetic: whether synthetic cells have taught the model, or what it decides by.
        synthetic_cells: whether the images are of synthetic cells.
        path: of the table; None where none was written.
        about: what made the table, for whoever writes it later.
    """

    frame: pl.DataFrame
    files: tuple[Path, ...]
    model: str
    tally: Tally
    decided_by: Path | None
    how: str
    notes: tuple[str, ...]
    taught_synthetic: bool
    synthetic_cells: bool
    path: Path | None
    about: dict[str, Any]

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
    force: bool = False,
    on_progress: Progress | None = None,
) -> Predicted:
    """Apply a model to images.

    Every network sees them prepared as its own training cells were. An image that cannot be used
    is a row without a probability whose ``problem`` says why. While a table is made, finished
    rows lie in ``.<out>.work`` beside it, from which a killed prediction goes on.

    Args:
        images: files, folders, zips, globs (see ``prediction.inputs``), or listed images.
        models: as ``open_model`` takes them.
        out: the table to write, .parquet, .csv or .json; None for no file.
        decision: likewise.
        engine: likewise.
        device: likewise.
        spread: likewise.
        subject_from: a regular expression that finds the subject in a file's name.
        force: replace a file that is there.
        on_progress: called with the images done and their total.

    Raises:
        BlastscopeError: where the model or the images cannot be opened, not one image can be
            used, or ``out`` is there already or cannot be written.
    """
    if out is not None:
        _refuse_taken(out, force)
    found = images if isinstance(images, InputImages) else list_inputs(images, subject_from)
    opened = open_model(models, decision=decision, engine=engine, device=device, spread=spread)
    model = opened.on(found)
    if out is None:
        return _judged(_all_rows(found, model, None, on_progress), found, model, None)
    with only_one(out.absolute()):
        journal = Journal(out.with_name(f".{out.name}.work"), _identity(found, model))
        rows = _all_rows(found, model, journal, on_progress)
        if not _any_usable(rows):  # there is nothing to go on from
            journal.remove()
        made = _judged(rows, found, model, out)
        write_output(made.frame, made.tally.persons, out, made.about)
        journal.remove()
    return made


def _refuse_taken(out: Path, force: bool) -> None:
    if out.suffix.lower() not in SUFFIXES:
        raise BlastscopeError(f"{out} is none of {', '.join(SUFFIXES)}: choose one of them.")
    if out.is_dir():
        raise BlastscopeError(f"{out} is a folder: choose another name.")
    if out.exists() and not force:
        raise BlastscopeError(f"{out} is there already: choose another name, or give --force.")


def _all_rows(
    found: InputImages,
    model: PredictionModel,
    journal: Journal | None,
    on_progress: Progress | None,
) -> pl.DataFrame:
    frames = journal.done() if journal else []
    done, total = sum(map(len, frames)), len(found)
    rest = replace(found, pictures=found.pictures[done:])
    rows = _told(predict_rows(rest, model.predictor, model.name), done, total, on_progress)
    frames.extend(journal.keep(rows) if journal else rows)
    return pl.concat(frames)


def _told(
    frames: Iterator[pl.DataFrame], done: int, total: int, on_progress: Progress | None
) -> Iterator[pl.DataFrame]:
    """Pass frames on and say how many rows there were."""
    for frame in frames:
        done += len(frame)
        if on_progress:
            on_progress(done, total)
        yield frame


def _judged(
    rows: pl.DataFrame, found: InputImages, model: PredictionModel, out: Path | None
) -> Predicted:
    if not _any_usable(rows):
        first = rows.row(0, named=True)
        raise BlastscopeError(
            f"None of {len(rows):,} images can be used: {first['file'] or first['cell']} "
            f"{first['problem']}. Give images of single cells (BMP, PNG, TIFF, JPEG or WebP)."
        )
    frame, by = decide(rows, model.decides), model.decides
    usable = rows["p_all"].is_not_null() & ~rows["out_of_distribution"].fill_null(False)
    return Predicted(
        frame=frame,
        files=tuple(p.path for p, good in zip(found, usable, strict=True) if good and p.path),
        model=model.name,
        tally=tally(frame, by),
        decided_by=None if by is None else by.path,
        how="" if by is None else how_decided(by, brief=model.predictor.voters.bundle is not None),
        notes=found.notes,
        taught_synthetic=model.synthetic,
        synthetic_cells=found.synthetic,
        path=out,
        about=_about(model, found),
    )


def _any_usable(rows: pl.DataFrame) -> bool:
    return rows["p_all"].null_count() < len(rows)


def _about(model: PredictionModel, found: InputImages) -> dict[str, Any]:
    about = model.predictor.voters.metadata() | about_decision(model.decides)
    return {**about, "synthetic": model.synthetic or found.synthetic}


def _identity(found: InputImages, model: PredictionModel) -> dict[str, str]:
    """What the rows of a table follow from."""
    from blastscope import __version__

    voters = model.predictor.voters
    networks = repr([(run.checkpoint, run.settings, run.recipe.prediction) for run in voters.runs])
    what = (networks, voters.bundle, voters.combination, model.name)
    how = repr((*what, model.predictor.spreads, __version__))
    return {"images": _digest(found), "model": hashlib.sha256(how.encode()).hexdigest()}


def _digest(found: InputImages) -> str:
    """Digest what is said of the images and, of their files and zips, length and time."""
    digest = hashlib.sha256()
    for path in found.archives:
        digest.update(repr(_state(path)).encode())
    for picture in found:
        said = (picture.file, picture.cell, picture.subject, picture.label)
        digest.update(repr((*said, _state(picture.path))).encode())
    return digest.hexdigest()


def _state(path: Path | None) -> tuple[int, int] | None:
    if path is None or not path.exists():
        return None
    state = path.stat()
    return state.st_size, state.st_mtime_ns
