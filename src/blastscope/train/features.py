"""The features of a frozen part, on disk beside the store: once per cell and view.

``STORE/features/<key>/`` holds ``info.json`` and pieces: ``00000.views.npy`` (int64, n × 2: row of
the store, operation of ``train.augment``) and, for each tensor that the frozen part hands on,
``00000.0.npy`` (float32, n × …). The key is a digest of the frozen weights, of where the network is
parted, of the store's fingerprint and of the precision, so that nothing stale can be read.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import nn

from blastscope.errors import BlastscopeError, writing
from blastscope.files import read_json, replacing, write_json
from blastscope.prepare.store import Store
from blastscope.train.augment import COUNT
from blastscope.train.balance import Rows
from blastscope.train.halves import Features, Halves
from blastscope.train.views import PixelViews, ViewList

VERSION = 1
FOLDER, INFO = "features", "info.json"
BATCH = 64
_PIECE_VIEWS, _PIECE_BYTES = 1024, 64 * 2**20
_CHECKED = 8


@dataclass
class FeatureCache:
    """An open cache; a source of views for training and prediction."""

    path: Path
    shapes: list[tuple[int, ...]]
    """Of each tensor, without the batch."""
    _pieces: list[list[np.ndarray[Any, Any]]] = field(default_factory=list)
    _piece_of: np.ndarray[Any, Any] = field(default_factory=lambda: np.empty((0, COUNT), np.int32))
    _place_of: np.ndarray[Any, Any] = field(default_factory=lambda: np.empty((0, COUNT), np.int32))

    def take(self, rows: Rows, operations: np.ndarray[Any, Any]) -> Features:
        """Return the features of views: float32 tensors, each (n, ...)."""
        pieces, places = self._piece_of[rows, operations], self._place_of[rows, operations]
        found = [np.empty((len(rows), *shape), np.float32) for shape in self.shapes]
        for piece in np.unique(pieces):
            here = np.flatnonzero(pieces == piece)
            for target, source in zip(found, self._pieces[piece], strict=True):
                target[here] = source[places[here]]
        return tuple(torch.from_numpy(values) for values in found)

    def missing(self, wanted: ViewList) -> ViewList:
        """Return those of ``wanted`` that are not there yet, each once."""
        views = np.unique(np.stack([wanted.rows, wanted.operations.astype(np.int64)], 1), axis=0)
        absent = views[self._piece_of[views[:, 0], views[:, 1]] < 0]
        return ViewList(absent[:, 0], absent[:, 1].astype(np.uint8))

    def load(self, cells: int) -> None:
        """Open the pieces that are on disk; ``cells`` is the number of the store's rows."""
        self._pieces = []
        self._piece_of = np.full((cells, COUNT), -1, np.int32)
        self._place_of = np.zeros((cells, COUNT), np.int32)
        for number, path in enumerate(sorted(self.path.glob("*.views.npy"))):
            views = _map(path)
            stem = path.name.partition(".")[0]
            files = (self.path / f"{stem}.{k}.npy" for k in range(len(self.shapes)))
            self._pieces.append([_map(file) for file in files])
            self._piece_of[views[:, 0], views[:, 1]] = number
            self._place_of[views[:, 0], views[:, 1]] = np.arange(len(views))

    def add(self, views: ViewList, features: Sequence[np.ndarray[Any, Any]]) -> None:
        """Write one more piece; its list of views comes last and says that it is whole."""
        stem = f"{len(list(self.path.glob('*.views.npy'))):05d}"
        for k, values in enumerate(features):
            _save(self.path / f"{stem}.{k}.npy", values)
        pairs = np.stack([views.rows, views.operations.astype(np.int64)], 1)
        _save(self.path / f"{stem}.views.npy", pairs)


