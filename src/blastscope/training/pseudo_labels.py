"""Pseudo-labels: training in which test cells count as what other models say of them.

It is transductive: the network is fitted to the very cells that it is judged by, though never to
their labels. So its predictions keep the other models' probabilities beside its own, and whatever
reports them says so. The idea for this data set is that of Xiao et al., DeepMEN, in: ISBI 2019
C-NMC Challenge; the rule is ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blastscope.errors import BlastscopeError
from blastscope.recipes.schema import Recipe
from blastscope.training.dataset import TrainingData
from blastscope.training.distillation import Teachers, taught_probabilities

SURE = 0.95
"""A test cell joins training if the models' probability of its likelier class is at least this."""


@dataclass(frozen=True)
class PseudoLabels:
    """The training data with test cells in them, and what the first round said of these.

    Attributes:
        before: the other models' probability of ALL for each test cell, in the order of the rows.
        added: how many cells of each class joined.
    """

    inputs: TrainingData
    before: NDArray[np.float64]
    added: dict[str, int]

    @property
    def note(self) -> dict[str, Any]:
        """What the predictions and the run record."""
        return {"sure": SURE, "added": self.added, "cells": len(self.before)}


def with_pseudo_labels(recipe: Recipe, inputs: TrainingData, models: Teachers) -> PseudoLabels:
    """Add test cells of which other models are sure to the training cells.

    Of each class at most as many join as there are training cells, the surest first; each counts as
    one training cell. The labels of the test cells are not looked at.

    Args:
        recipe: that is trained.
        inputs: the data of the training.
        models: the prediction tables of the models; their log-odds are averaged.

    Raises:
        BlastscopeError: if there are no test cells, a table was trained on them or lacks some, no
            cell is sure, or the recipe draws batches by subject.
    """
    rows = inputs.rows["test"]
    if not len(rows):
        raise BlastscopeError("Pseudo-labels are of test cells, and this split has none.")
    if recipe.training.heterogeneity is not None:
        raise BlastscopeError(
            f"{recipe.name} draws batches by subject and label, which pseudo-labels are not: leave "
            "--pseudo-labels out."
        )
    before = taught_probabilities(inputs, models, "test")
    known = inputs.is_all[inputs.training.rows]
    chosen = np.concatenate(
        [
            _surest(np.where(before >= 0.5, before, 0.0), int(known.sum())),
            _surest(np.where(before < 0.5, 1 - before, 0.0), int((~known).sum())),
        ]
    )
    if not len(chosen):
        raise BlastscopeError(
            f"The models are sure (at least {SURE}) of none of the {len(rows)} test cells: leave "
            "--pseudo-labels out."
        )
    targets = inputs.is_all.astype(np.float32) if inputs.targets is None else inputs.targets.copy()
    targets[rows] = before >= 0.5
    more = np.zeros(len(chosen), np.uint8)
    training = replace(
        inputs.training,
        rows=np.concatenate([inputs.training.rows, rows[chosen]]),
        operations=np.concatenate([inputs.training.operations, more]),
    )
    added = {
        "all": int((before[chosen] >= 0.5).sum()),
        "hem": int((before[chosen] < 0.5).sum()),
    }
    return PseudoLabels(replace(inputs, training=training, targets=targets), before, added)


def _surest(certainty: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """Return the places of the cells that are sure enough, at most ``most``, the surest first."""
    order = np.argsort(-certainty, kind="stable")
    return order[certainty[order] >= SURE][:most].astype(np.int64)
