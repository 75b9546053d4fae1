"""The labelled cells that a model is adapted to: their probabilities, and their features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blastscope.bundle.network import BundledNetwork
from blastscope.data.images import SEVERAL
from blastscope.data.layouts import Problem
from blastscope.data.names import ALL
from blastscope.data.store import INFO, open_store
from blastscope.engines.engine import mean_probability
from blastscope.engines.last_layer import FeatureEngine
from blastscope.errors import BlastscopeError
from blastscope.prediction.inputs import list_inputs
from blastscope.prediction.models import Predictor, Prepared
from blastscope.prediction.pipeline import BATCH, read_cells
from blastscope.prediction.table import stacked
from blastscope.training.finished_run import refuse_other_preparation

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]
FEWEST = 20
"""Labelled cells: fewer show next to nothing of a laboratory."""
FEWEST_OF_CLASS = 5
"""Of each class: every fold of a cross-fit by cell needs one."""
_CHECKED = 32
"""Prepared cells that are kept, to check that a new last layer computes what was fitted."""


@dataclass(frozen=True)
class AdaptationCells:
    """N labelled cells, and what the model says of them."""

    is_all: Bools  # truth, shape (n,)
    subjects: tuple[str | None, ...]  # of each cell; None if unknown
    p_all: Floats  # the model's probability of ALL, not calibrated, shape (n,)
    # What the last layer takes, shape (n, F), the logit, and what is added to that of the last
    # layer, shape (n,); None of several networks.
    features: Floats | None
    logits: Floats | None
    added: Floats | None
    checked: Prepared  # the first few cells, prepared
    synthetic: bool  # whether they were drawn
    out_of_distribution: int  # how many look unlike the training cells
    unlabelled: int = 0  # cells without a label, which are left out
    problems: tuple[tuple[str, str], ...] = ()  # files that cannot be used, and why
    notes: tuple[str, ...] = ()  # how the files were found

    def __len__(self) -> int:
        return len(self.is_all)


@dataclass(frozen=True)
class _Cell:
    """A labelled cell, prepared."""

    label: str
    subject: str | None
    pixels: Prepared


def feature_engine(predictor: Predictor) -> FeatureEngine | None:
    """Return the engine that computes features; None if the model has several networks."""
    first, *others = predictor.members.runs
    if others or not isinstance(first, BundledNetwork):
        return None
    return FeatureEngine(first.onnx(), first.weights(), f"{first.contents}/model.onnx")


def read_labelled(
    source: Path,
    predictor: Predictor,
    engine: FeatureEngine | None,
    subject_from: str | None = None,
    on_progress: Progress | None = None,
) -> AdaptationCells:
    """Predict the labelled cells of a folder, a zip or a store that is prepared for the model.

    Args:
        source: where the cells are.
        predictor: the model.
        engine: computes features of a single network; None for several.
        subject_from: a regular expression that finds the subject in a file's path.
        on_progress: called with the cells done and their total.

    Raises:
        BlastscopeError: if the cells cannot be read, the store is prepared otherwise, or there are
            too few cells of a class, or two have the same pixels and different labels.
    """
    about = _Listed()
    if (source / INFO).is_file():
        cells = _of_store(source, predictor, about)
    else:
        cells = _of_images(source, predictor, subject_from, about, on_progress)
    found = _computed(cells, predictor, engine, about)
    _refuse_few(found, source)
    return found


@dataclass
class _Listed:
    """What is known of the cells besides themselves; complete once they were all read."""

    synthetic: bool = False
    unlabelled: int = 0
    problems: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def _of_store(path: Path, predictor: Predictor, about: _Listed) -> Iterator[_Cell]:
    store = open_store(path)
    about.synthetic, about.unlabelled = store.synthetic, store.cells["label"].null_count()
    for run in predictor.members.runs:
        refuse_other_preparation(run, store)
    rows = store.cells.select("label", "subject").iter_rows()
    for row, (label, subject) in enumerate(rows):
        if label is not None:
            yield _Cell(label, subject, {store.settings: np.array(store.pixels[row])})


def _of_images(
    source: Path,
    predictor: Predictor,
    subject_from: str | None,
    about: _Listed,
    on_progress: Progress | None,
) -> Iterator[_Cell]:
    inputs = list_inputs([source], subject_from)
    about.synthetic, about.notes = inputs.synthetic, inputs.notes
    labelled: dict[str, tuple[str, str]] = {}  # by pixels: the first file, and its label
    for done, (image, cell) in enumerate(read_cells(inputs, predictor.settings), 1):
        if on_progress:
            on_progress(done, len(inputs))
        if isinstance(cell, Problem):
            about.problems += ((image.file, cell.message),)
        elif "frames" in cell.flags:  # of which picture is the label?
            about.problems += ((image.file, SEVERAL),)
        elif image.label is None:
            about.unlabelled += 1
        else:
            file, label = labelled.setdefault(cell.pixel_hash, (image.file, image.label))
            if label != image.label:
                raise BlastscopeError(
                    f"{image.file} is labelled {image.label}, and {file} has the same pixels and "
                    f"is labelled {label}: correct one label, or remove both files."
                )
            yield _Cell(image.label, image.subject, cell.pixels)


def _computed(
    cells: Iterator[_Cell], predictor: Predictor, engine: FeatureEngine | None, about: _Listed
) -> AdaptationCells:
    labels: list[str] = []
    subjects: list[str | None] = []
    p_all, values, logits, added, ood = [np.empty(0)], [], [], [], [np.empty(0)]
    checked: list[Prepared] = []
    while batch := list(islice(cells, BATCH)):
        labels += [cell.label for cell in batch]
        subjects += [cell.subject for cell in batch]
        checked += [cell.pixels for cell in batch[: max(0, _CHECKED - len(checked))]]
        prepared = stacked([cell.pixels for cell in batch])
        ood.append(predictor.ood_scores(prepared))
        if engine is None:
            p_all.append(predictor.probabilities(prepared).p_all)
            continue
        found = engine.compute(prepared[predictor.settings[0]])
        values.append(found.values)
        logits.append(found.logits)
        added.append(found.added)
        p_all.append(mean_probability(found.logits[:, None]))
    return AdaptationCells(
        is_all=np.array([label == ALL for label in labels], np.bool_),
        subjects=tuple(subjects),
        p_all=np.concatenate(p_all),
        features=np.concatenate(values) if values else None,
        logits=np.concatenate(logits) if logits else None,
        added=np.concatenate(added) if added else None,
        checked=stacked(checked),
        synthetic=about.synthetic,
        out_of_distribution=int((np.concatenate(ood) > 1).sum()),
        unlabelled=about.unlabelled,
        problems=about.problems,
        notes=about.notes,
    )


def _refuse_few(cells: AdaptationCells, source: Path) -> None:
    n_all, n_hem = count_classes(cells.is_all)
    if len(cells) >= FEWEST and min(n_all, n_hem) >= FEWEST_OF_CLASS:
        return
    left_out = ""
    if cells.unlabelled or cells.problems:
        left_out = (
            f" ({cells.unlabelled} without a label and {len(cells.problems)} that cannot be used "
            "are left out)"
        )
    raise BlastscopeError(
        f"{source} has {n_all} ALL and {n_hem} normal cells{left_out}: an adaptation needs "
        f"{FEWEST} labelled cells, at least {FEWEST_OF_CLASS} of each class."
    )


def count_classes(is_all: Bools) -> tuple[int, int]:
    """Return how many cells are ALL and how many are normal."""
    n_all = int(is_all.sum())
    return n_all, len(is_all) - n_all


def count_subjects(is_all: Bools, subjects: Sequence[str | None]) -> tuple[int, int]:
    """Return how many known subjects have ALL cells and how many have normal ones."""
    named = [(bool(label), name) for label, name in zip(is_all, subjects, strict=True) if name]
    of_all = {name for label, name in named if label}
    return len(of_all), len({name for label, name in named if not label})
