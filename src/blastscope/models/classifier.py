"""The classifier: pixels in, one logit out; its head, and what of it is frozen."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from blastscope.models.backbones import Backbone, make_backbone
from blastscope.models.layer_names import layer_named
from blastscope.models.normalization import Normalization, make_normalization
from blastscope.models.scratch import initialise_like_keras
from blastscope.models.size_term import SizeTerm
from blastscope.recipes.schema import Dense, Dropout, From, Recipe, Step, Trainable


class Classifier(nn.Module):
    """A normalisation, a backbone and a head in one."""

    def __init__(
        self,
        normalise: Normalization,
        backbone: Backbone,
        head: nn.Sequential,
        kept_in_evaluation: tuple[nn.Module, ...] = (),
        size_term: SizeTerm | None = None,
    ) -> None:
        super().__init__()
        self.normalise = normalise  # from 0..255 to what the backbone takes; it has no weights
        self.backbone = backbone  # from normalised images to a map of features
        self.head = head  # from the map to a logit
        # the layers that stay in evaluation mode while the rest is trained
        self.kept_in_evaluation = kept_in_evaluation
        self.size_term = size_term  # added to the logit in evaluation mode

    def forward(self, images: Tensor) -> Tensor:
        """Map images to logits; the logistic function of a logit is the probability of ALL.

        Args:
            images: (N, 3, S, S), RGB, values 0..255, of any integer or float type.

        Returns:
            Logits (N,).
        """
        logits: Tensor = self.head(self.backbone(self.normalise(images)))
        return self.with_size(logits.squeeze(1), images)

    def with_size(self, logits: Tensor, images: Tensor) -> Tensor:
        """Add the term of size to logits (N,) of images, if there is one and nothing is trained."""
        if self.size_term is None or self.training:
            return logits
        with_term: Tensor = logits + self.size_term(images)
        return with_term

    def train(self, mode: bool = True) -> Classifier:
        """Set the mode of training, which the frozen layers do not follow."""
        super().train(mode)
        for module in self.kept_in_evaluation:
            module.eval()
        return self


def build_model(
    recipe: Recipe, weights_dir: Path | None = None, *, pretrained: bool = True
) -> Classifier:
    """Build the network of a recipe; what is random comes from torch's global generator.

    ImageNet weights are read as by ``make_backbone``.

    Raises:
        BlastscopeError: if the recipe names a backbone, a layer or weights that are not there,
            or its images are too small for the backbone.
    """
    model = recipe.model
    backbone = make_backbone(model, recipe.input.size, weights_dir, pretrained)
    kept = freeze(backbone, model.trainable, model.batchnorm)
    normalise = make_normalization(recipe.input, backbone.config)
    head = make_head(model.head, backbone.shape)
    size_term = SizeTerm(model.size_term) if model.size_term is not None else None
    return Classifier(normalise, backbone, head, kept, size_term).train()


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
        first = layer_named(trainable.start, backbone.name, backbone.layers)
        return set(backbone.layers[backbone.layers.index(first) :])
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


def make_head(steps: tuple[Step, ...], shape: tuple[int, int, int]) -> nn.Sequential:
    """Build the head of a recipe, with the last dense layer that it implies.

    It takes features (N, C, H, W), whose (C, H, W) is ``shape``, and gives logits (N, 1).
    """
    head = nn.Sequential()
    width = 0
    for number, step in enumerate(steps, start=1):
        if isinstance(step, Dropout):
            head.add_module(f"dropout{number}", nn.Dropout(step.dropout))
        elif isinstance(step, Dense):
            head.add_module(f"dense{number}", nn.Linear(width, step.dense))
            width = step.dense
            if step.activation == "relu":
                head.add_module(f"relu{number}", nn.ReLU())
        else:
            if step == "gap":
                head.add_module("gap", nn.AdaptiveAvgPool2d(1))
            head.add_module("flatten", nn.Flatten())
            width = shape[0] if step == "gap" else prod(shape)
    head.add_module("logit", nn.Linear(width, 1))
    initialise_like_keras(head)
    return head


def choose_layout(classifier: Classifier, device: torch.device) -> torch.memory_format:
    """Return the layout to train in; it follows from the network and the device alone."""
    layers = list(classifier.backbone.modules())
    learns = any(isinstance(x, nn.Conv2d) and x.weight.requires_grad for x in layers)
    plain = not any(isinstance(x, _NormBase | nn.LayerNorm) or _is_grouped(x) for x in layers)
    if device.type == "cpu" and learns and plain:
        return torch.contiguous_format
    return torch.channels_last


def _is_grouped(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.groups > 1
