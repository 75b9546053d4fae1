"""Normalization: from pixel values 0..255 to what a backbone was trained on.

Colour normalization may come first: it gives each channel of each cell one mean and one standard
deviation. Stain, lamp and camera shift and stretch the colours of a whole cell; the pattern of the
chromatin remains. After Reinhard et al., Color Transfer between Images, IEEE Computer Graphics and
Applications 21(5):34-41, 2001, but per channel of RGB and per cell. It is part of the network, so
that every engine does it and stores stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from blastscope.recipes.schema import Input

CELL_MEAN = (68.5, 29.9, 78.8)
CELL_STD = (12.1, 8.5, 11.6)
"""What colour normalization maps to: the averages of the cells' own means and standard deviations
in fold 1 of C-NMC 2019; red, green and blue of 0..255."""
_BLACK = 12.0  # up to this value a pixel is background: resizing blurs a cell's edge into black
_LEAST_STD = 1.0  # a channel that hardly varies is not stretched further than from this deviation

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Blue, green, red, in 0..255: the means that Caffe's VGG16 subtracts, and so Keras.
CAFFE_MEAN = (103.939, 116.779, 123.68)


def normalize_colours(images: Tensor) -> Tensor:
    """Give each channel of each cell the same mean and standard deviation; black stays black.

    Images are float, (N, 3, H, W), RGB, 0..255, cells on black; the result is a new tensor.
    """
    cell = (images.amax(dim=1, keepdim=True) > _BLACK).to(images.dtype)
    count = cell.sum((2, 3), keepdim=True).clamp(min=1.0)
    mean = (images * cell).sum((2, 3), keepdim=True) / count
    std = (((images - mean).square() * cell).sum((2, 3), keepdim=True) / count).sqrt()
    to_mean, to_std = (
        torch.tensor(values, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
        for values in (CELL_MEAN, CELL_STD)
    )
    normalized = (images - mean) / std.clamp(min=_LEAST_STD) * to_std + to_mean
    return normalized.clamp(0.0, 255.0) * cell


def optical_density(images: Tensor) -> Tensor:
    """Return the densities of float images, (N, 3, H, W), RGB, 0..255, cells on black.

    They are minus the decimal logarithm of the share of light that passes (Beer and Lambert). What
    is black in all channels was cut away and absorbs nothing; single channels at 0 count as 1.
    """
    cell = (images.amax(dim=1, keepdim=True) > 0).to(images.dtype)
    return -torch.log10(images.clamp(min=1.0) / 255.0) * cell


class Normalization(nn.Module):
    """Subtracts a mean and divides by a deviation, both per channel and in pixel values."""

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        mean: Sequence[float],
        deviation: Sequence[float],
        reverse: bool = False,
        per_cell: bool = False,
        density: bool = False,
    ) -> None:
        super().__init__()
        self.density = density  # whether it gives optical densities
        self.reverse = reverse  # whether it turns RGB into BGR first
        self.per_cell = per_cell  # whether colour normalization comes before everything else
        # Not in the checkpoint: the recipe determines them.
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map RGB (N, 3, H, W) of 0..255, integer or float, to normalized float."""
        images = images.float()
        if self.per_cell:
            images = normalize_colours(images)
        if self.density:
            return optical_density(images)
        if self.reverse:
            images = images.flip(1)
        return (images - self.mean) / self.deviation


def make_normalization(settings: Input, config: Mapping[str, Any]) -> Normalization:
    """Build the normalization of a recipe's ``input`` section.

    ``unit``, ``minus_one_one`` and ``caffe`` are what Keras's Rescaling(1/255), MobileNet's and
    VGG16's ``preprocess_input`` do; ``model`` takes mean and deviation from timm's ``config``.
    """
    known: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
        "unit": ((0.0,) * 3, (255.0,) * 3),
        "minus_one_one": ((127.5,) * 3, (127.5,) * 3),
        "caffe": (CAFFE_MEAN, (1.0,) * 3),
        "imagenet": (_in_pixels(IMAGENET_MEAN), _in_pixels(IMAGENET_STD)),
        "od": ((0.0,) * 3, (255.0,) * 3),
    }
    kind = settings.normalization
    if kind == "model":
        mean, deviation = _in_pixels(config["mean"]), _in_pixels(config["std"])
    else:
        mean, deviation = known[kind]
    per_cell = settings.colour_normalization == "per-cell"
    return Normalization(mean, deviation, kind == "caffe", per_cell, kind == "od")


def _in_pixels(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(255 * value for value in values)
