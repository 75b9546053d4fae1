"""Deletion and insertion curves: does a map mark the pixels that decide the call?

Petsiuk, Das and Saenko (RISE, BMVC 2018): if the pixels that a map ranks highest are removed, the
probability of the class must fall at once, and rise at once if only they are restored. A removed
pixel is one of the blurred image. The rival of every map is a random one on the grid of the
network's Grad-CAM, because single random pixels would destroy more than any patch. That rival does
not know where cells lie in images; another cell's map, which ``measure`` adds as a rival, does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from blastscope.explanation.attribution import blurred
from blastscope.explanation.cell_image import Map
from blastscope.explanation.models import ExplainedModel
from blastscope.explanation.result import Attribution

Floats = NDArray[np.float64]
STEPS = 11
"""Points of a curve: 0, 10 … 100 % of the pixels."""


@dataclass(frozen=True)
class Curves:
    """The probability of the called class while an image is removed or restored."""

    deletion: Floats  # shape (N, 11); the first is the picture as it is, the last blurred wholly
    insertion: Floats  # shape (N, 11); the other way


def curves(
    model: ExplainedModel,
    images: Tensor,
    maps: Mapping[str, Map],
    rivals: Map,
    calls_all: NDArray[np.bool_],
) -> dict[str, Curves]:
    """Return both curves of each map, and those of the random rivals as ``random``.

    Args:
        model: the network; it sees each image in one view.
        images: (N, 3, S, S), RGB, 0..255.
        maps: by name, the attribution for the call of each cell, (N, S, S).
        rivals: a random map per cell, (N, S, S). It also settles the order of pixels that a map
            ranks alike, so that a flat map is as good as the random one.
        calls_all: shape (N,), whether each cell was called ALL.
    """
    orders = [
        np.stack([_ranks(*pair) for pair in zip(of, rivals, strict=True)])
        for of in (*maps.values(), rivals)
    ]
    sharp = images.to(model.device).float()
    logits = model.logits(_altered(sharp, orders), tta=False)
    sign = np.where(calls_all, 1.0, -1.0)[:, None]
    p = expit(sign * logits.reshape(len(images), -1))
    whole, soft, between = p[:, :1], p[:, 1:2], p[:, 2:]
    parts = iter(np.split(between, 2 * len(orders), axis=1))
    return {
        name: Curves(np.hstack([whole, next(parts), soft]), np.hstack([soft, next(parts), whole]))
        for name in (*maps, "random")
    }


def _ranks(one: NDArray[np.float32], ties: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return each pixel's rank, 0 for the highest."""
    order = np.lexsort((-ties.ravel(), -one.ravel()))
    ranks = np.empty(one.size, np.int64)
    ranks[order] = np.arange(one.size)
    return ranks.reshape(one.shape)


def _altered(sharp: Tensor, orders: Sequence[NDArray[np.int64]]) -> Iterator[Tensor]:
    """Yield each cell unchanged, blurred, and for each order between these: removed, restored."""
    pixels = sharp.shape[-1] ** 2
    counts = [round(step * pixels / (STEPS - 1)) for step in range(1, STEPS - 1)]
    for cell, whole in enumerate(sharp):
        soft = blurred(whole[None])[0]
        yield whole
        yield soft
        for order in orders:
            ranks = torch.from_numpy(order[cell]).to(sharp.device)
            for under, over in ((soft, whole), (whole, soft)):
                for count in counts:
                    yield torch.where(ranks < count, under, over)


def rival(cells: Sequence[str], model: ExplainedModel) -> Map:
    """Return a random map per cell, within 0..1, on the grid of the model's Grad-CAM, enlarged.

    It depends on the cell's name alone. Its shape is (N, S, S).
    """
    grid = model.opened.shape[1:]
    seeds = (xxhash.xxh3_64_intdigest(cell.encode()) for cell in cells)
    drawn = np.stack([np.random.default_rng(seed).random(grid, np.float32) for seed in seeds])
    return Attribution(drawn, drawn).at_size(model.size).for_all
