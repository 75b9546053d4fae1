"""Contact sheets: 100 thumbnails in one WebP file, so that 5,000 cells are 50 requests.

A sheet lies at the digest of its content, so its address never shows anything else.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from PIL import Image

from blastscope.data.crop import Box, Pixels, fixed_field, locate, resize, square_crop
from blastscope.data.images import UnusableImageError

TILE = 128
"""Pixels of a side of a thumbnail."""
PER_ROW, PER_SHEET = 10, 100
Kind = Literal["scale", "fit"]
KINDS: tuple[Kind, ...] = ("scale", "fit")
"""All cells to one scale, so that size tells; or each cell filling its tile."""
_QUALITY = 90


def thumbnails(pixels: Pixels) -> dict[Kind, Pixels]:
    """Return both thumbnails of a decoded image, uint8, TILE × TILE × 3, RGB.

    An image without a cell on black is shown whole.
    """
    try:
        box = locate(pixels).box
    except UnusableImageError:
        box = Box(0, 0, pixels.shape[1], pixels.shape[0])
    return {
        "scale": resize(fixed_field(pixels, box), TILE),
        "fit": resize(square_crop(pixels, box), TILE),
    }


def sheet(tiles: Mapping[int, Pixels], count: int) -> bytes:
    """Lay thumbnails out in rows of ten and return the WebP file.

    Args:
        tiles: by their places, from 0; a place without one stays black.
        count: how many places the sheet has, 1 to 100.
    """
    rows = -(-count // PER_ROW)
    whole = np.zeros((rows * TILE, PER_ROW * TILE, 3), np.uint8)
    for place, tile in tiles.items():
        row, column = divmod(place, PER_ROW)
        whole[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE] = tile
    content = io.BytesIO()
    Image.fromarray(whole).save(content, "WEBP", quality=_QUALITY, method=2)
    return content.getvalue()


def png(pixels: Pixels) -> bytes:
    """Return an image, uint8, (H, W, 3) RGB or (H, W, 4) RGBA, as a PNG file."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", compress_level=1)
    return content.getvalue()


def spans(cells: int) -> Sequence[range]:
    """Return the numbers of the cells of each sheet."""
    return [range(k + 1, min(k + PER_SHEET, cells) + 1) for k in range(0, cells, PER_SHEET)]
