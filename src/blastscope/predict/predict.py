"""From folders of images and a model to a prediction table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.cells.layouts import Problem
from blastscope.errors import BlastscopeError, listing
from blastscope.files import only_one, remove_folder
from blastscope.predict.decisions import decide, find_decision, how_decided
from blastscope.predict.images import Pass, Progress, novelty_of, predict_images, prepare_images
from blastscope.predict.voters import open_voters
from blastscope.predictions import SYNTHETIC_MARK, write_predictions
from blastscope.train.devices import choose_device
from blastscope.train.predict import prediction_frame

SUFFIXES = (".parquet", ".csv")


@dataclass(frozen=True)
class Predicted:
    """A table of predictions on disk.

    Attributes:
        path: of the table.
        model: the name of what predicted.
        cells: how many images there are.
        called_all: how many of them were called ALL.
        referred: how many of them should go to an expert; None where nothing says so.
        decided_by: the file that says how probabilities become decisions; None where none does.
        persons: a row a subject (see ``decide.persons.person_table``); None likewise.
        how: by which rule, threshold and calibration cells were called; empty likewise.
        doubt: how often intervals such as theirs held the share of blasts in simulations.
        unfamiliar: how many look like no cell that the networks know; None where no run can tell.
        skipped: the images that cannot be used.
    """

    path: Path
    model: str
    cells: int
    called_all: int
    referred: int | None
    decided_by: Path | None
    persons: pl.DataFrame | None
    how: str
    doubt: str
    unfamiliar: int | None
    skipped: tuple[Problem, ...]


def predict(
    images: Sequence[Path],
    models: Sequence[Path],
    out: Path,
    *,
    decision: Path | None = None,
    device: str = "auto",
    skip_bad: bool = False,
    force: bool = False,
    on_progress: Progress | None = None,
) -> Predicted:
    """Apply a run, the mean of several, or an ensemble to folders of images.

    Every run sees the images prepared as its own training cells were, at its own size. The table
    has the part ``test`` throughout, what the files' names tell of subject and label, and how far
    each image is from anything that the runs know (``novelty``, ``unfamiliar``). Where the model
    has a ``decision.json``, or one is given, probabilities are calibrated, cells called at its
    operating point and doubtful ones referred. While the table is made, prepared cells lie in
    ``.<out>.work`` beside it, from which a killed run goes on.

    Args:
        images: folders of cell images, in any layout that ``blastscope check`` reads.
        models: folders of runs, or of one ensemble.
        out: the table to write, Parquet or CSV.
        decision: a ``decision.json``, or a folder with one, to decide by; by default the model's.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        skip_bad: leave out images that cannot be used rather than refuse all.
        force: replace a file that is there.
        on_progress: called with the images done, prepared or predicted, and their total.

    Raises:
        BlastscopeError: where a model is unfinished or stale, a decision is of other weights, an
            image cannot be used, or ``out`` is there already or cannot be written.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise BlastscopeError(f"{out} is neither .parquet nor .csv: choose one of them.")
    if out.exists() and not force:
        raise BlastscopeError(f"{out} is there already: choose another name, or give --force.")
    chosen, voters = choose_device(device), open_voters(models)
    decides = find_decision(models, voters, decision)
    work = out.with_name(f".{out.name}.work")
    passes = Pass(voters.runs, on_progress)
    with only_one(out.absolute()):
        stores, bad = prepare_images(voters.runs, images, work, passes, force=True)
        if bad and not skip_bad:
            remove_folder(work)
            raise BlastscopeError(_refusal(bad))
        rows = np.arange(len(stores[0]))
        p_all = voters.combination.apply(predict_images(voters.runs, stores, rows, chosen, passes))
        name = voters.name
        synthetic = stores[0].synthetic or (decides is not None and decides.synthetic)
        if synthetic and not name.endswith(SYNTHETIC_MARK):
            name += SYNTHETIC_MARK
        frame = prediction_frame(stores[0], rows, ["test"] * len(rows), name, p_all).with_columns(
            *_strangeness(novelty_of(voters.runs, stores, rows))
        )
        about = voters.metadata([store.fingerprint for store in stores])
        about["synthetic"] = voters.synthetic or synthetic
        made = decide(frame, decides)
        write_predictions(made.frame, out, about | made.about)
        remove_folder(work)
    strange = frame["unfamiliar"]
    return Predicted(
        path=out,
        model=name,
        cells=len(rows),
        called_all=made.called_all,
        referred=made.referred,
        decided_by=None if decides is None else decides.path,
        persons=made.persons,
        how="" if decides is None else how_decided(decides),
        doubt=made.doubt,
        unfamiliar=None if strange.null_count() else int(strange.sum()),
        skipped=tuple(bad),
    )


def _strangeness(found: NDArray[np.float64]) -> tuple[pl.Series, pl.Series]:
    """The columns ``novelty`` and whether it is above 1; null where it is not known."""
    novelty = pl.Series("novelty", found, pl.Float64).fill_nan(None)
    return novelty, (novelty > 1).alias("unfamiliar")


def _refusal(bad: Sequence[Problem]) -> str:
    files = listing([f"{problem.file} {problem.message}" for problem in bad])
    count = "1 image" if len(bad) == 1 else f"{len(bad)} images"
    return f"{count} cannot be used: {files}. Give --skip-bad to predict the rest."
