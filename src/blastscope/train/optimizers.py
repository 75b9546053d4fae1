"""Optimisers with the defaults of Keras, which the paper's authors used."""

from __future__ import annotations

from typing import Any

from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from blastscope.models.classifier import Classifier
from blastscope.recipes.schema import Recipe
from blastscope.train.layer_rates import rate_groups

# Keras's defaults (keras.io/api/optimizers); torch's are eps 1e-8, a smoothing of 0.99 in RMSprop
# and a weight decay of 0.01 in AdamW.
_EPSILON = 1e-7
_RMSPROP_RHO = 0.9
_ADAMW_DECAY = 0.004


def make_optimizer(recipe: Recipe, classifier: Classifier) -> Optimizer:
    """Build the optimiser of a recipe for the weights of ``classifier`` that are trained.

    Raises:
        BlastscopeError: where the recipe wants rates by layer of a network that has no such order.
    """
    settings = recipe.training
    rate = settings.rate
    decay = _ADAMW_DECAY if settings.optimizer == "adamw" else 0.0
    trained: list[Any] = [p for p in classifier.parameters() if p.requires_grad]
    if settings.layer_decay < 1:
        trained = rate_groups(classifier, rate, settings.layer_decay, decay)
    match settings.optimizer:
        case "adam":
            return Adam(trained, lr=rate, eps=_EPSILON)
        case "adamw":
            return AdamW(trained, lr=rate, eps=_EPSILON, weight_decay=decay)
        case "rmsprop":
            return RMSprop(trained, lr=rate, alpha=_RMSPROP_RHO, eps=_EPSILON)
        case "sgd":
            return SGD(trained, lr=rate)
