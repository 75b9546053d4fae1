"""A support vector machine inside a network: it decides the cells that the network is not sure of.

The auxiliary classifier of SDCT-AuxNet (Gehlot et al. 2020). Its support vectors are among the
network's tensors, so that bundles and every engine compute it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from blastscope.recipes.schema import Svm


class RbfSvm(nn.Module):
    """The decision function of a fitted machine, of maps averaged over their channels.

    Before it is fitted it has no support vectors and decides nothing.
    """

    support: Tensor
    coefficients: Tensor
    intercept: Tensor

    def __init__(self, settings: Svm, places: int) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("support", torch.zeros(0, places))
        self.register_buffer("coefficients", torch.zeros(0))
        self.register_buffer("intercept", torch.zeros(1))

    def fill(self, support: Tensor, coefficients: Tensor, intercept: Tensor) -> None:
        """Take over n support vectors (n, places), their n coefficients, and the intercept (1,)."""
        self.support, self.coefficients, self.intercept = support, coefficients, intercept

    def decided(self, features: Tensor, logits: Tensor) -> Tensor:
        """Replace the logits (N,) of unsure cells by decision values; maps are (N, C, H, W).

        A decision value is above zero for ALL. Taken for a logit it is not a measured probability.
        """
        if not len(self.support):
            return logits
        below = self.settings.below
        unsure = logits.abs() <= math.log(below / (1 - below))
        return torch.where(unsure, self(self.places_of(features)), logits)

    def forward(self, values: Tensor) -> Tensor:
        """Return the decision values (N,) of averaged maps (N, places)."""
        squared = (values[:, None] - self.support[None]).square().sum(2)
        kernel = torch.exp(-self.settings.gamma * squared)
        return kernel @ self.coefficients + self.intercept

    @staticmethod
    def places_of(features: Tensor) -> Tensor:
        """Average maps (N, C, H, W) over channels: (N, H W)."""
        return features.mean(1).flatten(1)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        """Take as many support vectors as there are: their number follows from the training."""
        for name in ("support", "coefficients"):
            found, own = state_dict.get(prefix + name), getattr(self, name)
            if isinstance(found, Tensor) and found.shape[1:] == own.shape[1:]:
                setattr(self, name, own.new_zeros(found.shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)
