"""From pixel values 0..255 to what a backbone was trained on.

Cells in even colours: each channel of a cell brought to one mean and one spread.

Stain, lamp and camera shift a whole cell's colours and stretch them; what tells a blast, its
chromatin's pattern, is left. After Reinhard et al., Color Transfer between Images, IEEE Computer
Graphics and Applications 21(5):34-41, 2001, per channel of RGB and within the cell alone. It is
a part of the network, so that every engine does it and no store has to be made anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

MEAN = (68.5, 29.9, 78.8)
SPREAD = (12.1, 8.5, 11.6)
"""What every cell is brought to: what the cells of C-NMC 2019's fold 1 have on average, each its
own mean and standard deviation, red, green and blue of 0..255."""
_BLACK = 12.0
"""As bright as this, of 255, is still background: shrinking blurs a cell's edge into black."""
_LEAST = 1.0
"""A channel that hardly varies is not stretched beyond this deviation."""


def normalize_colours(images: Tensor) -> Tensor:
    """Bring cells to even colours; black stays black.

    Args:
        images: float, (N, 3, H, W), RGB, 0..255, cells on black.

    Returns:
        A new tensor of the same shape, within 0..255.
    """
    cell = (images.amax(dim=1, keepdim=True) > _BLACK).to(images.dtype)
    count = cell.sum((2, 3), keepdim=True).clamp(min=1.0)
    mean = (images * cell).sum((2, 3), keepdim=True) / count
    spread = (((images - mean).square() * cell).sum((2, 3), keepdim=True) / count).sqrt()
    wanted = [torch.tensor(of, dtype=images.dtype, device=images.device) for of in (MEAN, SPREAD)]
    to_mean, to_spread = (of.view(1, 3, 1, 1) for of in wanted)
    even = (images - mean) / spread.clamp(min=_LEAST) * to_spread + to_mean
    return even.clamp(0.0, 255.0) * cell


IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Blue, green, red, in 0..255: the means that Caffe's VGG16 subtracts and Keras after it.
CAFFE_MEAN = (103.939, 116.779, 123.68)


class Normalization(nn.Module):
    """Subtracts a mean and divides by a deviation, both per channel and in pixel values.

    Attributes:
        reverse: whether it turns RGB into BGR first.
        even: whether it brings each cell to even colours before all else
        (``models.normalization``).
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
            images = normalize_colours(images)
        if self.reverse:
            images = images.flip(1)
        return (images - self.mean) / self.deviation


def make_normalization(
    kind: str, config: Mapping[str, Any], colours: str = "given"
) -> Normalization:
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


def _made(kind: str, config: Mapping[str, Any]) -> Normalization:
    match kind:
        case "unit":
            return Normalization((0.0,) * 3, (255.0,) * 3)
        case "minus_one_one":
            return Normalization((127.5,) * 3, (127.5,) * 3)
        case "caffe":
            return Normalization(CAFFE_MEAN, (1.0,) * 3, reverse=True)
        case "imagenet":
            return _of_unit(IMAGENET_MEAN, IMAGENET_STD)
        case _:
            return _of_unit(config["mean"], config["std"])


def _of_unit(mean: Sequence[float], deviation: Sequence[float]) -> Normalization:
    """Take a mean and deviation that are given for values in [0, 1]."""
    return Normalization([255 * value for value in mean], [255 * value for value in deviation])
