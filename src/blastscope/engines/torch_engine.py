"""PyTorch: what trained the model, and what runs it on a GPU."""

from __future__ import annotations

import torch

from blastscope.data.crop import Pixels
from blastscope.engines.engine import Logits, cells_at_once, in_batches, joined
from blastscope.models.classifier import Classifier
from blastscope.models.dihedral import count_views, dihedral_view

ON_A_GPU = 64
"""How many cells pass through a network together where there is a GPU to fill."""


class TorchEngine:
    """A classifier in PyTorch.

    Attributes:
        name: ``PyTorch``.
        views: the number of logits that it gives a cell.
    """

    name = "PyTorch"

    def __init__(self, classifier: Classifier, views: str, device: torch.device) -> None:
        """Take a classifier over.

        Args:
            classifier: the network; it is put on ``device`` and into evaluation mode.
            views: the recipe's ``prediction.views``: ``one`` or ``dihedral``.
            device: what to compute on.
        """
        self.views = count_views(views)
        self._device = device
        self._classifier = classifier.to(device).eval()
        # Channels last in memory, as the pixels come and as convolutions are faster.
        self._classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def view_logits(self, pixels: Pixels) -> Logits:
        """Return the logits (N, V) of cells (N, S, S, 3)."""
        cells = cells_at_once(1) if self._device.type == "cpu" else ON_A_GPU
        found = [self._of(torch.from_numpy(some)) for some in in_batches(pixels, cells)]
        return joined(found, self.views)

    @torch.inference_mode()
    def _of(self, cells: torch.Tensor) -> Logits:
        upright = cells.to(self._device).permute(0, 3, 1, 2)
        found = [
            self._classifier(
                dihedral_view(upright, k).contiguous(memory_format=torch.channels_last)
            )
            for k in range(self.views)
        ]
        return torch.stack(found, 1).float().cpu().numpy()
