"""Cells in even colours: each channel of a cell brought to one mean and one spread.

Stain, lamp and camera shift a whole cell's colours and stretch them; what tells a blast, its
chromatin's pattern, is left. After Reinhard et al., Color Transfer between Images, IEEE Computer
Graphics and Applications 21(5):34-41, 2001, per channel of RGB and within the cell alone. It is
a part of the network, so that every engine does it and no store has to be made anew.
"""

from __future__ import annotations

import torch
from torch import Tensor

MEAN = (68.5, 29.9, 78.8)
SPREAD = (12.1, 8.5, 11.6)
"""What every cell is brought to: what the cells of C-NMC 2019's fold 1 have on average, each its
own mean and standard deviation, red, green and blue of 0..255."""
_BLACK = 12.0
"""As bright as this, of 255, is still background: shrinking blurs a cell's edge into black."""
_LEAST = 1.0
"""A channel that hardly varies is not stretched beyond this deviation."""


def evened(images: Tensor) -> Tensor:
    """Bring cells to even colours; black stays black.

    Args:
        images: float, (N, 3, H, W), RGB, 0..255, cells on black.

    Returns:
        A new tensor of the same shape, within 0..255.
    """
    cell = (images.amax(dim=1, keepdim=True) > _BLACK).to(images.dtype)
    count = cell.sum((2, 3), keepdim=True).clamp(min=1.0)
    mean = (images * cell).sum((2, 3), keepdim=True) / count
    spread = (((images - mean).square() * cell).sum((2, 3), keepdim=True) / count).sqrt()
    wanted = [torch.tensor(of, dtype=images.dtype, device=images.device) for of in (MEAN, SPREAD)]
    to_mean, to_spread = (of.view(1, 3, 1, 1) for of in wanted)
    even = (images - mean) / spread.clamp(min=_LEAST) * to_spread + to_mean
    return even.clamp(0.0, 255.0) * cell
