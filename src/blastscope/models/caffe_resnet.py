"""ResNet-50 as its authors published it: version 1, with the weights that Keras's was ported from.

A block that halves the map does so in its first 1 × 1 convolution (He et al., Deep Residual
Learning for Image Recognition, CVPR 2016, and Keras); timm and torchvision do so in the 3 × 3 after
it. The layers, their names and their weights are the same, so timm's builder makes the network and
only the strides are moved. The weights are used with the ImageNet mean and standard deviation: the
file has Caffe's own preprocessing folded into its first convolution.
"""

from __future__ import annotations

from typing import Any

import timm
from torch import nn

NAME = "resnet50.caffe_in1k"
LAST_OF_PART = "layer3"
"""The weights are often had without what lies after this layer, conv4 in the paper's words."""
_KEPT = ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", LAST_OF_PART)
CONFIG: dict[str, Any] = {
    "architecture": "resnet50",
    "tag": "caffe_in1k",
    "hf_hub_id": None,  # timm's hub does not have them
    "license": "mit",
    "input_size": (3, 224, 224),
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "first_conv": "conv1",
    "classifier": "fc",
}


def make_caffe_resnet50() -> nn.Module:
    """Build timm's ResNet-50 without its classifier, with the strides of version 1."""
    net: Any = timm.create_model("resnet50", num_classes=0)
    for stage in (net.layer2, net.layer3, net.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    net.pretrained_cfg = CONFIG
    net.default_cfg = CONFIG
    return net  # type: ignore[no-any-return]


def lies_in_part(layer: str | None) -> bool:
    """Return whether a network cut after ``layer``, by timm's name, needs only the part's weights.

    None is the whole network.
    """
    return layer is not None and layer.partition(".")[0] in _KEPT
