"""Optimisers with the defaults of Keras, which the paper's authors used."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from blastscope.recipes.schema import Recipe

# Keras's defaults (keras.io/api/optimizers); torch's are eps 1e-8, a smoothing of 0.99 in RMSprop
# and a weight decay of 0.01 in AdamW.
_EPSILON = 1e-7
_RMSPROP_RHO = 0.9
_ADAMW_DECAY = 0.004


def make_optimizer(recipe: Recipe, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Build the optimiser of a recipe for those of ``parameters`` that are trained."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    rate = recipe.training.rate
    match recipe.training.optimizer:
        case "adam":
            return Adam(trained, lr=rate, eps=_EPSILON)
        case "adamw":
            return AdamW(trained, lr=rate, eps=_EPSILON, weight_decay=_ADAMW_DECAY)
        case "rmsprop":
            return RMSprop(trained, lr=rate, alpha=_RMSPROP_RHO, eps=_EPSILON)
        case "sgd":
            return SGD(trained, lr=rate)
