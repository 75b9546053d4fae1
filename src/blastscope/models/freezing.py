"""Which weights are trained, and which layers keep their statistics while others are."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from blastscope.models.backbones import Backbone
from blastscope.models.layer_names import layer_named
from blastscope.recipes.schema import From, Trainable


def freeze(backbone: Backbone, trainable: Trainable, batchnorm: str) -> tuple[nn.Module, ...]:
    """Freeze the part of a backbone that is not trained.

    A layer is named by when an image enters it: ``{from: block_10}`` trains that block and all
    that come after it. A parameter that belongs to the network as a whole, such as a
    transformer's position embedding, counts as before every layer.

    Args:
        backbone: its parameters' ``requires_grad`` is set.
        trainable: the recipe's ``model.trainable``.
        batchnorm: the recipe's ``model.batchnorm``: ``follow`` is Keras's rule, where a frozen
            layer uses and keeps its statistics and a trained one updates them; ``frozen`` keeps
            them everywhere and ``thawed`` nowhere. Scale and shift always go with ``trainable``.

    Returns:
        The layers that must stay in evaluation mode while the rest is trained: normalisation by
        these rules, and dropout in the frozen part.

    Raises:
        BlastscopeError: if ``trainable`` names a layer that is not there.
    """
    trained = _trained(backbone, trainable)
    for name, parameter in backbone.net.named_parameters():
        parameter.requires_grad_(name.rpartition(".")[0] in trained)
    return tuple(_kept_in_evaluation(backbone.net, trained, batchnorm))


def _trained(backbone: Backbone, trainable: Trainable) -> set[str]:
    if isinstance(trainable, From):
        first = layer_named(trainable.start, backbone.name, backbone.order)
        return set(backbone.order[backbone.order.index(first) :])
    if trainable == "head":
        return set()
    return {name for name, _ in backbone.net.named_modules()}


def _kept_in_evaluation(net: nn.Module, trained: set[str], batchnorm: str) -> Iterator[nn.Module]:
    for name, module in net.named_modules():
        frozen = name not in trained
        if isinstance(module, _BatchNorm):
            frozen = {"follow": frozen, "frozen": True, "thawed": False}[batchnorm]
        elif next(module.children(), None) is not None:
            continue
        if frozen:
            yield module
