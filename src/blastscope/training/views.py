"""Views: a cell of the store, laid one of eight ways; and where a network's input comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from blastscope.data.crop import Pixels
from blastscope.models.dihedral import dihedral_views
from blastscope.training.class_balance import Rows

Operations = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class ViewList:
    """Rows of a store, each with an operation of ``models.dihedral``."""

    rows: Rows
    operations: Operations

    @classmethod
    def of(cls, rows: Rows, operation: int = 0) -> ViewList:
        """Return ``rows``, all laid the same way."""
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
    """A source of what a network takes."""

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
