"""Hold the explanation of one cell: by each model, and by their ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blastscope.data.crop import Pixels
from blastscope.data.layouts import CellFile
from blastscope.explanation.cell_image import CellImage, Map

if TYPE_CHECKING:
    from blastscope.explanation.activations import LayerMaps


class NoteCode(StrEnum):
    """Why a part of an explanation is missing or coarse."""

    COARSE_GRID = "coarse-grid"
    """No layer has a map of as many positions as asked for; details: asked, rows, columns."""
    SINGLE_FIELD = "single-field"
    """The map has a single position across; detail: the method."""
    NO_ATTRIBUTION = "no-attribution"
    """The map is zero for the called class; details: the method, the class."""
    NO_CONVOLUTION = "no-convolution"
    """There is no first convolution with a map."""
    NO_POOLING = "no-pooling"
    """There is no pooling inside the network."""
    POOLS_TO_ONE_FIELD = "pools-to-one-field"
    """The network pools only to a single position."""
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
class Attribution:
    """What speaks for each class, position by position: float32, not below zero.

    Either of N images, (N, h, w), or laid over the crop of one cell, (side, side). Of Grad-CAM and
    occlusion it is in logits per position.
    """

    for_all: Map
    for_normal: Map

    @property
    def signed(self) -> Map:
        """Above zero for ALL, below for normal."""
        return self.for_all - self.for_normal

    def for_call(self, calls_all: NDArray[np.bool_]) -> Map:
        """Return the attribution of each image's call; ``calls_all`` (N,): whether that is ALL."""
        return np.where(calls_all[:, None, None], self.for_all, self.for_normal)

    def at_size(self, size: int) -> Attribution:
        """Return that of N images on size × size pixels, bilinear between centres of positions."""
        return Attribution(_resized(self.for_all, size), _resized(self.for_normal, size))


def _resized(maps: Map, size: int) -> Map:
    if maps.shape[1:] == (size, size):
        return maps
    grown = [cv2.resize(one, (size, size), interpolation=cv2.INTER_LINEAR) for one in maps]
    return np.stack(grown) if grown else np.zeros((0, size, size), np.float32)


@dataclass(frozen=True)
class TableCall:
    """What a prediction table says of a cell; a page beside the table shows nothing else."""

    p_all: float  # the probability of ALL, calibrated if the model has a calibration
    called: str  # ``all`` or ``hem``
    refer: bool | None  # whether the cell goes to an expert; None if the model has no decision


@dataclass(frozen=True)
class ModelExplained:
    """The explanation of one cell by one model."""

    name: str  # of the model
    p_all: float  # the probability of ALL, from the mean logit over the model's views
    called: str  # ``all`` or ``hem``
    target_layer: str  # where Grad-CAM reads the network
    grid: tuple[int, int]  # the positions (rows, columns) of Grad-CAM's map
    seen: Pixels  # the cell as the network sees it, uint8, S × S × 3, RGB
    attributions: Mapping[str, Attribution]  # on the crop, by method
    layers: tuple[LayerMaps, ...]  # the feature maps, N = 1
    notes: tuple[Note, ...]  # what is missing or coarse
    measured: Mapping[str, Any]  # a row of ``tables.AUDIT``, by column
    part: str | None  # of the split of the model's own run that has the cell; None if none has
    # The attribution by the first method that is drawn strongest, the same for all cells of a set;
    # None if each cell has its own scale.
    scale: float | None = None


@dataclass(frozen=True)
class EnsembleExplained:
    """The explanation of one cell by an ensemble: its probability, and its map by method."""

    name: str
    p_all: float
    called: str
    signed: Mapping[str, Map]
    # The members' maps by the first method, each divided by its scale, by the ensemble's weights:
    # within -1..1; None if each cell has its own scale.
    on_scale: Map | None = None


@dataclass(frozen=True)
class CellExplained:
    """One cell."""

    file: CellFile  # its file, with the label and subject that path and name give
    picture: CellImage  # the cell as its file shows it
    methods: tuple[str, ...]  # the attribution methods, the first to be shown first
    models: tuple[ModelExplained, ...]  # one per panel
    ensemble: EnsembleExplained | None  # None unless an ensemble was given
    # What the table says that the page stands beside; None if there is no table.
    table: TableCall | None = None

    def right(self, called: str) -> bool | None:
        """Return whether a call is right; None if the true class is unknown."""
        return None if self.file.label is None else called == self.file.label
