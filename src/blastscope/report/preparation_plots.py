"""The paper's Figures 1 to 3 on a cell of the data at hand, made by the code that prepares cells.

What they show is what a network gets: :mod:`blastscope.data.crop` finds the cell,
:mod:`blastscope.data.crop` cuts and equalises it, :mod:`blastscope.models.dihedral` turns it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from blastscope.data.crop import THRESHOLD, Box, Pixels, clahe, locate, resize, square_crop
from blastscope.data.layouts import CellFile, Listing
from blastscope.data.names import ALL
from blastscope.errors import BlastscopeError
from blastscope.models.dihedral import CHANNELS_LAST, dihedral_view

GAP, LABEL = 12, 26
"""Pixels between the panels of a montage, and for the words above each."""
SMALL, LARGE = 150, 300
"""Side of a panel of Figure 1, and of Figures 2 and 3."""
TURNS = {
    0: "original",
    4: "flipped left-right",
    6: "flipped up-down",
    1: "turned by 90°",
    2: "turned by 180°",
    3: "turned by 270°",
}
"""What each operation of :mod:`blastscope.models.dihedral` that makes copies does."""
_INK, _OUTLINE, _BOX = (34, 39, 46), (255, 210, 0), (0, 200, 255)


def example_cell(listing: Listing) -> CellFile:
    """Choose the cell to show: the first ALL cell in the order of the names.

    Raises:
        BlastscopeError: if there is no ALL cell.
    """
    found = next((item for item in listing.cells if item.label == ALL), None)
    if found is None:
        raise BlastscopeError("The data set has no ALL cell to show: give labelled cells.")
    return found


def preparation_figures(image: Pixels, name: str) -> list[tuple[str, Pixels]]:
    """Make the paper's Figures 1, 2 and 3 of one source image.

    Args:
        image: uint8, height × width × 3, RGB: a cell on black.
        name: the cell's name, for the captions.

    Returns:
        (caption, montage as uint8 of shape (height, width, 3), RGB) of each figure.

    Raises:
        UnusableImageError: if the image is all black.
    """
    box = locate(image).box
    square = square_crop(image, box)
    return [
        (f"As Figure 1 of the paper: the ways a copy is flipped or turned. {name}", _turns(square)),
        (
            f"As Figure 2: cropping. The thresholded cell's outline and its box; the box, padded "
            f"to a square, at the same scale. {name}",
            _cropping(image, box, square),
        ),
        (
            f"As Figure 3: contrast-limited equalisation of Y in YUV, before and after. {name}",
            _montage(
                [
                    ("before CLAHE", resize(square, LARGE)),
                    ("after CLAHE", resize(clahe(square), LARGE)),
                ]
            ),
        ),
    ]


def _turns(square: Pixels) -> Pixels:
    small = resize(square, SMALL)
    panels = [dihedral_view(small, operation, CHANNELS_LAST) for operation in TURNS]
    return _montage(list(zip(TURNS.values(), panels, strict=True)))


def _cropping(image: Pixels, box: Box, square: Pixels) -> Pixels:
    height, width = image.shape[:2]
    scale = LARGE / max(height, width)
    shown = _scaled(image, scale)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    _, mask = cv2.threshold(grey, THRESHOLD, 255, cv2.THRESH_BINARY)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    scaled = [np.rint((line + 0.5) * scale - 0.5).astype(np.int32) for line in outlines]
    outlined = cv2.drawContours(shown.copy(), scaled, -1, _OUTLINE, 1)
    corners = [(box.x, box.y), (box.x + box.w, box.y + box.h)]
    (x0, y0), (x1, y1) = ((round(x * scale), round(y * scale)) for x, y in corners)
    cv2.rectangle(outlined, (x0, y0), (x1 - 1, y1 - 1), _BOX, 1)
    side = square.shape[0]
    return _montage(
        [
            (f"original, {width} × {height}", shown),
            ("above the threshold, and its box", outlined),
            (f"padded square, {side} × {side}", _scaled(square, scale)),
        ]
    )


def _scaled(pixels: Pixels, scale: float) -> Pixels:
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(pixels, (width, height), interpolation=how)  # type: ignore[return-value]


def _font() -> ImageFont.FreeTypeFont:
    """Return the font of the other figures, which comes with matplotlib."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), 13)


def _montage(panels: Sequence[tuple[str, np.ndarray[Any, Any]]]) -> Pixels:
    """Lay panels in a row on white, each below its label, at the top left of its place."""
    font = _font()
    places = [max(panel.shape[1], int(font.getlength(label)) + 1) for label, panel in panels]
    height = LABEL + max(panel.shape[0] for _, panel in panels)
    canvas = Image.new("RGB", (sum(places) + GAP * (len(panels) - 1), height), "white")
    draw = ImageDraw.Draw(canvas)
    left = 0
    for (label, panel), place in zip(panels, places, strict=True):
        draw.text((left, 4), label, fill=_INK, font=font)
        canvas.paste(Image.fromarray(np.ascontiguousarray(panel)), (left, LABEL))
        left += place + GAP
    return np.asarray(canvas)
