"""The classifier: pixels in, one logit out; its head, and what of it is frozen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from blastscope.models.backbones import Backbone, make_backbone
from blastscope.models.head import BoxHead, make_head
from blastscope.models.layer_names import layer_named
from blastscope.models.normalization import Normalization, make_normalization
from blastscope.models.size_term import SizeTerm
from blastscope.models.svm import RbfSvm
from blastscope.recipes.schema import From, Recipe, Trainable


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
        self.box_head: BoxHead | None = None  # a second task, in training only
        self.svm: RbfSvm | None = None  # decides what the head is not sure of

    def forward(self, images: Tensor) -> Tensor:
        """Map images to logits; the logistic function of a logit is the probability of ALL.

        Args:
            images: (N, 3, S, S), RGB, values 0..255, of any integer or float type.

        Returns:
            Logits (N,).
        """
        features = self.backbone(self.normalise(images))
        logits: Tensor = self.head(features).squeeze(1)
        if self.training:
            return logits
        if self.svm is not None:
            logits = self.svm.decided(features, logits)
        if self.size_term is not None:
            logits = logits + self.size_term(images)
        return logits

    def with_boxes(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits (N,) of images, and the corners (N, 4) that the box head finds."""
        assert self.box_head is not None  # the recipe has an auxiliary task
        features = self.backbone(self.normalise(images))
        return self.head(features).squeeze(1), self.box_head(features)

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
    classifier = Classifier(normalise, backbone, head, kept, size_term)
    if model.auxiliary is not None:
        classifier.box_head = BoxHead(backbone.shape[0])
    if model.svm is not None:
        _, height, width = backbone.shape
        classifier.svm = RbfSvm(model.svm, height * width)
    return classifier.train()


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
