"""The paper's network from scratch (section 3.2), and a small relative for quick runs."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from torch import Tensor, nn

from blastscope.errors import BlastscopeError


class _Plan(NamedTuple):
    filters: tuple[int, ...]  # of each 3x3 convolution
    pools: tuple[int, ...]  # the side of the pooling after each
    batchnorm: bool


_TRUNKS = {
    "cnn4": _Plan((32, 64, 128, 256), (2, 2, 3, 5), batchnorm=False),
    # BatchNorm, which the paper's has not: with it a small network learns within a few epochs.
    "cnn4-small": _Plan((16, 32, 64, 64), (2, 2, 2, 2), batchnorm=True),
}


class Trunk(nn.Sequential):
    """Convolutions with ReLU, each followed by max pooling; called as timm's networks are."""

    def __init__(self, name: str) -> None:
        super().__init__()
        plan = _TRUNKS[name]
        for index, ((before, after), pool) in enumerate(
            zip(pairwise((3, *plan.filters)), plan.pools, strict=True), start=1
        ):
            self.add_module(f"conv{index}", nn.Conv2d(before, after, 3, padding=1))
            if plan.batchnorm:
                self.add_module(f"norm{index}", nn.BatchNorm2d(after))
            self.add_module(f"relu{index}", nn.ReLU(inplace=True))
            self.add_module(f"pool{index}", nn.MaxPool2d(pool))
        initialise_like_keras(self)

    def forward_features(self, images: Tensor) -> Tensor:
        """Return the feature map, (N, 256, 5, 5) for ``cnn4`` on 300-pixel images."""
        return self(images)  # type: ignore[no-any-return]


def make_trunk(name: str, size: int) -> Trunk:
    """Build ``cnn4`` or ``cnn4-small`` for images of ``size`` pixels.

    Raises:
        BlastscopeError: if the poolings leave nothing of so small an image.
    """
    side = size
    least = 1
    for pool in _TRUNKS[name].pools:
        side //= pool
        least *= pool
    if side < 1:
        raise BlastscopeError(
            f"{name} cannot take images of {size} pixels: set input.size to {least} or more."
        )
    return Trunk(name)


def initialise_like_keras(module: nn.Module) -> None:
    """Draw weights as Keras does by default: Glorot uniform, and biases of zero.

    PyTorch's own default for these layers is narrower and has random biases. Draws from torch's
    global generator. (Glorot and Bengio 2010; keras.io/api/layers, Conv2D and Dense.)
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
