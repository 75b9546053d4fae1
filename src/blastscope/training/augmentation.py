"""Augmentation: training cells with other sizes, shapes, stains, light and focus in every epoch.

``strong`` rotates every cell by any angle and perhaps mirrors it (a cell has no up: paper, section
3.1), scales it a little, changes its stain and its shade (in optical density, after Tellez et al.,
Medical Image Analysis 58:101544, 2019) and its brightness, and perhaps blurs it. Black stays black:
it is not glass but what was cut away. ``rescaled`` gives every cell another size, by up to a third,
and rotates it by quarter turns: a network that is trained so cannot rely on a cell's size, which is
a shortcut if the normal subjects at hand have small cells. ``strong-rescaled`` does that, and all
else of ``strong``. The dihedral augmentation is an index of
a view (``models.dihedral``) and needs no function here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from blastscope.errors import BlastscopeError
from blastscope.recipes.strengths import Strengths
from blastscope.registry import require
from blastscope.training.class_balance import Rows
from blastscope.training.strength_augmentation import augmentation_of

Floats = NDArray[np.floating]
Augmentation: TypeAlias = Callable[[Tensor, np.random.Generator], Tensor]
RowsAugmentation: TypeAlias = Callable[[Tensor, np.random.Generator, Rows], Tensor]
"""Likewise, given the rows of the store that the cells are of."""

RESCALE = 0.3
"""Half width of the uniform draw of the logarithm of size for ``rescaled``: .74 to 1.35 times."""
SCALE, STAIN, SHADE, LIGHT = 0.10, 0.35, 0.08, 0.15
"""Half widths of uniform draws of logarithms: of size, of all three densities together, of each
density alone, and of brightness."""
EXACT = 0.5
"""The share of images that are rotated by quarter turns only and keep their scale, so that no pixel
is interpolated: a network that never saw a sharp image takes sharpness for a feature."""
BLURRED, BLUR = 0.3, 0.012
"""The share of images that are blurred, and the largest standard deviation of the Gaussian divided
by the side."""
BLACK = 8
"""Up to this value a pixel is background: resizing mixes a cell's rim with black."""
RESCALED = "-rescaled"
"""How the names of augmentations end that also give a cell another size."""
_WHITE = 255.0


def pixel_augmentation(setting: str | Strengths) -> Augmentation | None:
    """Return the function of a recipe's ``training.augmentation``; None if it changes no pixels.

    Raises:
        BlastscopeError: if the name is not registered; later, if the function returns another
            shape or type.
    """
    if isinstance(setting, Strengths):
        return augmentation_of(setting) if setting.changes_pixels else None
    name = setting
    own = _BUILT_IN.get(name) or require("augmentation", name)
    if own is None:
        return None

    def checked(pixels: Tensor, rng: np.random.Generator) -> Tensor:
        changed: Tensor = own(pixels, rng)
        if changed.shape != pixels.shape or changed.dtype != pixels.dtype:
            raise BlastscopeError(
                f"The augmentation '{name}' returned {changed.dtype} of shape "
                f"{tuple(changed.shape)}: return {pixels.dtype} of shape {tuple(pixels.shape)}."
            )
        return changed

    return checked


def strong(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Change the shape, stain, light and focus of each image of a batch.

    Pixels are uint8, N × 3 × S × S, RGB, cells on black; so is the result, a new tensor.
    """
    return _in_another_light(_any_angle(pixels.float(), rng), rng)


def strong_rescaled(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Change the size of each image as ``rescaled``, and stain, light and focus as ``strong``.

    Pixels are uint8, N × 3 × S × S, RGB, cells on black; so is the result, a new tensor.
    """
    return _in_another_light(_of_another_size(pixels.float(), rng), rng)


def rescaled(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Give each image of a batch another size, and rotate it by quarter turns or mirror it.

    Pixels are uint8, N × 3 × S × S, RGB, cells on black; so is the result, a new tensor.
    """
    changed = _of_another_size(pixels.float(), rng)
    return changed.round_().clamp_(0, _WHITE).to(torch.uint8)


def _of_another_size(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    n = len(pixels)
    size, mirror = np.exp(rng.uniform(-RESCALE, RESCALE, n)), rng.choice([-1.0, 1.0], n)
    return _transformed(pixels, rng.integers(0, 4, n) * (np.pi / 2), size, mirror)


def _in_another_light(changed: Tensor, rng: np.random.Generator) -> Tensor:
    """Change stain, light and focus; black stays black."""
    cell = changed.amax(dim=1, keepdim=True) > BLACK
    changed = _stained(changed, rng) * cell
    changed = _blurred(changed, rng)
    return changed.round_().clamp_(0, _WHITE).to(torch.uint8)


def _any_angle(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Rotate by any angle, mirror and scale a little; a share only by quarter turns."""
    n = len(pixels)
    angle, size = rng.uniform(0, 2 * np.pi, n), np.exp(rng.uniform(-SCALE, SCALE, n))
    mirror, exact = rng.choice([-1.0, 1.0], n), rng.random(n) < EXACT
    angle = np.where(exact, rng.integers(0, 4, n) * (np.pi / 2), angle)
    return _transformed(pixels, angle, np.where(exact, 1.0, size), mirror)


def _transformed(pixels: Tensor, angle: Floats, size: Floats, mirror: Floats) -> Tensor:
    """Rotate, mirror and scale about the centre; pixels from outside are black."""
    cos, sin, none = np.cos(angle) / size, np.sin(angle) / size, np.zeros(len(pixels))
    ways = np.stack([[mirror * cos, -sin, none], [mirror * sin, cos, none]]).transpose(2, 0, 1)
    grid = affine_grid(torch.from_numpy(ways).float(), list(pixels.shape), align_corners=False)
    return grid_sample(pixels, grid, align_corners=False)


def _stained(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Multiply optical densities (Beer and Lambert), then the brightness."""
    n = len(pixels)
    stain = rng.uniform(-STAIN, STAIN, (n, 1)) + rng.uniform(-SHADE, SHADE, (n, 3))
    light = np.exp(rng.uniform(-LIGHT, LIGHT, (n, 1)))
    power, gain = (torch.from_numpy(of).float()[..., None, None] for of in (np.exp(stain), light))
    return _WHITE * gain * (pixels / _WHITE).clamp(min=1e-3) ** power


def _blurred(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Blur some images of a batch, all with one standard deviation that is drawn per batch."""
    from torchvision.transforms.functional import gaussian_blur

    side = pixels.shape[-1]
    chosen, sigma = rng.random(len(pixels)) < BLURRED, rng.uniform(0.2, 1) * BLUR * side
    if chosen.any():
        width = 2 * int(np.ceil(3 * sigma)) + 1
        some = torch.from_numpy(chosen)
        pixels[some] = gaussian_blur(pixels[some], [width, width], [sigma, sigma])
    return pixels


_BUILT_IN: dict[str, Augmentation] = {
    "strong": strong,
    "rescaled": rescaled,
    "strong-rescaled": strong_rescaled,
}
