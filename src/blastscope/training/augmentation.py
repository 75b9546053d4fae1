"""Pictures of training cells as another slide, lens or lamp would have made them, anew each time.

Every cell is turned by any angle and perhaps mirrored (it has no up: paper, section 3.1), made a
little larger or smaller, stained more or less and in another shade (in optical density, after
Tellez et al., Medical Image Analysis 58:101544, 2019), lit more or less, and perhaps put out of
focus. Black stays black: it is no glass, but what was cut away.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

SCALE, STAIN, SHADE, LIGHT = 0.10, 0.35, 0.08, 0.15
"""Half widths of even draws of logarithms: of size, of all three densities together, of each on
its own, and of light."""
EXACT = 0.5
"""The share of pictures that are turned by quarters and keep their size, so that no pixel is mixed
with its neighbours: a network that never saw an untouched picture takes sharpness for a sign."""
BLURRED, BLUR = 0.3, 0.012
"""The share of pictures that are put out of focus, and by how much at most: a Gaussian's standard
deviation over the side."""
_BLACK = 8
_WHITE = 255.0


def augment(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Vary each picture of a batch.

    Args:
        pixels: uint8, N × 3 × S × S, RGB, cells on black.
        rng: what the draws come from.

    Returns:
        A new tensor of the same shape and type.
    """
    found = _moved(pixels.float(), rng)
    cell = found.amax(dim=1, keepdim=True) > _BLACK
    found = _stained(found, rng) * cell
    found = _blurred(found, rng)
    return found.round_().clamp_(0, _WHITE).to(torch.uint8)


def _moved(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Turn, mirror and scale about the middle; what comes from outside is black."""
    n = len(pixels)
    angle, size = rng.uniform(0, 2 * np.pi, n), np.exp(rng.uniform(-SCALE, SCALE, n))
    mirror, exact = rng.choice([-1.0, 1.0], n), rng.random(n) < EXACT
    angle = np.where(exact, rng.integers(0, 4, n) * (np.pi / 2), angle)
    size = np.where(exact, 1.0, size)
    cos, sin, none = np.cos(angle) / size, np.sin(angle) / size, np.zeros(n)
    ways = np.stack([[mirror * cos, -sin, none], [mirror * sin, cos, none]]).transpose(2, 0, 1)
    grid = affine_grid(torch.from_numpy(ways).float(), list(pixels.shape), align_corners=False)
    return grid_sample(pixels, grid, align_corners=False)


def _stained(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Multiply optical densities (Beer and Lambert), then the light."""
    n = len(pixels)
    stain = rng.uniform(-STAIN, STAIN, (n, 1)) + rng.uniform(-SHADE, SHADE, (n, 3))
    light = np.exp(rng.uniform(-LIGHT, LIGHT, (n, 1)))
    power, gain = (torch.from_numpy(of).float()[..., None, None] for of in (np.exp(stain), light))
    return _WHITE * gain * (pixels / _WHITE).clamp(min=1e-3) ** power


def _blurred(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Blur some pictures, all of a batch alike: how much is drawn anew with each batch."""
    from torchvision.transforms.functional import gaussian_blur

    side = pixels.shape[-1]
    chosen, sigma = rng.random(len(pixels)) < BLURRED, rng.uniform(0.2, 1) * BLUR * side
    if chosen.any():
        width = 2 * int(np.ceil(3 * sigma)) + 1
        some = torch.from_numpy(chosen)
        pixels[some] = gaussian_blur(pixels[some], [width, width], [sigma, sigma])
    return pixels
