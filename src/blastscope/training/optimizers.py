"""Learning rates that fall with a layer's distance from the head.

The first layers of a pretrained network see edges and colours, which cells have as well: they need
to move least (Howard and Ruder 2018; for images, Bao and others 2021, BEiT). Which layer a weight
belongs to, timm knows for each of its networks.

Optimisers with the defaults of Keras, which the paper's authors used.
"""

from __future__ import annotations

import math
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
"""The share of a cosine schedule's steps over which the rate rises: a head that has learnt is not
thrown off by the first batches of a network that has yet to."""


def make_optimizer(recipe: Recipe, classifier: Classifier) -> Optimizer:
    """Build the optimiser of a recipe for the weights of ``classifier`` that are trained.

    Raises:
        BlastscopeError: if the recipe wants rates by layer of a network that has no such order.
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


def make_schedule(kind: str, optimizer: Optimizer, steps: int) -> LambdaLR | None:
    """Build what changes the rates step by step; None if they are constant.

    ``cosine``: Loshchilov and Hutter, SGDR, ICLR 2017, once and without restarts.

    Args:
        kind: the recipe's ``training.schedule``.
        optimizer: whose rates are changed.
        steps: how many there will be, if no epoch is left out.
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
    """Return an optimiser's groups: the head at ``rate``, each layer below it at ``decay`` times.

    Args:
        classifier: a whole timm network and a head.
        rate: of the head.
        decay: what the rate is multiplied by, once for each layer (timm's ``group_matcher``).
        weight_decay: of weights; scales, shifts and biases have none.

    Raises:
        BlastscopeError: if the network does not say its layers: ours, or one that is cut.
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
        own = [
            p for p in classifier.head.parameters() if p.requires_grad and (p.ndim > 1) == matrix
        ]
        if own:
            groups.append({"params": own, "lr": rate, "weight_decay": weight_decay * matrix})
    return groups  # type: ignore[no-any-return]
