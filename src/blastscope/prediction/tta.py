"""A cell in all eight ways to lay it, whether or not a network averages over them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from blastscope.data.crop import Pixels
from blastscope.engines.engine import Engine

VIEWS = 8


def predict_views(
    engine: Engine, pixels: Pixels, known: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the logit of every way to lay cells, (N, 8), in the order of ``models.dihedral``.

    Args:
        engine: the network.
        pixels: prepared cells, uint8 (N, S, S, 3).
        known: what the network said of them, (N, V): all of it where V is 8, else the cells as
            they lie.
    """
    if engine.views == VIEWS:
        return known
    rest = [engine.view_logits(lay(pixels, k)) for k in range(1, VIEWS)]
    return np.concatenate([known, *rest], axis=1)


def lay(pixels: Pixels, operation: int) -> Pixels:
    """Lay cells (N, S, S, 3) as operation 0 to 7 of ``models.dihedral`` does."""
    turned = np.rot90(pixels, operation % 4, axes=(1, 2))
    return np.ascontiguousarray(turned[:, :, ::-1] if operation >= VIEWS // 2 else turned)
