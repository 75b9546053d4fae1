"""Heads: from a backbone's map to one logit, and from it to the cell's bounding box."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, adaptive_max_pool2d, normalize

from blastscope.models.scratch import initialise_like_keras
from blastscope.recipes.schema import Dense, Dropout, Step

_ROOT = 1e-5  # keeps the gradient of the square root finite
_BLACK = 12.0  # up to this value a pixel is background: resizing blurs a cell's edge into black


class AverageAndMaximum(nn.Module):
    """The mean and the maximum of each channel, one after the other: (N, 2 C, 1, 1)."""

    def forward(self, features: Tensor) -> Tensor:
        """Pool a map (N, C, H, W)."""
        return torch.cat([adaptive_avg_pool2d(features, 1), adaptive_max_pool2d(features, 1)], 1)


class BilinearPooling(nn.Module):
    """Products of all pairs of channels, summed over the map; signed root; unit length: (N, C²).

    Lin, RoyChowdhury and Maji, Bilinear CNN Models for Fine-grained Visual Recognition, ICCV 2015.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Pool a map (N, C, H, W)."""
        flat = features.flatten(2)
        products = (flat @ flat.transpose(1, 2)).flatten(1)
        return normalize(products.sign() * (products.abs() + _ROOT).sqrt())


def make_head(steps: tuple[Step, ...], shape: tuple[int, int, int]) -> nn.Sequential:
    """Build the head of a recipe, with the last dense layer that it implies.

    It takes features (N, C, H, W), whose (C, H, W) is ``shape``, and gives logits (N, 1).
    """
    head = nn.Sequential()
    width = 0
    for number, step in enumerate(steps, start=1):
        if isinstance(step, Dropout):
            head.add_module(f"dropout{number}", nn.Dropout(step.dropout))
        elif isinstance(step, Dense):
            head.add_module(f"dense{number}", nn.Linear(width, step.dense))
            width = step.dense
            if step.activation == "relu":
                head.add_module(f"relu{number}", nn.ReLU())
        elif step == "batchnorm":
            head.add_module(f"batchnorm{number}", nn.BatchNorm1d(width))
        else:
            width = _add_pooling(head, step, shape)
    head.add_module("logit", nn.Linear(width, 1))
    initialise_like_keras(head)
    return head


def _add_pooling(head: nn.Sequential, kind: str, shape: tuple[int, int, int]) -> int:
    """Add the layers that make a vector of the map; return its length."""
    channels = shape[0]
    pooled: dict[str, tuple[nn.Module, int]] = {
        "gap": (nn.AdaptiveAvgPool2d(1), channels),
        "avgmax": (AverageAndMaximum(), 2 * channels),
        "bilinear": (BilinearPooling(), channels**2),
    }
    width = prod(shape)
    if kind in pooled:
        layer, width = pooled[kind]
        head.add_module(kind, layer)
    head.add_module("flatten", nn.Flatten())
    return width


class BoxHead(nn.Sequential):
    """From a map (N, C, H, W) to the corners of the cell's bounding box (N, 4), in [-1, 1].

    Marzahl et al., Classification of Leukemic B-Lymphoblast Cells from Blood Smear Microscopic
    Images with an Attention-Based Deep Learning Method, ISBI C-NMC Challenge 2019.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(
            AverageAndMaximum(),
            nn.Flatten(),
            nn.BatchNorm1d(2 * channels),
            nn.Dropout(0.25),
            nn.Linear(2 * channels, 512),
            nn.ReLU(),
            nn.BatchNorm1d(512),
            nn.Dropout(0.5),
            nn.Linear(512, 4),
        )
        initialise_like_keras(self)

    def forward(self, features: Tensor) -> Tensor:
        """Return left, top, right and bottom; -1 is the image's left or top edge, 1 the other."""
        found: Tensor = super().forward(features)  # type: ignore[no-untyped-call]
        return 2 * (torch.sigmoid(found) - 0.5)


def cell_boxes(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the bounding box of what is not black on each image, as :class:`BoxHead` gives it.

    Args:
        images: (N, 3, S, S), RGB, 0..255.

    Returns:
        The corners (N, 4), and (N,) whether there is a cell; without one they mean nothing.
    """
    cell = images.amax(1) > _BLACK
    side = images.shape[-1]
    edges = []
    for axis in (1, 2):  # whether each column, then each row, has a pixel of the cell
        line = cell.any(axis).float()
        first = line.argmax(1)
        last = side - line.flip(1).argmax(1)
        edges.append((2.0 * first / side - 1, 2.0 * last / side - 1))
    (left, right), (top, bottom) = edges
    return torch.stack([left, top, right, bottom], 1), cell.flatten(1).any(1)


def box_loss(found: Tensor, images: Tensor) -> Tensor:
    """Return the mean absolute error of corners (N, 4) on images (N, 3, S, S), a scalar."""
    corners, there = cell_boxes(images)
    errors = (found - corners).abs().mean(1) * there
    return errors.sum() / there.sum().clamp(min=1)
