"""The features of a frozen part: computed once per cell and view, kept beside the store.

They lie in ``STORE/features/<key>/`` (``training.feature_cache``), with an ``info.json``. The key
is a
digest of the frozen weights, of where the network is parted, of the store's fingerprint and of the
precision, so that nothing stale can be read.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from blastscope.data.store import Store
from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json, write_json
from blastscope.models.frozen_split import FrozenSplit
from blastscope.models.graph_split import Features
from blastscope.parallel import memory
from blastscope.training.batches import PixelViews, ViewList
from blastscope.training.feature_cache import FeatureCache

VERSION = 1
FOLDER, INFO = "features", "info.json"
BATCH = 64
_PIECE_VIEWS, _PIECE_BYTES, _MOST_PIECES = 1024, 64 * 2**20, 64
"""What a kill may cost; and how many files a filling may leave, for each is held open."""
_LEAST_ON_A_CPU, _LEAST_ON_A_GPU = 2_000, 20_000
"""Operations for each byte kept, below which computing is as fast as reading."""
_CHECKED = 8


def features_of(
    halves: FrozenSplit,
    store: Store,
    wanted: ViewList,
    device: torch.device,
    on_progress: Callable[[int, int], None] | None = None,
) -> FeatureCache | None:
    """Return the features of every view in ``wanted``, computing those that are not on disk.

    They are computed in single precision, as predictions are, whatever training computes in.
    Interrupted, it goes on behind its last whole piece; a second process that wants the same
    waits for the first.

    Args:
        halves: the parted network.
        store: the prepared cells.
        wanted: which rows in which views.
        device: what to compute on.
        on_progress: called with the views that are done, and their total.

    Returns:
        The cache; None if it is not worth its room (``_is_worth_it``), or where the store is
        read-only and does not have it.

    Raises:
        BlastscopeError: if the cache is damaged.
    """
    compute = _Compute(halves.frozen.to(device).eval(), PixelViews(store.pixels), device)
    shapes, operations = _look(compute)
    note = {"version": VERSION, "store": store.fingerprint, "precision": "float32"}
    note |= {"parted": halves.description, "weights": _digest(halves.frozen)}
    path = store.path / FOLDER / _key(note)
    cache = FeatureCache(path, shapes)
    wanted = wanted.unique()
    if not _is_worth_it(cache, operations, len(wanted.rows), store.path, device):
        return None
    if not os.access(store.path, os.W_OK):
        cache.load(len(store))
        return None if len(cache.missing(wanted).rows) else cache
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


def _look(compute: _Compute) -> tuple[list[tuple[int, ...]], int]:
    """Run one cell: the shapes that it is handed on in, and the operations that it takes."""
    with FlopCounterMode(display=False) as counter:
        features = compute(ViewList.of(np.zeros(1, np.int64)))
    return [tuple(values.shape[1:]) for values in features], int(counter.get_total_flops())


def _is_worth_it(
    cache: FeatureCache, operations: int, views: int, place: Path, device: torch.device
) -> bool:
    """Whether features are faster to read than to compute, and there is room for them.

    Every epoch reads all of them: what does not stay in memory comes from a disk.
    """
    least = _LEAST_ON_A_CPU if device.type == "cpu" else _LEAST_ON_A_GPU
    if operations < least * cache.bytes_a_view:
        return False
    size = views * cache.bytes_a_view
    return size < shutil.disk_usage(place).free / 2 and size < memory() / 2


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
    """Compute a few views again and hold them against the disk's.

    Raises:
        BlastscopeError: if they are not the same within rounding.
    """
    known = cache._piece_of[wanted.rows, wanted.operations] >= 0
    some = np.flatnonzero(known)[:: max(1, int(known.sum()) // _CHECKED)][:_CHECKED]
    if not len(some):
        return
    views = wanted[some]
    found = cache.take(views.rows, views.operations)
    for now, then in zip(compute(views), found, strict=True):
        if not (now - then).abs().max() <= 1e-3 * now.abs().max() + 1e-6:
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
