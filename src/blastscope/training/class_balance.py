"""Which cells an epoch trains on, how often, and with what weight in the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blastscope.errors import BlastscopeError
from blastscope.models.dihedral import FLIPS, ROTATIONS

Rows = NDArray[np.int64]
Bools = NDArray[np.bool_]
Operations = NDArray[np.uint8]
"""Each an operation of ``models.dihedral``; 0 changes nothing."""


@dataclass(frozen=True)
class TrainingSet:
    """The cells of an epoch."""

    rows: Rows  # rows of the store; a cell may stand here more than once
    # For each row, the flip or rotation that makes it (``models.dihedral``); 0 is none.
    operations: Operations
    # The weight of a normal and of an ALL cell in the loss.
    class_weights: tuple[float, float] = (1.0, 1.0)


def balanced(rows: Rows, is_all: Bools, how: str, seed: int) -> TrainingSet:
    """Balance the classes of a training part.

    - ``paper`` (Section 3.1): each class is brought to half the part's size, the larger one by
      leaving cells out, the smaller one by copies, each flipped or rotated once and for all;
    - ``undersample``: the larger class is cut down to the smaller one;
    - ``oversample``: cells of the smaller class are repeated as they are, none before its turn;
    - ``weights``: every cell stays, and each class weighs the same in the loss;
    - ``none``.

    Args:
        rows: the part's rows of the store.
        is_all: for each of them, whether the cell is ALL.
        seed: decides which cells are left out, copied, and how.

    Raises:
        BlastscopeError: if a class is missing.
    """
    classes = [rows[~is_all], rows[is_all]]
    if min(map(len, classes)) == 0:
        raise BlastscopeError("The training part has cells of one class only: split again.")
    if how == "weights":
        weights = tuple(len(rows) / (2 * len(members)) for members in classes)
        return TrainingSet(rows, np.zeros(len(rows), np.uint8), (weights[0], weights[1]))
    if how == "none":
        return TrainingSet(rows, np.zeros(len(rows), np.uint8))
    if how == "oversample":
        return _oversampled(classes, np.random.default_rng([seed, 1]))
    half = len(rows) // 2 if how == "paper" else min(map(len, classes))
    rng = np.random.default_rng([seed, 1])
    return _joined([_to_size(members, half, rng) for members in classes])


def from_uses(rows: Rows, uses: NDArray[np.int8], seed: int) -> TrainingSet:
    """Take each cell as often as a ``paper`` split says: never, once, or once and as a copy."""
    rng = np.random.default_rng([seed, 1])
    once, twice = rows[uses >= 1], rows[uses >= 2]
    return _joined([(once, np.zeros(len(once), np.uint8)), (twice, _copies(len(twice), rng))])


def _to_size(members: Rows, size: int, rng: np.random.Generator) -> tuple[Rows, Operations]:
    """Draw ``size`` of ``members``; where they are fewer, add copies, no cell before its turn."""
    if len(members) >= size:
        return np.sort(rng.choice(members, size, replace=False)), np.zeros(size, np.uint8)
    short = size - len(members)
    rounds = [rng.permutation(members) for _ in range(-(-short // len(members)))]
    copied = np.concatenate(rounds)[:short]
    operations = np.concatenate([np.zeros(len(members), np.uint8), _copies(short, rng)])
    return np.concatenate([members, copied]), operations


def _oversampled(classes: Sequence[Rows], rng: np.random.Generator) -> TrainingSet:
    most = max(map(len, classes))
    parts = []
    for members in classes:
        rounds = [rng.permutation(members) for _ in range((most - 1) // len(members))]
        repeated = np.concatenate([members, *rounds])[:most]
        parts.append((repeated, np.zeros(most, np.uint8)))
    return _joined(parts)


def _copies(count: int, rng: np.random.Generator) -> Operations:
    """Draw how copies are made, as the paper's authors did: a coin for flip or rotation first."""
    flips, rotations = (rng.choice(kind, count) for kind in (FLIPS, ROTATIONS))
    return np.where(rng.random(count) < 0.5, flips, rotations).astype(np.uint8)


def _joined(
    parts: Sequence[tuple[Rows, Operations]],
) -> TrainingSet:
    rows, operations = zip(*parts, strict=True)
    return TrainingSet(np.concatenate(rows), np.concatenate(operations))
