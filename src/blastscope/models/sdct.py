"""SDCT-AuxNet: a stain layer and a cosine transform before a small network, from scratch.

Gehlot, Gupta and Gupta, SDCT-AuxNet^θ: DCT augmented stain deconvolutional CNN with auxiliary
classifier for cancer diagnosis, Medical Image Analysis 61:101661, 2020. Its bilinear pooling is the
head ``bilinear``, its second classifier ``model.svm``. The network has 95,371 weights with two
outputs; one logit, the difference of the two, saves 4,097 of them.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from blastscope.errors import BlastscopeError

STAIN_BASIS = (
    (0.4826, 0.5379, -0.8276),
    (0.7996, 0.6464, 0.2828),
    (0.3573, 0.5411, 0.4848),
)
"""The basis at which the stain layer starts, a stain in each column, red, green and blue in rows.

Macenko's procedure (ISBI 2009) on the pixels of one ALL cell of C-NMC, UID_16_11_1: two stains, at
percentiles .1 and 99.9 of the angle, and the direction of the residual. The authors' own image is
not published; they read it with red and blue exchanged, which training undoes."""
WIDTHS = (16, 16, 32, 48, 64, 64)
_POOLED_AFTER = (2, 3, 4, 5)  # the numbers of the convolutions that a pooling follows
_SMALLEST = 33


class StainTransform(nn.Module):
    """Optical densities to stains, and these to the cosine transform of the whole image.

    The 1 × 1 convolution is trained; it starts at the inverse of ``STAIN_BASIS``.
    """

    cosines: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.deconvolution = nn.Conv2d(3, 3, 1, bias=False)
        self.register_buffer("cosines", cosine_matrix(size), persistent=False)

    def forward(self, densities: Tensor) -> Tensor:
        """Map (N, 3, S, S) to the signed logarithm of the transform, of the same shape."""
        stains = torch.tanh(self.deconvolution(densities))
        found = self.cosines @ stains @ self.cosines.T
        return found.sign() * torch.log10(1 + found.abs())


class Sdct(nn.Module):
    """The network up to its last map, (N, 64, 10, 10) of images of 350 pixels."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.stain = StainTransform(size)
        self.layers = nn.Sequential()
        for number, (before, after) in enumerate(pairwise((3, *WIDTHS)), start=1):
            side, stride = (5, 2) if number == 1 else (3, 1)
            self.layers.add_module(f"conv{number}", nn.Conv2d(before, after, side, stride, 1))
            self.layers.add_module(f"norm{number}", nn.BatchNorm2d(after))
            self.layers.add_module(f"relu{number}", nn.ReLU(inplace=True))
            if number in _POOLED_AFTER:
                self.layers.add_module(f"pool{number}", nn.MaxPool2d(2))
        self._initialise()

    def forward_features(self, densities: Tensor) -> Tensor:
        """Map optical densities (N, 3, S, S) to the last map."""
        return self.layers(self.stain(densities))  # type: ignore[no-any-return]

    forward = forward_features

    def _initialise(self) -> None:
        """Draw weights as He et al. 2015 do for ReLU, by the outputs; biases are zero."""
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        inverse = np.linalg.inv(np.array(STAIN_BASIS))
        weight = torch.tensor(inverse, dtype=torch.float32).view(3, 3, 1, 1)
        with torch.no_grad():
            self.stain.deconvolution.weight.copy_(weight)


def make_sdct(name: str, size: int) -> Sdct:
    """Build the network for images of ``size`` pixels.

    Raises:
        BlastscopeError: if its poolings leave nothing of so small an image.
    """
    if size < _SMALLEST:
        raise BlastscopeError(
            f"{name} cannot take images of {size} pixels: set input.size to {_SMALLEST} or more."
        )
    return Sdct(size)


def cosine_matrix(size: int) -> Tensor:
    """Return the orthonormal DCT-II as a matrix (size, size), a frequency in each row."""
    frequency, place = np.mgrid[:size, :size]
    matrix = np.sqrt(2 / size) * np.cos(math.pi * frequency * (2 * place + 1) / (2 * size))
    matrix[0] = np.sqrt(1 / size)
    return torch.tensor(matrix, dtype=torch.float32)
