"""From pixel values 0..255 to what a backbone was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from blastscope.models.evening import evened

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Blue, green, red, in 0..255: the means that Caffe's VGG16 subtracts and Keras after it.
CAFFE_MEAN = (103.939, 116.779, 123.68)


class Normalise(nn.Module):
    """Subtracts a mean and divides by a deviation, both per channel and in pixel values.

    Attributes:
        reverse: whether it turns RGB into BGR first.
        even: whether it brings each cell to even colours before all else (``models.evening``).
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, mean: Sequence[float], deviation: Sequence[float], reverse: bool = False
    ) -> None:
        super().__init__()
        self.reverse = reverse
        self.even = False
        # Not in the checkpoint: the recipe says them.
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map RGB (N, 3, H, W) of 0..255, integer or float, to normalised float."""
        images = images.float()
        if self.even:
            images = evened(images)
        if self.reverse:
            images = images.flip(1)
        return (images - self.mean) / self.deviation


def make_normalise(kind: str, config: Mapping[str, Any], colours: str = "given") -> Normalise:
    """Build the normalisation of a recipe's ``input.normalise`` and ``input.colours``.

    ``unit``, ``minus_one_one`` and ``caffe`` are what Keras's Rescaling(1/255), MobileNet's and
    VGG16's ``preprocess_input`` do.

    Args:
        kind: the recipe's word.
        config: what timm records of the backbone, whose mean and deviation ``model`` takes.
        colours: ``given`` or ``even``.
    """
    made = _made(kind, config)
    made.even = colours == "even"
    return made


def _made(kind: str, config: Mapping[str, Any]) -> Normalise:
    match kind:
        case "unit":
            return Normalise((0.0,) * 3, (255.0,) * 3)
        case "minus_one_one":
            return Normalise((127.5,) * 3, (127.5,) * 3)
        case "caffe":
            return Normalise(CAFFE_MEAN, (1.0,) * 3, reverse=True)
        case "imagenet":
            return _of_unit(IMAGENET_MEAN, IMAGENET_STD)
        case _:
            return _of_unit(config["mean"], config["std"])


def _of_unit(mean: Sequence[float], deviation: Sequence[float]) -> Normalise:
    """Take a mean and deviation that are given for values in [0, 1]."""
    return Normalise([255 * value for value in mean], [255 * value for value in deviation])
