"""Features on disk: pieces that are written whole and read through memory maps.

A piece is ``00000.views.npy`` (int64, n × 2: row of the store, operation of ``models.dihedral``)
and, for each tensor that a frozen part hands on, ``00000.0.npy`` (float32, n × …).
"""

from __future__ import annotations

import errno
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from blastscope.errors import BlastscopeError
from blastscope.io.files import replacing
from blastscope.models.dihedral import VIEWS
from blastscope.models.graph_split import Features
from blastscope.training.batches import ViewList
from blastscope.training.class_balance import Rows


@dataclass
class FeatureCache:
    """An open cache; a source of views for training and prediction."""

    path: Path
    shapes: list[tuple[int, ...]]
    """Of each tensor, without the batch."""
    _pieces: list[list[np.ndarray[Any, Any]]] = field(default_factory=list)
    _piece_of: np.ndarray[Any, Any] = field(default_factory=lambda: np.empty((0, VIEWS), np.int32))
    _place_of: np.ndarray[Any, Any] = field(default_factory=lambda: np.empty((0, VIEWS), np.int32))

    @property
    def bytes_a_view(self) -> int:
        """What one view takes on disk."""
        return 4 * sum(math.prod(shape) for shape in self.shapes)

    def take(self, rows: Rows, operations: np.ndarray[Any, Any]) -> Features:
        """Return the features of views: float32 tensors, each (n, ...)."""
        pieces, places = self._piece_of[rows, operations], self._place_of[rows, operations]
        if (pieces < 0).any():
            raise IndexError("A view was asked for that was never computed.")
        found = [np.empty((len(rows), *shape), np.float32) for shape in self.shapes]
        for piece in np.unique(pieces):
            here = np.flatnonzero(pieces == piece)
            for target, source in zip(found, self._pieces[piece], strict=True):
                target[here] = source[places[here]]
        return tuple(torch.from_numpy(values) for values in found)

    def missing(self, wanted: ViewList) -> ViewList:
        """Return those of ``wanted`` that are not there yet, each once."""
        views = wanted.unique()
        return views[self._piece_of[views.rows, views.operations] < 0]

    def load(self, cells: int) -> None:
        """Open the pieces that are on disk; ``cells`` is the number of the store's rows."""
        self._pieces = []
        self._piece_of = np.full((cells, VIEWS), -1, np.int32)
        self._place_of = np.zeros((cells, VIEWS), np.int32)
        for number, path in enumerate(sorted(self.path.glob("*.views.npy"))):
            views = _map(path)
            stem = path.name.partition(".")[0]
            files = (self.path / f"{stem}.{k}.npy" for k in range(len(self.shapes)))
            self._pieces.append([_map(file) for file in files])
            self._piece_of[views[:, 0], views[:, 1]] = number
            self._place_of[views[:, 0], views[:, 1]] = np.arange(len(views))

    def add(self, views: ViewList, features: Sequence[np.ndarray[Any, Any]]) -> None:
        """Write one more piece; its list of views comes last and says that it is whole."""
        there = (int(path.name.partition(".")[0]) for path in self.path.glob("*.views.npy"))
        stem = f"{max(there, default=-1) + 1:05d}"
        for k, values in enumerate(features):
            _save(self.path / f"{stem}.{k}.npy", values)
        _save(self.path / f"{stem}.views.npy", views.pairs())


def _map(path: Path) -> np.ndarray[Any, Any]:
    try:
        values: np.ndarray[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.EMFILE:
            raise BlastscopeError(
                f"{path.parent} has more pieces than this system lets a process open: allow more "
                "(ulimit -n 4096), or give --no-cache."
            ) from error
        raise BlastscopeError(f"{path} cannot be read ({error}): remove {path.parent}.") from error
    return values


def _save(path: Path, values: np.ndarray[Any, Any]) -> None:
    with replacing(path) as beside:
        np.save(beside, values, allow_pickle=False)
