"""What a network's last layer is given: the features that tell a cell from what is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blastscope.models.classifier import Classifier

Floats = NDArray[np.float64]
WIDEST = 2048
"""Features wider than this (a flattened map may have 200,000) are sketched to it."""
_SEED = 24


@contextmanager
def listening(
    classifier: Classifier, on_features: Callable[[Tensor], None] | None
) -> Iterator[None]:
    """Hand on what the classifier's last layer is given, (N, width), while the block runs.

    The layer is the same module in the whole network and in the upper half that cached features
    are fed to, so both are heard.

    Args:
        classifier: the network.
        on_features: called once a batch; None listens to nothing.
    """
    if on_features is None:
        yield
        return
    last = classifier.head.get_submodule("logit")
    handle = last.register_forward_pre_hook(lambda _, given: on_features(given[0]))
    try:
        yield
    finally:
        handle.remove()


@dataclass(frozen=True)
class Sketch:
    """A count sketch: each feature, with a sign, is added to one of ``WIDEST`` sums.

    It keeps distances as a Gaussian projection does, for the price of one pass over the features
    (M. Charikar, K. Chen and M. Farach-Colton, ICALP 2002; K. Weinberger et al., ICML 2009).

    Attributes:
        sums: for each feature the sum that it is added to, int64 of shape (width,).
        signs: 1 or -1, int8 of shape (width,).
    """

    sums: Tensor
    signs: Tensor

    @classmethod
    def of_width(cls, width: int) -> Sketch:
        """Draw the sketch of so many features; always the same."""
        rng = np.random.default_rng(_SEED)
        sums = torch.from_numpy(rng.integers(0, WIDEST, width))
        return cls(sums, torch.from_numpy(rng.integers(0, 2, width, dtype=np.int8) * 2 - 1))

    def __call__(self, features: Tensor) -> Tensor:
        """Return the sums, (N, WIDEST), of features (N, width)."""
        found = features.new_zeros((len(features), WIDEST))
        return found.index_add_(1, self.sums, features * self.signs)


@dataclass
class Kept:
    """Keeps the features of a pass, sketched where they are wide: at most 8 KiB a cell."""

    sketch: Sketch | None = None
    _batches: list[Tensor] = field(default_factory=list)

    def add(self, features: Tensor) -> None:
        """Keep a batch, (N, width), of any device."""
        width = features.shape[1]
        if width > WIDEST:
            self.sketch = self.sketch or Sketch.of_width(width)
            features = self.sketch(features.float().cpu())
        self._batches.append(features.float().cpu().clone())

    def all(self) -> NDArray[np.float32]:
        """Return what was kept, (cells, width or WIDEST), in the order of the pass."""
        found: NDArray[np.float32] = torch.cat(self._batches).numpy()
        return found


def direction(features: NDArray[np.floating]) -> Floats:
    """Return the signed square roots of features, (N, width), scaled to length 1.

    Networks answer what they do not know with few and weak features, so that by its plain features
    empty black lies nearer the mean than many a cell; by their direction it does not. Roots keep
    two or three strong features from standing for all (F. Perronnin, J. Sánchez and T. Mensink,
    ECCV 2010; for length 1, M. Mueller and M. Hein, ICML 2025).
    """
    roots = np.sign(features) * np.sqrt(np.abs(features, dtype=np.float64))
    lengths = np.linalg.norm(roots, axis=1, keepdims=True)
    directions: Floats = roots / np.maximum(lengths, 1e-12)
    return directions
