"""A few cells that pass through the networks together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from blastscope.explanation.cell_image import CellImage, Map, moved
from blastscope.explanation.cells import ExplainedCells
from blastscope.explanation.models import ExplainedModel


class CellBatch:
    """A few cells and their source images by contour: each file is read once for each contour.

    Attributes:
        models: the networks.
        dataset: the cells.
        rows: which of them.
    """

    def __init__(
        self, models: Sequence[ExplainedModel], dataset: ExplainedCells, rows: Sequence[int]
    ) -> None:
        self.models = models
        self.dataset = dataset
        self.rows = rows
        self._cell_images: dict[str, list[CellImage]] = {}

    def cell_images(self, model: ExplainedModel) -> list[CellImage]:
        """Return the cells as a model's contour finds them."""
        contour = model.settings.contour
        if contour not in self._cell_images:
            self._cell_images[contour] = [
                self.dataset.cell_image(row, model.settings) for row in self.rows
            ]
        return self._cell_images[contour]

    @cached_property
    def shown(self) -> list[CellImage]:
        """The images that all heatmaps are shown over: the first model's."""
        return self.cell_images(self.models[0])

    def aligned(self, seen: Map, model: ExplainedModel, k: int) -> Map:
        """Align a model's map of the batch's ``k``-th cell with the shown crop."""
        own = self.cell_images(model)[k]
        return moved(own.on_crop(seen, model.settings), own, self.shown[k])
