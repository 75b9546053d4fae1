"""The augmentation that a recipe describes by strengths (``recipes.strengths``).

Shape first, in one interpolation; then stain, light, focus and cutout. Black stays black: it is not
glass but what was cut away.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from blastscope.recipes.strengths import Cutout, Strength, Strengths, Zoom

Floats = NDArray[np.float64]
_BLACK = 8
_WHITE = 255.0


def augmentation_of(strengths: Strengths) -> Callable[[Tensor, np.random.Generator], Tensor]:
    """Return the function that changes a batch; its dihedral views are drawn elsewhere."""

    def change(pixels: Tensor, rng: np.random.Generator) -> Tensor:
        changed = pixels.float()
        if strengths.rotate or strengths.shear or strengths.zoom or strengths.shift:
            changed = transformed(changed, drawn_transforms(strengths, len(pixels), rng))
        changed = _recoloured(changed, strengths, rng)
        if strengths.blur:
            changed = _blurred(changed, strengths.blur, rng)
        if strengths.cutout:
            changed = _cut_out(changed, strengths.cutout, rng)
        return changed.round_().clamp_(0, _WHITE).to(torch.uint8)

    return change


def drawn_transforms(strengths: Strengths, n: int, rng: np.random.Generator) -> Floats:
    """Draw how each of ``n`` cells is rotated, sheared, zoomed and shifted: (n, 2, 3).

    Each maps places of the cell to places of the changed image, both in units in which the image
    goes from -1 to 1.
    """
    angle = np.radians(_drawn(strengths.rotate, n, rng))
    slant = np.tan(np.radians(_drawn(strengths.shear, n, rng)))
    size = _sizes(strengths.zoom, n, rng)
    shift = 2 * np.stack([_drawn(strengths.shift, n, rng) for _ in range(2)], 1)
    cos, sin = np.cos(angle), np.sin(angle)
    # The rotation times the shear along x.
    rows = [[cos, cos * slant - sin], [sin, sin * slant + cos]]
    matrix = np.stack([np.stack(row, 1) for row in rows], 1) * size[:, None, None]
    return np.concatenate([matrix, shift[:, :, None]], 2)


def transformed(pixels: Tensor, transforms: Floats) -> Tensor:
    """Apply transforms (N, 2, 3) to float images (N, C, S, S); what comes in is black."""
    inverse = np.linalg.inv(transforms[:, :, :2])
    moved = -inverse @ transforms[:, :, 2:]
    back = torch.from_numpy(np.concatenate([inverse, moved], 2)).float()
    grid = affine_grid(back, list(pixels.shape), align_corners=False)
    return grid_sample(pixels, grid, align_corners=False)


def _drawn(strength: Strength | None, n: int, rng: np.random.Generator) -> Floats:
    """Draw a change of each cell, uniform to either side; 0 for those that do not get it."""
    if strength is None:
        return np.zeros(n)
    changed = rng.random(n) < strength.share
    return np.where(changed, rng.uniform(-strength.most, strength.most, n), 0.0)


def _sizes(zoom: Zoom | None, n: int, rng: np.random.Generator) -> Floats:
    if zoom is None:
        return np.ones(n)
    changed = rng.random(n) < zoom.share
    drawn = np.exp(rng.uniform(np.log(zoom.least), np.log(zoom.most), n))
    return np.where(changed, drawn, 1.0)


def _recoloured(pixels: Tensor, strengths: Strengths, rng: np.random.Generator) -> Tensor:
    """Multiply optical densities; then change contrast, about the cell's mean, and brightness."""
    if strengths.stain is None and strengths.light is None:
        return pixels
    n = len(pixels)
    cell = (pixels.amax(1, keepdim=True) > _BLACK).to(pixels.dtype)
    if strengths.stain is not None:
        power = _column(np.exp(_drawn(strengths.stain, n, rng)))
        pixels = _WHITE * (pixels / _WHITE).clamp(min=1e-3) ** power * cell
    if strengths.light is not None:
        gain, contrast = (_column(np.exp(_drawn(strengths.light, n, rng))) for _ in range(2))
        count = cell.sum((1, 2, 3), keepdim=True).clamp(min=1)
        mean = (pixels * cell).mean(1, keepdim=True).sum((2, 3), keepdim=True) / count
        pixels = ((pixels - mean) * contrast + mean).clamp(min=0) * gain * cell
    return pixels


def _column(values: Floats) -> Tensor:
    return torch.from_numpy(values).float()[:, None, None, None]


def _blurred(pixels: Tensor, blur: Strength, rng: np.random.Generator) -> Tensor:
    """Blur a share of a batch, all with one standard deviation that is drawn for the batch."""
    from torchvision.transforms.functional import gaussian_blur

    chosen = torch.from_numpy(rng.random(len(pixels)) < blur.share)
    sigma = rng.uniform(0.05, 1) * blur.most * pixels.shape[-1]
    width = 2 * int(np.ceil(3 * sigma)) + 1
    if chosen.any():
        pixels = pixels.clone()
        pixels[chosen] = gaussian_blur(pixels[chosen], [width, width], [sigma, sigma])
    return pixels


def _cut_out(pixels: Tensor, cutout: Cutout, rng: np.random.Generator) -> Tensor:
    """Blacken squares (DeVries and Taylor, arXiv 1708.04552); the image's edge may cut them."""
    side = pixels.shape[-1]
    width = max(1, round(cutout.side * side))
    pixels = pixels.clone()
    chosen = rng.random(len(pixels)) < cutout.share
    centres = rng.integers(0, side, (len(pixels), cutout.squares, 2))
    for image in np.flatnonzero(chosen):
        for y, x in centres[image] - width // 2:
            pixels[image, :, max(0, y) : y + width, max(0, x) : x + width] = 0
    return pixels
