"""The interface of an engine, and probabilities from its logits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from blastscope.errors import BlastscopeError

if TYPE_CHECKING:
    from blastscope.data.crop import Pixels


Logits = NDArray[np.float32]
DEVICES = ("auto", "cpu", "cuda", "mps")
AT_ONCE = 8
"""How many views of cells pass through a network together on a processor: more are not faster
there, and the activations of 64 fill 4 GB in VGG16."""


class Engine(Protocol):
    """A network that is ready to compute."""

    name: str  # of the engine, for messages
    views: int  # the number V of views of a cell, in the order of ``models.dihedral``

    def view_logits(self, pixels: Pixels) -> Logits:
        """Return the logit of each view.

        Args:
            pixels: prepared cells, uint8 (N, S, S, 3), RGB, as a store holds them.

        Returns:
            Shape (N, V).
        """


def check_device(name: str) -> None:
    """Refuse an unknown name of a device, without PyTorch.

    Raises:
        BlastscopeError: if it is unknown.
    """
    if name not in DEVICES:
        raise BlastscopeError(f"{name!r} is not a device: choose one of {', '.join(DEVICES)}.")


def cells_at_once(views: int) -> int:
    """Return how many cells pass through a network together, of which it has so many views."""
    return max(1, AT_ONCE // views)


def in_batches(pixels: Pixels, cells: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the cells in order, copied, so many at a time."""
    for first in range(0, len(pixels), cells):
        yield np.array(pixels[first : first + cells])


def joined(parts: list[Logits], views: int) -> Logits:
    """Join the logits of batches, of which there may be none."""
    return np.concatenate([np.empty((0, views), np.float32), *parts])


def mean_probability(view_logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return p(ALL) of each cell, (N,): the logistic function of its views' mean logit (N, V)."""
    return _logistic(np.asarray(view_logits, np.float64).mean(1))


def view_probabilities(view_logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return the probability of ALL that each view alone gives, of the shape of ``view_logits``."""
    return _logistic(np.asarray(view_logits, np.float64))


def _logistic(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    # 1 / (1 + exp(-x)), without the overflow.
    return np.exp(-np.logaddexp(0.0, -logits))
