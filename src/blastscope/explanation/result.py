"""What is said of one cell: by each model, and by their ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blastscope.data.crop import Pixels
from blastscope.data.layouts import CellFile
from blastscope.explanation.activations import LayerMaps
from blastscope.explanation.cell_image import CellImage, Map


@dataclass(frozen=True)
class CropAttribution:
    """Evidence laid over a cell's crop, side × side, float32, not below zero."""

    for_all: Map
    for_normal: Map

    @property
    def signed(self) -> Map:
        """Above zero for ALL, below for normal."""
        return self.for_all - self.for_normal


@dataclass(frozen=True)
class ModelExplained:
    """What one model makes of one cell.

    Attributes:
        name: the model's.
        p_all: the probability of ALL, the mean logit over the model's views.
        called: ``all`` or ``hem``.
        place: where in the network Grad-CAM is read, in words.
        grid: the fields (rows, columns) of Grad-CAM's map.
        seen: the cell as the network sees it, uint8, S × S × 3, RGB.
        evidence: on the crop, by method.
        layers: the feature maps, N = 1.
        notes: a sentence on each thing that does not apply.
        measured: a row of ``measure.STUDY``, by column.
        part: of the split of the model's own run that the cell is in; None where in none.
    """

    name: str
    p_all: float
    called: str
    place: str
    grid: tuple[int, int]
    seen: Pixels
    evidence: Mapping[str, CropAttribution]
    layers: tuple[LayerMaps, ...]
    notes: tuple[str, ...]
    measured: Mapping[str, Any]
    part: str | None


@dataclass(frozen=True)
class EnsembleExplained:
    """What the ensemble makes of the cell: its probability, and its map by method."""

    name: str
    p_all: float
    called: str
    signed: Mapping[str, Map]


@dataclass(frozen=True)
class CellExplained:
    """One cell.

    Attributes:
        file: its file, and what its place and name say of it.
        picture: the cell as its file shows it.
        methods: those that evidence was asked for, the first to be shown first.
        models: a panel each.
        ensemble: None unless an ensemble was given.
    """

    file: CellFile
    picture: CellImage
    methods: tuple[str, ...]
    models: tuple[ModelExplained, ...]
    ensemble: EnsembleExplained | None

    def right(self, called: str) -> bool | None:
        """Return whether a call is right; None where the truth is unknown."""
        return None if self.file.label is None else called == self.file.label
