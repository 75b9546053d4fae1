"""How a network's pictures lie in memory while it is trained: by pixel, or by channel.

By pixel (``channels_last``), as the store has them, is faster nearly everywhere. Training plain
convolutions on a processor is what is not: the backward pass of VGG16 and of the paper's own
network takes 12 to 40 % longer so (oneDNN; measured in docs/performance.md). Normalisation and
depthwise convolutions turn it round, and so does a GPU.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from blastscope.models.classifier import Classifier


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
