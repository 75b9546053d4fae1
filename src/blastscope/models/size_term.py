"""What the size of a cell says, as a term of its own beside what its picture says.

A network that is trained on cells of few subjects takes the sizes of those subjects for those of
the classes. So it is trained on cells of changing size (augmentation ``rescaled``), from which it
cannot learn size, and the size of a cell comes back as one number: the log-odds of a logistic
regression on the longer side of the cell, fitted on many more subjects than the network has seen.
Published boxes are enough for that (:func:`blastscope.evaluation.size_fit.fit_size`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from blastscope.recipes.schema import SizeTermSettings

BACKGROUND = 16.0
"""Up to this value, of 0..255, a pixel is background. At 112 pixels a side the longer side of what
is above it is 1.005 times the box of the whole image (median of the 3,581 cells of fold 1; .997 to
1.018 for 98 % but the few with debris apart from the cell)."""


class SizeTerm(nn.Module):
    """The log-odds of ALL by the longer side of a cell; it has no weights to train.

    ``slope`` times the logarithm of the longer side, as a share of the image's side, divided by
    ``centre``. Sizes beyond ``smallest`` and ``largest`` count as those, so that debris or several
    cells in one do not outweigh everything else.
    """

    def __init__(self, settings: SizeTermSettings) -> None:
        super().__init__()
        self.slope = settings.slope
        self.centre = settings.centre
        self.bounds = settings.smallest, settings.largest

    def forward(self, images: Tensor) -> Tensor:
        """Return the term of each image.

        Args:
            images: (N, 3, S, S), values 0..255, cells on black and all at one scale.

        Returns:
            Log-odds (N,).
        """
        cell = images.float().amax(dim=1) > BACKGROUND
        rows, columns = (cell.any(dim=axis).sum(dim=1) for axis in (2, 1))
        longer = torch.maximum(rows, columns).float() / images.shape[-1]
        return self.slope * (longer.clamp(*self.bounds).log() - math.log(self.centre))
