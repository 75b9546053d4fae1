"""Rescale cells, to measure how much of a decision depends on their size.

Lymphoblasts are larger than normal cells, so a network may use size alone. Here a cell is rescaled
in its own image before it is prepared. With ``keep`` every cell is cut by the same field, so that a
cell of twice the size is seen at twice the size. With ``crop`` every cell fills the image, and only
sharpness depends on its size. Rescaling changes sharpness too; the control is the same cell
rescaled and brought back to its own size.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from blastscope.data.crop import Box, Pixels, prepared
from blastscope.data.store import StoreSettings
from blastscope.explanation.cell_image import CellImage
from blastscope.explanation.models import ExplainedModel
from blastscope.explanation.tables import SCALES

Floats = NDArray[np.float64]


def rescaled(pixels: Pixels, box: Box, scale: float) -> tuple[Pixels, Box]:
    """Return an image rescaled, by area where it shrinks, and the cell's box in it.

    Args:
        pixels: uint8, height × width × 3, RGB.
        scale: of lengths; 1 gives both back as they are.
    """
    if scale == 1:
        return pixels, box
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    x0, x1 = _span(box.x, box.w, scale, width)
    y0, y1 = _span(box.y, box.h, scale, height)
    return _resized(pixels, height, width), Box(x0, y0, x1 - x0, y1 - y0)


def _resized(pixels: Pixels, height: int, width: int) -> Pixels:
    shrinks = height < pixels.shape[0] or width < pixels.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=how), np.uint8)


def _span(start: int, length: int, scale: float, limit: int) -> tuple[int, int]:
    first = min(round(start * scale), limit - 1)
    return first, min(max(round((start + length) * scale), first + 1), limit)


def seen_at(picture: CellImage, settings: StoreSettings, scale: float) -> Tensor:
    """Return a cell, rescaled and prepared for a network: uint8, (3, S, S), RGB."""
    return _seen(*rescaled(picture.whole, picture.box, scale), settings)


def seen_there_and_back(picture: CellImage, settings: StoreSettings, scale: float) -> Tensor:
    """Return a cell, rescaled, given its own size again and prepared: uint8, (3, S, S), RGB.

    At scale 1 its pixels are those of the file. The box is the cell's own, so that only sharpness
    differs: much if ``scale`` is below 1, little above.
    """
    away, _ = rescaled(picture.whole, picture.box, scale)
    return _seen(_resized(away, *picture.whole.shape[:2]), picture.box, settings)


def _seen(pixels: Pixels, box: Box, settings: StoreSettings) -> Tensor:
    laid = prepared(pixels, box, settings.size, settings.scale, settings.clahe, settings.stain)
    return torch.from_numpy(laid).permute(2, 0, 1)


def logits_scaled(model: ExplainedModel, pictures: Sequence[CellImage]) -> Floats:
    """Return the logit of each of N cells at each of ``SCALES``, with TTA, shape (N, 9).

    The cells must be of the contour that the model's cells are prepared with, here and below.
    """
    made = (seen_at(one, model.settings, scale) for one in pictures for scale in SCALES)
    return model.logits(made, tta=True).reshape(len(pictures), len(SCALES))


def p_same_size(model: ExplainedModel, pictures: Sequence[CellImage], side: float) -> Floats:
    """Return the probability of ALL of N cells that are given the same size, shape (N,).

    ``side`` is what the longer side of each cell's box becomes, in source pixels.
    """
    alike = (seen_at(one, model.settings, side / one.side) for one in pictures)
    return np.asarray(expit(model.logits(alike, tta=True)), np.float64)


def p_there_and_back(model: ExplainedModel, pictures: Sequence[CellImage], side: float) -> Floats:
    """Return the same of cells that are given that size and then their own again: the control.

    It is a full control of cells that shrink; one that was enlarged loses its softness on the way
    back.
    """
    alike = (seen_there_and_back(one, model.settings, side / one.side) for one in pictures)
    return np.asarray(expit(model.logits(alike, tta=True)), np.float64)
