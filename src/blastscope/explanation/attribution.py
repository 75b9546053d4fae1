"""Attribution of a network's logit to parts of an image: Grad-CAM, Grad-CAM++ and occlusion.

These networks have one logit, above zero for ALL. What raises it speaks for ALL, what lowers it for
normal; both are kept, because the heatmap of a normal cell is the second. Grad-CAM
(Selvaraju et al., ICCV 2017) and occlusion (Zeiler and Fergus, ECCV 2014) are captum's;
Grad-CAM++ (Chattopadhay et al., WACV 2018, equations 10 and 19), which captum lacks, is here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import cv2
import numpy as np
import torch
from captum.attr import LayerGradCam, Occlusion
from torch import Tensor

from blastscope.explanation.models import ExplainedModel
from blastscope.explanation.result import Attribution
from blastscope.explanation.target_layer import TargetLayerNetwork
from blastscope.models.dihedral import INVERSE, dihedral_view

WINDOW, STRIDE = 4, 8
"""The occluding window is a quarter of the side, and moves by an eighth: 7 × 7 places. Where the
side is not a multiple of 8 the step is rounded and the window takes up the rest, three pixels at
most, so that the places stay 7 × 7 and no window is cut off at the edge."""
BLUR = 8
"""What takes the place of the occluded is the image blurred by an eighth of its side (sigma):
colour and stain stay, texture and outline go. Black would draw a hole, which is an outline too."""
_AT_ONCE = 16  # occluded images through the network at a time


def attribute(model: ExplainedModel, images: Tensor, method: str = "grad-cam") -> Attribution:
    """Return a model's attribution of images, the mean over the views that it predicts with.

    ``images`` are any number, (N, 3, S, S), RGB, 0..255. The attribution is on the method's own
    grid: that of the target layer for Grad-CAM and Grad-CAM++, S × S for occlusion.
    """
    parts = [_attribute(model, some, method) for some in torch.split(images, model.at_once)]
    return Attribution(
        np.concatenate([part.for_all for part in parts]),
        np.concatenate([part.for_normal for part in parts]),
    )


def _attribute(model: ExplainedModel, images: Tensor, method: str) -> Attribution:
    compute = _COMPUTE[method]
    images = images.to(model.device)
    total: Tensor | None = None
    for view in model.views:
        found = compute(model, dihedral_view(images, view).contiguous())
        upright = dihedral_view(found, INVERSE[view])
        total = upright if total is None else total + upright
    assert total is not None  # there is always a view
    maps = (total / len(model.views)).float().cpu().numpy()
    if maps.shape[1] == 1:  # signed: split by sign
        return Attribution(np.maximum(maps[:, 0], 0), np.maximum(-maps[:, 0], 0))
    return Attribution(maps[:, 0], maps[:, 1])


def _grad_cam(model: ExplainedModel, images: Tensor) -> Tensor:
    """Return the signed map (N, 1, h, w): the mean gradient of each channel times the channel."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found: Tensor = LayerGradCam(model.opened, model.opened.tap).attribute(images)
    return found.detach()


def _grad_cam_plus_plus(model: ExplainedModel, images: Tensor) -> Tensor:
    """Return (N, 2, h, w): the maps for ALL and for normal, each with its own weights."""
    channels, slope = map_and_gradient(model.opened, images)
    return torch.cat([_plus_plus(channels, slope), _plus_plus(channels, -slope)], dim=1)


def map_and_gradient(network: TargetLayerNetwork, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the map (N, C, h, w) that the upper part takes, and the logit's gradient there."""
    with torch.no_grad():
        channels = network.lower(images)
    channels = channels.detach().requires_grad_(True)
    with torch.enable_grad():
        logits = network.upper(channels)
        (slope,) = torch.autograd.grad(logits.sum(), channels)
    return channels.detach(), slope


def _plus_plus(channels: Tensor, slope: Tensor) -> Tensor:
    """Return Grad-CAM++ of one score, (N, 1, h, w).

    For the score exp(logit), as in the article, whose second and third derivatives are the
    gradient's square and cube but for a common factor, which the weights do not see.
    """
    squared = slope.square()
    below = 2 * squared + channels.sum(dim=(2, 3), keepdim=True) * squared * slope
    alpha = torch.where(below != 0, squared / torch.where(below != 0, below, 1.0), 0.0)
    weights = (alpha * slope.relu()).sum(dim=(2, 3), keepdim=True)
    return (weights * channels).sum(dim=1, keepdim=True).relu()


def _occlusion(model: ExplainedModel, images: Tensor) -> Tensor:
    """Return the signed map (N, 1, S, S): by how much the logit falls where a window covers."""
    size = images.shape[-1]
    stride = max(1, round(size / STRIDE))
    window = max(1, size - (STRIDE - STRIDE // WINDOW) * stride)
    with torch.no_grad():
        found: Tensor = Occlusion(model.classifier).attribute(
            images.float(),
            sliding_window_shapes=(3, window, window),
            strides=(3, stride, stride),
            baselines=blurred(images),
            perturbations_per_eval=max(1, _AT_ONCE // len(images)),
        )
    return found[:, :1].clone()


def blurred(images: Tensor) -> Tensor:
    """Return images (N, 3, S, S) with their detail gone, float, on the same device."""
    sigma = images.shape[-1] / BLUR
    pictures = images.permute(0, 2, 3, 1).float().cpu().numpy()
    soft = [
        cv2.GaussianBlur(one, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE) for one in pictures
    ]
    return torch.from_numpy(np.stack(soft)).permute(0, 3, 1, 2).contiguous().to(images.device)


_COMPUTE: dict[str, Callable[[ExplainedModel, Tensor], Tensor]] = {
    "grad-cam": _grad_cam,
    "grad-cam++": _grad_cam_plus_plus,
    "occlusion": _occlusion,
}
