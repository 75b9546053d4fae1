"""Errors counted: cells by how many models miss them, and what a single model adds or spoils."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blastscope.evaluation.aligned_predictions import AlignedPredictions
from blastscope.evaluation.metrics import THRESHOLD

CLASSES = ("all", "hem")


@dataclass(frozen=True)
class ModelErrors:
    """One model's errors in one class, in cells.

    Attributes:
        model: the model's name.
        label: ``all`` or ``hem``.
        cells: how many cells the class has.
        errors: how many of them the model misses.
        only_right: cells that this model gets right and every other misses; None for a lone model.
        only_wrong: cells that this model misses and every other gets right; None likewise.
    """

    model: str
    label: str
    cells: int
    errors: int
    only_right: int | None
    only_wrong: int | None


@dataclass(frozen=True)
class Counts:
    """The counts of the paper's error analysis (Section 3.4.1).

    Attributes:
        missed_by: for each class, how many cells exactly k models miss, k from 0 to all of them.
        models: a row for each model and class, models in the order in which they were given.
    """

    missed_by: dict[str, tuple[int, ...]]
    models: tuple[ModelErrors, ...]

    @property
    def total(self) -> tuple[int, ...]:
        """How many cells of either class exactly k models miss."""
        return tuple(sum(classes) for classes in zip(*self.missed_by.values(), strict=True))

    def of(self, model: str) -> tuple[ModelErrors, ...]:
        """The rows of one model, a class each."""
        return tuple(row for row in self.models if row.model == model)


def misses(scores: AlignedPredictions) -> NDArray[np.bool_]:
    """Say which cells each model calls wrongly, shape (cells, models); .5 is called normal."""
    return np.asarray((scores.p_all > THRESHOLD) != scores.is_all[:, None])


def count_errors(scores: AlignedPredictions) -> Counts:
    """Count the errors of one part's labelled cells (``AlignedPredictions.part``)."""
    missed = misses(scores)
    count = len(scores.models)
    truth = {"all": scores.is_all, "hem": ~scores.is_all}
    by = missed.sum(axis=1)
    missed_by = {
        label: tuple(int(n) for n in np.bincount(by[rows], minlength=count + 1))
        for label, rows in truth.items()
    }
    alone_right = (by == count - 1)[:, None] & ~missed
    alone_wrong = (by == 1)[:, None] & missed
    models = tuple(
        ModelErrors(
            model,
            label,
            int(rows.sum()),
            int(missed[rows, column].sum()),
            int(alone_right[rows, column].sum()) if count > 1 else None,
            int(alone_wrong[rows, column].sum()) if count > 1 else None,
        )
        for column, model in enumerate(scores.models)
        for label, rows in truth.items()
    )
    return Counts(missed_by, models)
