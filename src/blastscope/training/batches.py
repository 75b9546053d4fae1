"""Views of a store's cells, and batches of them, without files to open or workers to wait for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from blastscope.data.crop import Pixels
from blastscope.models.dihedral import VIEWS, dihedral_views
from blastscope.training.augmentation import RowsAugmentation
from blastscope.training.class_balance import Bools, Operations, Rows, TrainingSet
from blastscope.training.devices import ALONE, Rank

Inputs = torch.Tensor | tuple[torch.Tensor, ...]
Batch = tuple[Inputs, torch.Tensor] | tuple[Inputs, torch.Tensor, torch.Tensor]
"""What the network takes, the targets, and perhaps a number for each cell's subject."""


@dataclass(frozen=True)
class ViewList:
    """Rows of a store, each with an operation of ``models.dihedral``."""

    rows: Rows
    operations: Operations

    @classmethod
    def of(cls, rows: Rows, operation: int = 0) -> ViewList:
        """Return the same view of each of ``rows``."""
        return cls(rows, np.full(len(rows), operation, np.uint8))

    def __getitem__(self, which: Any) -> ViewList:
        return ViewList(self.rows[which], self.operations[which])

    def pairs(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return an array n × 2: row, operation."""
        return np.stack([self.rows, self.operations.astype(np.int64)], 1)

    def unique(self) -> ViewList:
        """Return each view once, in the order of the rows."""
        pairs = np.unique(self.pairs(), axis=0)
        return ViewList(pairs[:, 0], pairs[:, 1].astype(np.uint8))

    def __add__(self, other: ViewList) -> ViewList:
        return ViewList(
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.operations, other.operations]),
        )


class Views(Protocol):
    """A source of the network's input: pixels or cached features."""

    def take(self, rows: Rows, operations: Operations) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Return the network's input for views, with the batch first."""


@dataclass(frozen=True)
class PixelViews:
    """Pixels straight from the store's memory map."""

    pixels: Pixels

    def take(self, rows: Rows, operations: Operations) -> torch.Tensor:
        """Return uint8 pixels N × 3 × S × S (channels last in memory)."""
        pixels = torch.from_numpy(self.pixels[rows]).permute(0, 3, 1, 2)
        return dihedral_views(pixels, torch.from_numpy(operations)) if operations.any() else pixels


@dataclass(frozen=True)
class TrainingBatches:
    """One epoch of shuffled batches: (what the network takes, float targets N).

    Order and augmentation follow from the seed and the epoch alone, so that a resumed run sees
    what an uninterrupted one would have seen. Several ranks share each batch; what augmentation
    draws differs between them.
    """

    views: Views
    targets: NDArray[np.float32]  # for each row of the store; 1 is ALL
    chosen: TrainingSet
    size: int
    dihedral: bool  # whether an epoch draws a dihedral operation for each cell
    augment: RowsAugmentation | None  # what changes a batch's pixels, if anything does
    seed: int
    epoch: int
    mixup: float | None = None  # alpha of the shares by which cells are mixed in pairs
    subjects: SubjectBatches | None = None  # draws batches of several subjects of each class
    rank: Rank = ALONE  # which share of each batch is given

    def __len__(self) -> int:
        return -(-len(self.chosen.rows) // self.size)

    def cells(self, batch: int) -> int:
        """Return how many cells a batch has, in the shares of all ranks together."""
        return min(self.size, len(self.chosen.rows) - batch * self.size)

    def __iter__(self) -> Iterator[Batch]:
        rng = np.random.default_rng([self.seed, 2, self.epoch])
        if self.subjects is None:
            order = rng.permutation(len(self.chosen.rows))
        else:
            order = self.subjects.order(len(self), self.size, rng)
        operations = self.chosen.operations.copy()
        if self.dihedral:  # an online operation replaces that of a copy
            operations = rng.integers(0, VIEWS, len(order), dtype=np.uint8)
        if not self.rank.first:
            rng = np.random.default_rng([self.seed, 2, self.epoch, self.rank.number])
        for first in range(0, len(order), self.size):
            batch = self.rank.share_of_batch(order[first : first + self.size])
            rows = self.chosen.rows[batch]
            taken = self.views.take(rows, operations[batch])
            if self.augment:
                assert isinstance(taken, torch.Tensor)  # such a recipe has no cached features
                taken = self.augment(taken, rng, rows)
            targets = torch.from_numpy(self.targets[rows])
            if self.mixup is not None:
                assert isinstance(taken, torch.Tensor)  # likewise
                taken, targets = mixed(taken, targets, self.mixup, rng)
            if self.subjects is None:
                yield taken, targets
            else:
                yield taken, targets, torch.from_numpy(self.subjects.subjects[batch])


@dataclass(frozen=True)
class SubjectBatches:
    """Batches of as many cells of each of a few subjects of each class."""

    subjects: NDArray[np.int64]  # a number for the subject of each training cell
    is_all: Bools  # for each training cell
    each: int  # subjects of a class in a batch

    def order(self, batches: int, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw the training cells of an epoch, ``size`` a batch but for what does not divide.

        A subject with too few cells gives some of them twice.
        """
        cells = max(1, size // (2 * self.each))
        drawn: list[NDArray[np.int64]] = []
        groups = [
            [np.flatnonzero(of_class & (self.subjects == one)) for one in np.unique(known)]
            for of_class in (self.is_all, ~self.is_all)
            for known in [self.subjects[of_class]]
        ]
        for _ in range(batches):
            chosen: list[NDArray[np.int64]] = []
            for members in groups:
                for which in rng.choice(len(members), self.each, replace=False):
                    few = len(members[which]) < cells
                    chosen.append(rng.choice(members[which], cells, replace=few))
            batch = np.concatenate(chosen)
            missing = size - len(batch)
            if missing:  # so that every batch has the size that the loop goes by
                batch = np.concatenate(
                    [batch, rng.choice(batch, missing, replace=missing > len(batch))]
                )
            drawn.append(batch)
        return np.concatenate(drawn)


def mixed(
    pixels: torch.Tensor, targets: torch.Tensor, alpha: float, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix each cell of a batch with another (mixup: Zhang et al., ICLR 2018); float pixels.

    The larger share is the cell's own, so that none is the other cell alone.
    """
    share = rng.beta(alpha, alpha, len(pixels))
    own = torch.from_numpy(np.maximum(share, 1 - share)).float()
    other = torch.from_numpy(rng.permutation(len(pixels)))
    wide = own[:, None, None, None]
    images = pixels.float()
    return wide * images + (1 - wide) * images[other], own * targets + (1 - own) * targets[other]


@dataclass(frozen=True)
class PlainBatches:
    """The same view of rows of the store, in their order: (input, float targets N)."""

    views: Views
    is_all: Bools
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


def _targets(is_all: Bools, rows: Rows) -> torch.Tensor:
    return torch.from_numpy(is_all[rows].astype(np.float32))
