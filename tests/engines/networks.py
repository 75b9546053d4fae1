"""A small network as ONNX, shared by the tests of what runs it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import save

from blastscope.export.onnx_graph import onnx_graph
from blastscope.models.classifier import Classifier, build_model
from tests.models.recipes import recipe

SIZE = 32


class Exported(NamedTuple):
    classifier: Classifier
    views: str
    weights: bytes
    model: bytes

    def expected(self, pixels: np.ndarray) -> np.ndarray:
        """The logits (N, V), by NumPy's turns and flips and one cell at a time."""
        laid = [
            np.rot90(pixels, turn, axes=(1, 2))[:, :, ::step]
            for step in (1, -1)
            for turn in range(4)
        ][: 8 if self.views == "dihedral" else 1]
        found = np.empty((len(pixels), len(laid)), np.float32)
        with torch.no_grad():
            for view, turned in enumerate(laid):
                for k, cell in enumerate(turned):
                    one = torch.from_numpy(cell.copy()).permute(2, 0, 1)[None]
                    found[k, view] = self.classifier(one).item()
        return found


def built(backbone: str = "cnn4-small", half: bool = False, **options: object) -> Classifier:
    """Build a network in which nothing that training changes is as it begins, zero or one."""
    torch.manual_seed(0)
    size = int(options.pop("size", SIZE))
    classifier = build_model(recipe(backbone, size, **options)).eval()
    for name, values in classifier.state_dict().items():
        if name.endswith(("bias", "running_mean")):
            values.uniform_(-0.2, 0.2)
        elif name.endswith("running_var"):
            values.uniform_(0.5, 1.5)
    if half:
        state = classifier.state_dict()
        classifier.load_state_dict(
            {k: v.half().float() if v.is_floating_point() else v for k, v in state.items()}
        )
    return classifier


def safetensors_of(classifier: Classifier, half: bool = False) -> bytes:
    """Return the weights as a bundle keeps them."""
    state = classifier.state_dict()
    return save(
        {
            name: (tensor.half() if half and tensor.is_floating_point() else tensor).contiguous()
            for name, tensor in state.items()
        }
    )


def exported(views: str = "dihedral", half: bool = False, size: int = SIZE) -> Exported:
    """Export ``cnn4-small``, pointing into its safetensors file."""
    classifier = built(half=half, size=size, head=["flatten"])
    weights = safetensors_of(classifier, half)
    model = onnx_graph(classifier, views, size, weights, {"cells": "square"})
    return Exported(classifier, views, weights, model)


def cells(count: int, size: int = SIZE, seed: int = 0) -> np.ndarray:
    """Draw pixels that no turn or flip leaves as they are."""
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)
