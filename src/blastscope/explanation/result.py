"""Hold the explanation of one cell: by each model, and by their ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from blastscope.data.crop import Pixels
from blastscope.data.layouts import CellFile
from blastscope.explanation.cell_image import CellImage, Map

if TYPE_CHECKING:
    from blastscope.explanation.activations import LayerMaps


class NoteCode(StrEnum):
    """Why a part of an explanation is missing or coarse."""

    COARSE_GRID = "coarse-grid"
    """No layer has a map of as many fields as asked for; details: asked, rows, columns."""
    SINGLE_FIELD = "single-field"
    """The map has a single field across; detail: the method."""
    NO_ATTRIBUTION = "no-attribution"
    """The map is zero for the called class; details: the method, the class."""
    NO_CONVOLUTION = "no-convolution"
    """There is no first convolution with a map."""
    NO_POOLING = "no-pooling"
    """There is no pooling inside the network."""
    POOLS_TO_ONE_FIELD = "pools-to-one-field"
    """The network pools only to a single field."""
    LAYER_WITHOUT_MAP = "layer-without-map"
    """The output of a layer is not a map; details: the layer, the shape of its output."""
    LAYER_ABSENT = "layer-absent"
    """The model does not have a layer that others have; detail: why."""


@dataclass(frozen=True)
class Note:
    """A note on a model; what the details are stands with each code."""

    code: NoteCode
    model: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class CropAttribution:
    """The attribution laid over a cell's crop, side × side, float32, not below zero."""

    for_all: Map
    for_normal: Map

    @property
    def signed(self) -> Map:
        """Above zero for ALL, below for normal."""
        return self.for_all - self.for_normal


@dataclass(frozen=True)
class ModelExplained:
    """The explanation of one cell by one model.

    Attributes:
        name: of the model.
        p_all: the probability of ALL, from the mean logit over the model's views.
        called: ``all`` or ``hem``.
        target_layer: where Grad-CAM reads the network.
        grid: the fields (rows, columns) of Grad-CAM's map.
        seen: the cell as the network sees it, uint8, S × S × 3, RGB.
        attributions: on the crop, by method.
        layers: the feature maps, N = 1.
        notes: what is missing or coarse.
        measured: a row of ``tables.AUDIT``, by column.
        part: of the split of the model's own run that has the cell; None if none has.
    """

    name: str
    p_all: float
    called: str
    target_layer: str
    grid: tuple[int, int]
    seen: Pixels
    attributions: Mapping[str, CropAttribution]
    layers: tuple[LayerMaps, ...]
    notes: tuple[Note, ...]
    measured: Mapping[str, Any]
    part: str | None


@dataclass(frozen=True)
class EnsembleExplained:
    """The explanation of one cell by an ensemble: its probability, and its map by method."""

    name: str
    p_all: float
    called: str
    signed: Mapping[str, Map]


@dataclass(frozen=True)
class CellExplained:
    """One cell.

    Attributes:
        file: its file, with the label and subject that path and name give.
        picture: the cell as its file shows it.
        methods: the attribution methods, the first to be shown first.
        models: one per panel.
        ensemble: None unless an ensemble was given.
    """

    file: CellFile
    picture: CellImage
    methods: tuple[str, ...]
    models: tuple[ModelExplained, ...]
    ensemble: EnsembleExplained | None

    def right(self, called: str) -> bool | None:
        """Return whether a call is right; None if the true class is unknown."""
        return None if self.file.label is None else called == self.file.label
