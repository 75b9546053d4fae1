"""Learning rates that fall with a layer's distance from the head.

The first layers of a pretrained network see edges and colours, which cells have as well: they need
to move least (Howard and Ruder 2018; for images, Bao and others 2021, BEiT). Which layer a weight
belongs to, timm knows for each of its networks.
"""

from __future__ import annotations

from typing import Any

from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]

from blastscope.errors import BlastscopeError
from blastscope.models.classifier import Classifier


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
        BlastscopeError: where the network does not say its layers: ours, or one that is cut.
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
