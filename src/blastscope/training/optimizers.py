"""Optimizers with the defaults of Keras, which the paper's authors used, schedules and rates.

Learning rates may fall with a layer's distance from the head: the first layers of a pretrained
network see edges and colours, which cells have as well, so they need to change least (Howard and
Ruder 2018; for images, Bao and others 2021, BEiT). timm knows to which layer a weight belongs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop
from torch.optim.lr_scheduler import LambdaLR

from blastscope.errors import BlastscopeError
from blastscope.models.classifier import Classifier
from blastscope.recipes.schema import Recipe

# Keras's defaults (keras.io/api/optimizers); torch's are eps 1e-8, a smoothing of 0.99 in RMSprop
# and a weight decay of 0.01 in AdamW.
_EPSILON = 1e-7
_RMSPROP_RHO = 0.9
_ADAMW_DECAY = 0.004
_WARM = 0.05
"""The share of a cosine schedule's steps over which the rate rises, so that the first batches do
not spoil what a head has learned."""


def make_optimizer(recipe: Recipe, classifier: Classifier) -> Optimizer:
    """Build the optimizer of a recipe for the weights of ``classifier`` that are trained.

    Raises:
        BlastscopeError: if the recipe needs rates by layer and the network has no such order.
    """
    settings = recipe.training
    decay = _ADAMW_DECAY if settings.optimizer == "adamw" else 0.0
    trained: list[Any] = [p for p in classifier.parameters() if p.requires_grad]
    if settings.layer_decay < 1:
        trained = rate_groups(classifier, settings.rate, settings.layer_decay, decay)
    kinds: dict[str, tuple[Callable[..., Optimizer], dict[str, float]]] = {
        "adam": (Adam, {"eps": _EPSILON}),
        "adamw": (AdamW, {"eps": _EPSILON, "weight_decay": decay}),
        "rmsprop": (RMSprop, {"alpha": _RMSPROP_RHO, "eps": _EPSILON}),
        "sgd": (SGD, {}),
    }
    make, options = kinds[settings.optimizer]
    return make(trained, lr=settings.rate, **options)


def make_schedule(kind: str, optimizer: Optimizer, steps: int) -> LambdaLR | None:
    """Build what changes the rates in each of ``steps`` steps; None if they are constant.

    ``cosine``: Loshchilov and Hutter, SGDR, ICLR 2017, once and without restarts.
    """
    if kind == "constant":
        return None
    warm = max(1, round(_WARM * steps))

    def share(step: int) -> float:
        rise = min(1.0, (step + 1) / warm)
        return rise * (1 + math.cos(math.pi * min(step, steps) / steps)) / 2

    return LambdaLR(optimizer, share)


def rate_groups(
    classifier: Classifier, rate: float, decay: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Return an optimizer's groups: the head at ``rate``, each layer below it at ``decay`` times.

    The layers are timm's (``group_matcher``). Weights have ``weight_decay``; scales, shifts and
    biases have none.

    Raises:
        BlastscopeError: if it is not a whole network of timm's.
    """
    net = classifier.backbone.net
    if not hasattr(net, "group_matcher"):
        raise BlastscopeError(
            f"training.layer_decay needs a whole network of timm's, and {classifier.backbone.name} "
            "is cut or none: leave it out."
        )
    groups = param_groups_layer_decay(net, weight_decay=weight_decay, layer_decay=decay)
    for group in groups:
        group["lr"] = rate * group.pop("lr_scale")
    for matrix in (True, False):
        trained = (p for p in classifier.head.parameters() if p.requires_grad)
        if own := [p for p in trained if (p.ndim > 1) == matrix]:
            groups.append({"params": own, "lr": rate, "weight_decay": weight_decay * matrix})
    return groups  # type: ignore[no-any-return]