def features_of(
    halves: Halves,
    store: Store,
    wanted: ViewList,
    device: torch.device,
    precision: str,
    on_progress: Callable[[int, int], None] | None = None,
) -> FeatureCache | None:
    """Return the features of every view in ``wanted``, computing those that are not on disk.

    Interrupted, it goes on behind its last whole piece; a second process that wants the same
    waits for the first.

    Args:
        halves: the parted network.
        store: the prepared cells.
        wanted: which rows in which views.
        device: what to compute on.
        precision: Lightning's name of it, ``32-true`` or ``bf16-mixed``.
        on_progress: called with the views that are done, and their total.

    Returns:
        The cache; None where it would not fit into half of what the disk has free, or of the
        memory (every epoch reads all of it: from a disk that may be slower than computing).

    Raises:
        BlastscopeError: where the cache is damaged or cannot be written.
    """
    compute = _Compute(halves.frozen.to(device).eval(), PixelViews(store.pixels), device, precision)
    shapes = [tuple(f.shape[1:]) for f in compute(ViewList.of(np.zeros(1, np.int64)))]
    note = {"version": VERSION, "store": store.fingerprint, "precision": precision}
    note |= {"parted": halves.description, "weights": _digest(halves.frozen)}
    path = store.path / FOLDER / _key(note)
    cache = FeatureCache(path, shapes)
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        _begin(path, {**note, "shapes": [list(shape) for shape in shapes]})
        cache.load(len(store))
        todo = cache.missing(wanted)
        bytes_a_view = 4 * sum(int(np.prod(shape)) for shape in shapes)
        room = shutil.disk_usage(path).free / 2
        if len(todo.rows) * bytes_a_view > room or len(wanted.rows) * bytes_a_view > _memory() / 2:
            return None
        _check(cache, compute, wanted)
        _fill(cache, compute, todo, bytes_a_view, len(wanted.rows), on_progress)
        cache.load(len(store))
    return cache


@dataclass(frozen=True)
class _Compute:
    frozen: nn.Module
    pixels: PixelViews
    device: torch.device
    precision: str

    def __call__(self, views: ViewList) -> Features:
        mixed = self.precision.startswith("bf16")
        cast = torch.autocast(self.device.type, torch.bfloat16) if mixed else nullcontext()
        images = self.pixels.take(views.rows, views.operations).to(self.device)
        with torch.inference_mode(), cast:
            return tuple(values.float().cpu() for values in self.frozen(images))


def _fill(
    cache: FeatureCache,
    compute: _Compute,
    todo: ViewList,
    bytes_a_view: int,
    total: int,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    size = max(1, min(_PIECE_VIEWS, _PIECE_BYTES // max(bytes_a_view, 1)))
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
    """Compute a few views again and hold them against the disk's.

    Raises:
        BlastscopeError: where they are not the same within rounding.
    """
    known = cache._piece_of[wanted.rows, wanted.operations] >= 0
    some = np.flatnonzero(known)[:: max(1, int(known.sum()) // _CHECKED)][:_CHECKED]
    if not len(some):
        return
    views = wanted[some]
    near = 0.05 if compute.precision.startswith("bf16") else 1e-3
    found = cache.take(views.rows, views.operations)
    for now, then in zip(compute(views), found, strict=True):
        if not (now - then).abs().max() <= near * now.abs().max() + 1e-6:
            raise BlastscopeError(f"{cache.path} holds damaged features: remove the folder.")


def _begin(path: Path, note: dict[str, Any]) -> None:
    if not (path / INFO).is_file():
        write_json(path / INFO, {"format": "blastscope-features", **note})
        return
    content = read_json(path / INFO)
    if any(content.get(key) != value for key, value in note.items()):
        raise BlastscopeError(f"{path} holds the features of something else: remove the folder.")


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
        raise BlastscopeError(f"{path} cannot be read ({error}): remove {path.parent}.") from error
    return values


def _memory() -> float:
    """Return the machine's memory in bytes; without a limit where it does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return math.inf


def _save(path: Path, values: np.ndarray[Any, Any]) -> None:
    with replacing(path) as beside:
        np.save(beside, values, allow_pickle=False)
