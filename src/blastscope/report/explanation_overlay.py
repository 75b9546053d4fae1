"""Evidence laid over a cell: the pixels, without any axes."""

from __future__ import annotations

from math import ceil, sqrt

import cv2
import numpy as np
from numpy.typing import NDArray

from blastscope.data.crop import Pixels, resize
from blastscope.explanation.cell_image import BACKGROUND, CELL, CellImage, Map
from blastscope.explanation.result import CellExplained
from blastscope.report.style import COLOURS

STRONGEST = 0.85
"""How opaque the strongest evidence is; the cell is to be seen beneath it."""
_PAPER, _DARK, _LIGHT = 250, 100, 225  # of 255
_OUTLINE = (70, 70, 70)


def softened(picture: CellImage) -> Pixels:
    """Return a cell's crop in light grey on white, its outline drawn, to be laid over.

    Its contrast is stretched within the cell, whose stain is dark on many slides, so that both
    chromatin and colours are seen.
    """
    grey = np.asarray(cv2.cvtColor(picture.crop, cv2.COLOR_RGB2GRAY), np.float32)
    regions = picture.crop_regions
    inside = grey[regions == CELL]
    dark, light = np.percentile(inside, (1, 99)) if inside.size else (0, 255)
    share = np.clip((grey - dark) / max(light - dark, 1), 0, 1)
    shown = np.where(regions == BACKGROUND, _PAPER, _DARK + (_LIGHT - _DARK) * share)
    base = np.repeat(shown.astype(np.uint8)[:, :, None], 3, axis=2)
    mask = (regions == CELL).astype(np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(base, outlines, -1, _OUTLINE, 1, cv2.LINE_AA)
    return base


def overlay(base: Pixels, signed: Map, most: float | None = None) -> Pixels:
    """Lay signed evidence over a picture: vermilion for ALL, blue for normal, none where zero.

    Args:
        base: of :func:`softened`, side × side × 3.
        signed: side × side, above zero for ALL.
        most: the evidence that is drawn strongest; None for the largest there is.
    """
    largest = float(np.abs(signed).max(initial=0)) if most is None else most
    share = np.abs(signed) / (largest if largest > 0 else 1)
    opacity = np.asarray(STRONGEST * np.minimum(share, 1), np.float32)[:, :, None]
    colour = np.where((signed > 0)[:, :, None], _rgb("all"), _rgb("hem"))
    return np.asarray((1 - opacity) * base + opacity * colour + 0.5, np.uint8)


def _rgb(label: str) -> NDArray[np.float32]:
    return np.array([int(COLOURS[label][k : k + 2], 16) for k in (1, 3, 5)], np.float32)


def scale_bar(width: int, height: int) -> Pixels:
    """Return the colours from all for normal (left) to all for ALL, on white."""
    base = np.full((height, width, 3), _PAPER, np.uint8)
    return overlay(base, np.tile(np.linspace(-1, 1, width, dtype=np.float32), (height, 1)))


def panels(cell: CellExplained) -> list[Pixels]:
    """Return a cell's panels: a model each, then the ensemble's, of its first method."""
    base, method = softened(cell.picture), cell.methods[0]
    maps = [model.evidence[method].signed for model in cell.models]
    if cell.ensemble is not None:
        maps.append(cell.ensemble.signed[method])
    return [overlay(base, signed) for signed in maps]


def columns_of(count: int) -> int:
    """Return how many of ``count`` panels stand in a row: 2 × 2 for four, as in the paper."""
    return ceil(sqrt(count))


def thumbnail(cell: CellExplained, side: int) -> Pixels:
    """Return the panels without a word, in a square of about ``side`` pixels a side."""
    shown = panels(cell)
    columns = columns_of(len(shown))
    tile = max(1, side // columns)
    rows = ceil(len(shown) / columns)
    whole = np.full((rows * tile, columns * tile, 3), 255, np.uint8)
    for k, panel in enumerate(shown):
        y, x = divmod(k, columns)
        whole[y * tile : (y + 1) * tile, x * tile : (x + 1) * tile] = resize(panel, tile)
    return whole
