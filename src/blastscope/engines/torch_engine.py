"""PyTorch: the engine on a GPU and of what is not a bundle.

This is the one module through which the stages that use a model reach PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from blastscope.data.crop import Pixels
from blastscope.engines.engine import Logits, cells_at_once, check_device, in_batches, joined
from blastscope.errors import BlastscopeError
from blastscope.models.classifier import Classifier, build_model
from blastscope.models.dihedral import dihedral_view, view_operations
from blastscope.recipes.schema import Recipe

ON_A_GPU = 64
"""How many cells pass through a network together on a GPU, which fewer would not fill."""


class TorchEngine:
    """A classifier in PyTorch."""

    name = "PyTorch"

    def __init__(self, classifier: Classifier, views: str, device: torch.device) -> None:
        """Take a classifier over.

        Args:
            classifier: the network; it is put on ``device`` and into evaluation mode.
            views: the recipe's ``prediction.views``.
        """
        self._operations = view_operations(views)
        self.views = len(self._operations)  # the number of logits of each cell
        self._device = device
        self._classifier = classifier.to(device).eval()
        # Channels last in memory, as the pixels come and as convolutions are faster.
        self._classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def view_logits(self, pixels: Pixels) -> Logits:
        """Return the logits (N, V) of cells (N, S, S, 3)."""
        cells = cells_at_once(1) if self._device.type == "cpu" else ON_A_GPU
        found = [self._of(torch.from_numpy(some)) for some in in_batches(pixels, cells)]
        return joined(found, self.views)

    def _of(self, cells: torch.Tensor) -> Logits:
        upright = cells.to(self._device).permute(0, 3, 1, 2)
        found = view_logits(self._classifier, upright, self._operations, torch.channels_last)
        return found.float().cpu().numpy()


@torch.inference_mode()
def view_logits(
    classifier: Classifier,
    images: torch.Tensor,
    operations: Sequence[int],
    layout: torch.memory_format = torch.contiguous_format,
) -> torch.Tensor:
    """Return the logits (N, V) of views of images (N, 3, S, S).

    Args:
        classifier: the network, in evaluation mode.
        images: RGB, 0..255, on the network's device.
        operations: the V operations of ``models.dihedral`` that make the views.
        layout: of the images in memory when the network gets them.
    """
    turned = (dihedral_view(images, k) for k in operations)
    found = [classifier(view.contiguous(memory_format=layout)) for view in turned]
    return torch.stack(found, 1)


def load_classifier(recipe: Recipe, weights: bytes) -> Classifier:
    """Build the network of a recipe and fill in its weights, in the network's own precision.

    Args:
        weights: safetensors, in single or half precision.

    Raises:
        ValueError: if they are damaged or do not fit the network.
    """
    try:
        tensors = load(weights)
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"damaged weights: {error}") from error
    if _is_larger(recipe, sum(tensor.numel() for tensor in tensors.values())):
        raise ValueError("weights of a smaller network")
    classifier = build_model(recipe, pretrained=False)
    for name, own in classifier.state_dict().items():
        if name in tensors:
            tensors[name] = tensors[name].to(own.dtype)
    try:
        classifier.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError("weights of another network") from error
    return classifier


def _is_larger(recipe: Recipe, count: int) -> bool:
    """Whether a recipe's network has more weights than ``count``.

    It is first built without memory, so that a recipe from outside cannot ask for more than there
    is. A backbone that cannot be built so counts as no larger.
    """
    try:
        with torch.device("meta"):
            network = build_model(recipe, pretrained=False)
    except Exception:  # what a backbone does that has no counterpart there
        return False
    return sum(parameter.numel() for parameter in network.parameters()) > count


def has_gpu() -> bool:
    """Whether PyTorch finds a GPU."""
    return torch.cuda.is_available() or torch.backends.mps.is_available()


def choose_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` is a GPU if there is one.

    Raises:
        BlastscopeError: if the name is unknown, or there is no such device.
    """
    check_device(name)
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    have = [device for device, there in (("cuda", cuda), ("mps", mps), ("cpu", True)) if there]
    if name == "auto":
        name = have[0]
    if name not in have:
        raise BlastscopeError(f"There is no {name} device here: choose --device auto or cpu.")
    return torch.device(name)
