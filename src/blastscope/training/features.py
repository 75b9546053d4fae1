"""Cached features: what a frozen backbone computes of each cell and view, once, beside the store.

They lie in ``STORE/features/<key>/`` with an ``info.json``. The key is a digest of the frozen
weights, of where the network is split, of the store's fingerprint and of the precision, so that
nothing stale can be read. They are written in pieces: ``00000.views.npy`` (int64, n × 2: row of the
store, operation of ``models.dihedral``) and ``00000.0.npy`` (float32, n × …) for each tensor at the
split. Pieces are read through memory maps.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from blastscope.data.store import Store
from blastscope.errors import BlastscopeError, writing
from blastscope.io.files import read_json, replacing, write_json
from blastscope.models.dihedral import OPERATIONS
from blastscope.models.frozen_split import Features, FrozenSplit
from blastscope.parallel import memory
from blastscope.training.batches import PixelViews, ViewList
from blastscope.training.class_balance import Rows

VERSION = 1
FOLDER, INFO = "features", "info.json"
BATCH = 64
_PIECE_VIEWS, _PIECE_BYTES, _MOST_PIECES = 1024, 64 * 2**20, 64
"""The most work that a kill may lose; and the most files, because each is held open."""
_LEAST_ON_A_CPU, _LEAST_ON_A_GPU = 2_000, 20_000
"""Operations per cached byte below which computing is as fast as reading."""
_CHECKED = 8


def _no_views() -> np.ndarray[Any, Any]:
    return np.empty((0, OPERATIONS), np.int32)


@dataclass
class FeatureCache:
    """An open cache of features, a source of views for training and prediction."""

    path: Path
    shapes: list[tuple[int, ...]]  # of each tensor, without the batch
    _pieces: list[list[np.ndarray[Any, Any]]] = field(default_factory=list)
    _piece_of: np.ndarray[Any, Any] = field(
        default_factory=lambda: np.empty((0, OPERATIONS), np.int32)
    )
    _row_of: np.ndarray[Any, Any] = field(
        default_factory=lambda: np.empty((0, OPERATIONS), np.int32)
    )

    @property
    def bytes_a_view(self) -> int:
        """The size of one view on disk."""
        return 4 * sum(math.prod(shape) for shape in self.shapes)

    def take(self, rows: Rows, operations: np.ndarray[Any, Any]) -> Features:
        """Return the features of views: float32 tensors, each (n, ...)."""
        pieces, within = self._piece_of[rows, operations], self._row_of[rows, operations]
        if (pieces < 0).any():
            raise IndexError("The features of a view were never computed.")
        found = [np.empty((len(rows), *shape), np.float32) for shape in self.shapes]
        for piece in np.unique(pieces):
            here = np.flatnonzero(pieces == piece)
            for target, source in zip(found, self._pieces[piece], strict=True):
                target[here] = source[within[here]]
        return tuple(torch.from_numpy(values) for values in found)

    def missing(self, wanted: ViewList) -> ViewList:
        """Return those of ``wanted`` that are not on disk yet, each once."""
        views = wanted.unique()
        return views[self._piece_of[views.rows, views.operations] < 0]

    def load(self, cells: int) -> None:
        """Open the pieces that are on disk; ``cells`` is the number of the store's rows."""
        self._pieces = []
        self._piece_of = np.full((cells, OPERATIONS), -1, np.int32)
        self._row_of = np.zeros((cells, OPERATIONS), np.int32)
        for number, path in enumerate(sorted(self.path.glob("*.views.npy"))):
            views = _map(path)
            stem = path.name.partition(".")[0]
            files = (self.path / f"{stem}.{k}.npy" for k in range(len(self.shapes)))
            self._pieces.append([_map(file) for file in files])
            self._piece_of[views[:, 0], views[:, 1]] = number
            self._row_of[views[:, 0], views[:, 1]] = np.arange(len(views))

    def add(self, views: ViewList, features: Sequence[np.ndarray[Any, Any]]) -> None:
        """Write one more piece; its list of views comes last and marks it as complete."""
        there = (int(path.name.partition(".")[0]) for path in self.path.glob("*.views.npy"))
        stem = f"{max(there, default=-1) + 1:05d}"
        for k, values in enumerate(features):
            _save(self.path / f"{stem}.{k}.npy", values)
        _save(self.path / f"{stem}.views.npy", views.pairs())


