"""Many pictures through a network, a few at a time, so that memory stays small."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blastscope.explanation.attribution import Attribution, attribute
from blastscope.explanation.models import ExplainedModel

_MOST = 64
_PIXELS = 2**19
"""Together: 32 pictures of 128 × 128, 5 of 300 × 300."""


def at_once(model: ExplainedModel) -> int:
    """Return how many pictures go through a network together."""
    return max(1, min(_MOST, _PIXELS // model.size**2))


def logits_of(
    model: ExplainedModel, pictures: Iterable[Tensor], every_view: bool
) -> NDArray[np.float64]:
    """Return the logits (N,) of pictures that are made while the network takes them.

    Args:
        model: the network.
        pictures: each (3, S, S), RGB, 0..255.
        every_view: whether each is seen in all the views that the model predicts with.
    """
    left = iter(pictures)
    found = [np.zeros(0)]
    while batch := list(islice(left, at_once(model))):
        found.append(model.logits(torch.stack(batch), every_view))
    return np.concatenate(found)


def evidence_of(model: ExplainedModel, images: Tensor, method: str) -> Attribution:
    """Return the evidence in any number of images (N, 3, S, S), as :func:`attribute` does."""
    parts = [attribute(model, some, method) for some in torch.split(images, at_once(model))]
    return Attribution(
        np.concatenate([part.for_all for part in parts]),
        np.concatenate([part.for_normal for part in parts]),
    )
