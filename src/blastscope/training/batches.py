"""Batches of views: no file is opened, no image decoded, and nothing waits for a worker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from blastscope.models.dihedral import VIEWS
from blastscope.training.augmentation import Augmentation
from blastscope.training.class_balance import Rows, TrainingSet
from blastscope.training.views import ViewList, Views

Inputs = torch.Tensor | tuple[torch.Tensor, ...]
Batch = tuple[Inputs, torch.Tensor]


@dataclass(frozen=True)
class TrainingBatches:
    """One epoch of shuffled batches: (what the network takes, float targets N).

    Order and augmentation follow from the seed and the epoch alone, so that a resumed run sees
    what an uninterrupted one would have seen.
    """

    views: Views
    is_all: np.ndarray[Any, np.dtype[np.bool_]]
    """For each row of the store."""
    chosen: TrainingSet
    size: int
    dihedral: bool
    """Whether an epoch draws a dihedral operation for each cell."""
    augment: Augmentation | None
    """What changes a batch's pixels, if anything does."""
    seed: int
    epoch: int

    def __len__(self) -> int:
        return -(-len(self.chosen.rows) // self.size)

    def __iter__(self) -> Iterator[Batch]:
        rng = np.random.default_rng([self.seed, 2, self.epoch])
        order = rng.permutation(len(self.chosen.rows))
        operations = self.chosen.operations.copy()
        if self.dihedral:  # an online operation replaces that of a copy
            operations = rng.integers(0, VIEWS, len(order), dtype=np.uint8)
        for first in range(0, len(order), self.size):
            places = order[first : first + self.size]
            rows = self.chosen.rows[places]
            taken = self.views.take(rows, operations[places])
            if self.augment:
                assert isinstance(taken, torch.Tensor)  # such a recipe has no cached features
                taken = self.augment(taken, rng)
            yield taken, _targets(self.is_all, rows)


@dataclass(frozen=True)
class PlainBatches:
    """Rows of the store in their order, all laid the same way: (input, float targets N)."""

    views: Views
    is_all: np.ndarray[Any, np.dtype[np.bool_]]
    rows: Rows
    size: int
    operation: int = 0

    def __len__(self) -> int:
        return -(-len(self.rows) // self.size)

    def __iter__(self) -> Iterator[Batch]:
        for first in range(0, len(self.rows), self.size):
            rows = self.rows[first : first + self.size]
            views = ViewList.of(rows, self.operation)
            yield self.views.take(rows, views.operations), _targets(self.is_all, rows)


def views_of_training(chosen: TrainingSet, augment: bool) -> ViewList:
    """Return every view that an epoch of training may ask for."""
    if not augment:
        return ViewList(chosen.rows, chosen.operations)
    rows = np.unique(chosen.rows)
    return ViewList(np.repeat(rows, VIEWS), np.tile(np.arange(VIEWS, dtype=np.uint8), len(rows)))


def _targets(is_all: np.ndarray[Any, np.dtype[np.bool_]], rows: Rows) -> torch.Tensor:
    return torch.from_numpy(is_all[rows].astype(np.float32))