def features_of(
    split: FrozenSplit,
    store: Store,
    wanted: ViewList,
    device: torch.device,
    on_progress: Callable[[int, int], None] | None = None,
) -> FeatureCache | None:
    """Return the features of every view in ``wanted``, computing those that are not on disk.

    They are computed in single precision, as predictions are, whatever precision training uses. An
    interrupted computation continues after its last whole piece; a second process that needs the
    same features waits for the first. None if a cache would not pay (``_is_worth_it``), or if the
    store is read-only and does not have it. ``on_progress`` is called with the number of views
    computed, and their total.

    Raises:
        BlastscopeError: if the cache is damaged.
    """
    compute = _Compute(split.frozen.to(device).eval(), PixelViews(store.pixels), device)
    shapes, operations = _measure(compute)
    note = {"version": VERSION, "store": store.fingerprint, "precision": "float32"}
    note |= {"split": split.description, "weights": _digest(split.frozen)}
    path = store.path / FOLDER / _key(note)
    cache = FeatureCache(path, shapes)
    wanted = wanted.unique()
    if not _is_worth_it(cache, operations, len(wanted.rows), store.path, device):
        return None
    if not os.access(store.path, os.W_OK):
        cache.load(len(store))
        return None if len(cache.missing(wanted).rows) else cache
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        _begin(path, {**note, "shapes": [list(shape) for shape in shapes]})
        cache.load(len(store))
        _check(cache, compute, wanted)
        _fill(cache, compute, cache.missing(wanted), len(wanted.rows), on_progress)
        cache.load(len(store))
    return cache


@dataclass(frozen=True)
class _Compute:
    frozen: nn.Module
    pixels: PixelViews
    device: torch.device

    def __call__(self, views: ViewList) -> Features:
        images = self.pixels.take(views.rows, views.operations).to(self.device)
        with torch.inference_mode():
            return tuple(values.float().cpu() for values in self.frozen(images))


def _measure(compute: _Compute) -> tuple[list[tuple[int, ...]], int]:
    """Run one cell: return the shapes at the split and the operations that it needs."""
    with FlopCounterMode(display=False) as counter:
        features = compute(ViewList.of(np.zeros(1, np.int64)))
    return [tuple(values.shape[1:]) for values in features], int(counter.get_total_flops())


def _is_worth_it(
    cache: FeatureCache, operations: int, views: int, folder: Path, device: torch.device
) -> bool:
    """Return whether features are faster to read than to compute and fit into memory and disk.

    Every epoch reads all of them: what does not stay in memory comes from the disk.
    """
    least = _LEAST_ON_A_CPU if device.type == "cpu" else _LEAST_ON_A_GPU
    if operations < least * cache.bytes_a_view:
        return False
    size = views * cache.bytes_a_view
    return size < shutil.disk_usage(folder).free / 2 and size < memory() / 2


def _fill(
    cache: FeatureCache,
    compute: _Compute,
    todo: ViewList,
    total: int,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    size = min(_PIECE_VIEWS, _PIECE_BYTES // cache.bytes_a_view)
    size = max(size, -(-len(todo.rows) // _MOST_PIECES))
    for first in range(0, len(todo.rows), size):
        piece = todo[first : first + size]
        found: list[Features] = []
        for start in range(0, len(piece.rows), BATCH):
            found.append(compute(piece[start : start + BATCH]))
            if on_progress:
                done = total - len(todo.rows) + first + start + len(found[-1][0])
                on_progress(done, total)
        cache.add(piece, [torch.cat(parts).numpy() for parts in zip(*found, strict=True)])


def _check(cache: FeatureCache, compute: _Compute, wanted: ViewList) -> None:
    """Compute a few views again and compare them with those on disk.

    Raises:
        BlastscopeError: if they differ by more than rounding.
    """
    known = cache._piece_of[wanted.rows, wanted.operations] >= 0
    some = np.flatnonzero(known)[:: max(1, int(known.sum()) // _CHECKED)][:_CHECKED]
    if not len(some):
        return
    views = wanted[some]
    found = cache.take(views.rows, views.operations)
    for now, then in zip(compute(views), found, strict=True):
        if not (now - then).abs().max() <= 1e-3 * now.abs().max() + 1e-6:
            raise BlastscopeError(f"{cache.path} has damaged features: remove the folder.")


def _begin(path: Path, note: dict[str, Any]) -> None:
    if not (path / INFO).is_file():
        write_json(path / INFO, {"format": "blastscope-features", **note})
        return
    content = read_json(path / INFO)
    if any(content.get(key) != value for key, value in note.items()):
        raise BlastscopeError(
            f"{path} has features of another network or store: remove the folder."
        )


def _key(note: dict[str, Any]) -> str:
    return hashlib.sha256(repr(sorted(note.items())).encode()).hexdigest()[:16]


def _digest(module: nn.Module) -> str:
    """Return a digest of every weight, statistic and constant of a module."""
    digest = hashlib.sha256()
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"


def _map(path: Path) -> np.ndarray[Any, Any]:
    try:
        values: np.ndarray[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.EMFILE:
            raise BlastscopeError(
                f"{path.parent} has more files than this system lets a process open: raise the "
                "limit (ulimit -n 4096), or give --no-cache."
            ) from error
        raise BlastscopeError(f"{path} cannot be read ({error}): remove {path.parent}.") from error
    return values


def _save(path: Path, values: np.ndarray[Any, Any]) -> None:
    with replacing(path) as beside:
        np.save(beside, values, allow_pickle=False)
