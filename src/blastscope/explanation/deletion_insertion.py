"""Whether a map shows what the network goes by: deletion and insertion.

Petsiuk, Das and Saenko (RISE, BMVC 2018): take away the pixels that a map ranks highest and the
probability of the class must fall at once; give back only them and it must rise at once. What is
taken away is detail: the baseline is the blurred picture. The rival of every map is a random one
on the grid of the network's Grad-CAM: single pixels strewn at random would destroy more than any
patch, whatever the patch shows. That rival does not know where cells lie in pictures, so that to
beat it may take no more than that; another cell's map, which ``measure`` adds, knows it too.
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

from blastscope.explanation.attribution import Attribution, Maps, blurred
from blastscope.explanation.models import ExplainedModel

Floats = NDArray[np.float64]
STEPS = 11
"""Points of a curve: 0, 10 … 100 % of the pixels."""


@dataclass(frozen=True)
class Curves:
    """The probability of the called class while a picture is taken apart and put together.

    Attributes:
        deletion: shape (N, 11); the first is the picture as it is, the last blurred wholly.
        insertion: shape (N, 11); the other way.
    """

    deletion: Floats
    insertion: Floats


def curves(
    model: ExplainedModel,
    images: Tensor,
    maps: Mapping[str, Maps],
    rivals: Maps,
    calls_all: NDArray[np.bool_],
) -> dict[str, Curves]:
    """Return both curves of each map, and those of the random rivals as ``random``.

    Args:
        model: the network; it sees each picture once, as it lies.
        images: (N, 3, S, S), RGB, 0..255.
        maps: by name, the evidence for what each cell was called, (N, S, S).
        rivals: a random map a cell, (N, S, S). It also settles the order of pixels that a map
            ranks alike, so that a flat map fares as the random one does.
        calls_all: shape (N,), whether each cell was called ALL.
    """
    orders = [np.stack([_ranks(*pair) for pair in zip(of, rivals, strict=True)])
              for of in (*maps.values(), rivals)]  # fmt: skip
    sharp = images.to(model.device).float()
    logits = model.logits(_altered(sharp, orders), tta=False)
    sign = np.where(calls_all, 1.0, -1.0)[:, None]
    p = expit(sign * logits.reshape(len(images), -1))
    whole, soft, between = p[:, :1], p[:, 1:2], p[:, 2:]
    parts = np.split(between, 2 * len(orders), axis=1)
    return {
        name: Curves(
            np.hstack([whole, parts[2 * k], soft]), np.hstack([soft, parts[2 * k + 1], whole])
        )
        for k, name in enumerate((*maps, "random"))
    }


def _ranks(one: NDArray[np.float32], ties: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return each pixel's place in the order, 0 for the highest."""
    order = np.lexsort((-ties.ravel(), -one.ravel()))
    places = np.empty(one.size, np.int64)
    places[order] = np.arange(one.size)
    return places.reshape(one.shape)


def _altered(sharp: Tensor, orders: Sequence[NDArray[np.int64]]) -> Iterator[Tensor]:
    """Yield a cell as it is, and blurred, and for each order half taken apart, half put together.

    So all the orders share the first and the last points of their curves.
    """
    pixels = sharp.shape[-1] ** 2
    counts = [round(step * pixels / (STEPS - 1)) for step in range(1, STEPS - 1)]
    for cell, whole in enumerate(sharp):
        soft = blurred(whole[None])[0]
        yield whole
        yield soft
        for order in orders:
            places = torch.from_numpy(order[cell]).to(sharp.device)
            for under, over in ((soft, whole), (whole, soft)):
                for count in counts:
                    yield torch.where(places < count, under, over)


def rival(cells: Sequence[str], model: ExplainedModel) -> Maps:
    """Return a random map a cell, of the same grid as the model's Grad-CAM, enlarged as that is.

    It hangs on the cell's name alone, so that neither order nor company changes it.

    Args:
        cells: N names.
        model: the network, for its grid and the size of its images.

    Returns:
        Shape (N, S, S), within 0..1.
    """
    grid = model.opened.shape[1:]
    drawn = np.stack(
        [
            np.random.default_rng(xxhash.xxh3_64_intdigest(cell.encode())).random(grid, np.float32)
            for cell in cells
        ]
    )
    return Attribution(drawn, drawn).at_size(model.size).for_all
