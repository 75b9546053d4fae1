"""The classifier: pixels in, one logit out."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from blastscope.models.backbones import Backbone, make_backbone
from blastscope.models.freezing import freeze
from blastscope.models.heads import make_head
from blastscope.models.normalization import Normalization, make_normalization
from blastscope.recipes.schema import Recipe


class Classifier(nn.Module):
    """A normalisation, a backbone and a head in one.

    Attributes:
        normalise: from 0..255 to what the backbone takes; it has no weights.
        backbone: from normalised images to a map of features.
        head: from the map to a logit.
        kept_in_evaluation: the layers that stay in evaluation mode while the rest is trained.
    """

    def __init__(
        self,
        normalise: Normalization,
        backbone: Backbone,
        head: nn.Sequential,
        kept_in_evaluation: tuple[nn.Module, ...] = (),
    ) -> None:
        super().__init__()
        self.normalise = normalise
        self.backbone = backbone
        self.head = head
        self.kept_in_evaluation = kept_in_evaluation

    def forward(self, images: Tensor) -> Tensor:
        """Map images to logits; the logistic function of a logit is the probability of ALL.

        Args:
            images: (N, 3, S, S), RGB, values 0..255, of any integer or float type.

        Returns:
            Logits (N,).
        """
        logits: Tensor = self.head(self.backbone(self.normalise(images)))
        return logits.squeeze(1)

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

    Args:
        recipe: the recipe.
        weights_dir: the folder with the ImageNet weights, if the recipe asks for them; where it
            is not given they come from timm's hub.
        pretrained: False builds the network alone, for weights that a checkpoint will fill in.

    Raises:
        BlastscopeError: if the recipe names a backbone, a layer or weights that are not there,
            or its images are too small for the backbone.
    """
    model = recipe.model
    backbone = make_backbone(model, recipe.input.size, weights_dir, pretrained)
    kept = freeze(backbone, model.trainable, model.batchnorm)
    normalise = make_normalization(recipe.input, backbone.config)
    classifier = Classifier(normalise, backbone, make_head(model.head, backbone.shape), kept)
    return classifier.train()
