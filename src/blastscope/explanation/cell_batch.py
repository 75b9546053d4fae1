"""A few cells on their way through the networks together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from blastscope.explanation.cell_image import CellImage, Map, moved
from blastscope.explanation.cells import ExplainedCells
from blastscope.explanation.models import ExplainedModel


class Chunk:
    """A few cells, and their pictures by contour: each file is read once for each.

    Attributes:
        models: the networks.
        material: where the cells are.
        rows: which of them.
    """

    def __init__(
        self, models: Sequence[ExplainedModel], material: ExplainedCells, rows: Sequence[int]
    ) -> None:
        self.models = models
        self.material = material
        self.rows = rows
        self._pictures: dict[str, list[CellImage]] = {}

    def pictures(self, model: ExplainedModel) -> list[CellImage]:
        """Return the cells as a model's contour cuts them."""
        contour = model.settings.contour
        if contour not in self._pictures:
            self._pictures[contour] = [
                self.material.picture(row, model.settings) for row in self.rows
            ]
        return self._pictures[contour]

    @cached_property
    def shown(self) -> list[CellImage]:
        """The pictures that all maps are laid over: the first model's."""
        return self.pictures(self.models[0])

    def lay(self, seen: Map, model: ExplainedModel, k: int) -> Map:
        """Lay a model's map of the chunk's ``k``-th cell over the shown crop."""
        own = self.pictures(model)[k]
        return moved(own.on_crop(seen, model.settings), own, self.shown[k])
