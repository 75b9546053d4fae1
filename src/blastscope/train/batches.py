"""Batches straight from the store's memory map: no file is opened, no image decoded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from blastscope.prepare.pixels import Pixels
from blastscope.train.augment import COUNT, dihedral
from blastscope.train.balance import Rows, TrainingSet

Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class TrainingBatches:
    """One epoch of shuffled batches: (uint8 pixels N × 3 × S × S, float targets N).

    Order and augmentation follow from the seed and the epoch alone, so that a resumed run sees
    what an uninterrupted one would have seen.
    """

    pixels: Pixels
    is_all: np.ndarray[Any, np.dtype[np.bool_]]
    """For each row of the store."""
    chosen: TrainingSet
    size: int
    augment: bool
    seed: int
    epoch: int

    def __len__(self) -> int:
        return -(-len(self.chosen.rows) // self.size)

    def __iter__(self) -> Iterator[Batch]:
        rng = np.random.default_rng([self.seed, 2, self.epoch])
        order = rng.permutation(len(self.chosen.rows))
        operations = self.chosen.operations.copy()
        if self.augment:  # an online operation takes the place of a copy's own
            operations = rng.integers(0, COUNT, len(order), dtype=np.uint8)
        for first in range(0, len(order), self.size):
            places = order[first : first + self.size]
            rows = self.chosen.rows[places]
            pixels = gather(self.pixels, rows)
            if operations[places].any():
                pixels = dihedral(pixels, torch.from_numpy(operations[places]))
            yield pixels, torch.from_numpy(self.is_all[rows].astype(np.float32))


@dataclass(frozen=True)
class PlainBatches:
    """Rows of the store in their order: (uint8 pixels N × 3 × S × S, float targets N)."""

    pixels: Pixels
    is_all: np.ndarray[Any, np.dtype[np.bool_]]
    rows: Rows
    size: int

    def __len__(self) -> int:
        return -(-len(self.rows) // self.size)

    def __iter__(self) -> Iterator[Batch]:
        for first in range(0, len(self.rows), self.size):
            rows = self.rows[first : first + self.size]
            yield gather(self.pixels, rows), torch.from_numpy(self.is_all[rows].astype(np.float32))


def gather(pixels: Pixels, rows: Rows) -> torch.Tensor:
    """Copy rows out of the map as a uint8 tensor N × 3 × S × S (channels last in memory)."""
    return torch.from_numpy(pixels[rows]).permute(0, 3, 1, 2)
