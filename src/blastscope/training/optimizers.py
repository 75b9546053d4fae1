"""Optimizers with the defaults of Keras, which the paper's authors used, schedules and rates.

Learning rates may fall with a layer's distance from the head: the first layers of a pretrained
network see edges and colours, which cells have as well, so they need to change least (Howard and
Ruder 2018; for images, Bao and others 2021, BEiT). timm knows to which layer a weight belongs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from blastscope.errors import BlastscopeError
from blastscope.models.classifier import Classifier
from blastscope.models.layer_names import layer_named
from blastscope.recipes.schema import Recipe
from blastscope.recipes.training import Steps

# Keras's defaults (keras.io/api/optimizers); torch's are eps 1e-8, a smoothing of 0.99 in RMSprop
# and a weight decay of 0.01 in AdamW.
_EPSILON = 1e-7
_RMSPROP_RHO = 0.9
_ADAMW_DECAY = 0.004
_HEAD, _STEM = "head", "stem"
_NET = "backbone.net."
_WARM = 0.05
"""The share of a cosine schedule's steps over which the rate rises, so that the first batches do
not spoil what a head has learned."""


def make_optimizer(recipe: Recipe, classifier: Classifier) -> Optimizer:
    """Build the optimizer of a recipe for the weights of ``classifier`` that are trained.

    Raises:
        BlastscopeError: if the recipe needs rates by layer and the network has no such order.
    """
    settings = recipe.training
    decay = settings.weight_decay
    if decay is None:
        decay = _ADAMW_DECAY if settings.optimizer == "adamw" else 0.0
    trained: list[Any] = [p for p in classifier.parameters() if p.requires_grad]
    if settings.rates is not None:
        trained = named_rate_groups(classifier, settings.rate, settings.rates)
    elif settings.layer_decay < 1:
        trained = rate_groups(classifier, settings.rate, settings.layer_decay, decay)
    kinds: dict[str, tuple[Callable[..., Optimizer], dict[str, float]]] = {
        "adam": (Adam, {"eps": _EPSILON}),
        "adamw": (AdamW, {"eps": _EPSILON}),
        "rmsprop": (RMSprop, {"alpha": _RMSPROP_RHO, "eps": _EPSILON}),
        "sgd": (SGD, {"momentum": settings.momentum or 0.0}),
    }
    make, options = kinds[settings.optimizer]
    return make(trained, lr=settings.rate, weight_decay=decay, **options)


def make_schedule(
    kind: str | Steps, optimizer: Optimizer, epochs: int, batches: int
) -> LRScheduler | None:
    """Build what changes the rates after each batch; None if they are constant.

    ``cosine``: Loshchilov and Hutter, SGDR, ICLR 2017, once and without restarts. ``one_cycle``:
    PyTorch's, with its defaults; the momentum of SGD and Adam goes the other way.
    """
    steps = epochs * batches
    if kind == "constant":
        return None
    if isinstance(kind, Steps):
        begins = sorted(kind.steps.items())

        def factor(step: int) -> float:
            epoch = step // batches + 1
            return next((share for first, share in reversed(begins) if epoch >= first), 1.0)

        return LambdaLR(optimizer, factor)
    if kind == "one_cycle":
        highest = [group["lr"] for group in optimizer.param_groups]
        cycled = "betas" in optimizer.defaults or bool(optimizer.defaults.get("momentum"))
        return OneCycleLR(optimizer, highest, total_steps=steps, cycle_momentum=cycled)
    warm = max(1, round(_WARM * steps))

    def share(step: int) -> float:
        rise = min(1.0, (step + 1) / warm)
        return rise * (1 + math.cos(math.pi * min(step, steps) / steps)) / 2

    return LambdaLR(optimizer, share)


def named_rate_groups(
    classifier: Classifier, rate: float, rates: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Return an optimizer's groups: each named layer and those after it at the rate that it names.

    Layers before the first that is named, and weights that belong to the network as a whole, have
    ``rate``. ``head`` is the head, that of an auxiliary task included; ``stem`` is the first layer.

    Raises:
        BlastscopeError: if there is no such layer, two names are one layer, or nothing of what a
            name stands for is trained.
    """
    backbone = classifier.backbone
    starts: dict[int, str] = {}
    for name in rates:
        if name == _HEAD:
            continue
        own = (
            backbone.layers[0]
            if name == _STEM
            else layer_named(name, backbone.name, backbone.layers)
        )
        if (place := backbone.layers.index(own)) in starts:
            raise BlastscopeError(
                f"training.rates has two rates for one layer, {starts[place]} and {name}: keep one."
            )
        starts[place] = name
    position = {name: place for place, name in enumerate(backbone.layers)}
    members: dict[str | None, list[nn.Parameter]] = {}
    for name, parameter in classifier.named_parameters():
        if not parameter.requires_grad:
            continue
        inside = name.removeprefix(_NET)
        if inside == name:
            key = _HEAD if _HEAD in rates else None
        else:
            place = position.get(inside.rpartition(".")[0], -1)
            key = starts.get(max((one for one in starts if one <= place), default=-1))
        members.setdefault(key, []).append(parameter)
    for name in rates:
        if name not in members:
            raise BlastscopeError(
                f"training.rates names {name}, of which nothing is trained: leave it out, or "
                "change model.trainable."
            )
    return [
        {"params": own, "lr": rate if key is None else rates[key]} for key, own in members.items()
    ]


def rate_groups(
    classifier: Classifier, rate: float, decay: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Return an optimizer's groups: the head at ``rate``, each layer below it at ``decay`` times.

    The head of an auxiliary task counts as the head. The layers are timm's (``group_matcher``).
    Weights have ``weight_decay``; scales, shifts and biases have none.

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
    heads = [
        parameter
        for name, parameter in classifier.named_parameters()
        if not name.startswith(_NET) and parameter.requires_grad
    ]
    for matrix in (True, False):
        if own := [p for p in heads if (p.ndim > 1) == matrix]:
            groups.append({"params": own, "lr": rate, "weight_decay": weight_decay * matrix})
    return groups  # type: ignore[no-any-return]
