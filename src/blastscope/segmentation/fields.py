"""Read a whole field, refuse what is not a stained smear, and go over it tile by tile."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import ExifTags, Image

from blastscope.data.crop import Box, Pixels
from blastscope.data.images import SEVERAL, Decoded, UnusableImageError, read_image
from blastscope.segmentation.cells import FoundCell, Segmenter, find_cells, in_order_of_rows
from blastscope.segmentation.nuclei import UM
from blastscope.segmentation.optical_density import glass_colour

MOST_PIXELS = 100_000_000
"""The largest field that is decoded."""
MOST_BYTES = 512 * 2**20
"""The largest file of a field that is read."""
LEAST_SIDE = 64
"""The least side of a field, in pixels."""
TILE = 1536 * UM
"""The side of a tile, in micrometres."""
MARGIN = 30.0
"""How far tiles overlap, in micrometres: more than a cell measures."""
SEAM = 5.0
"""How far beyond a tile's own part the centre of a cell may lie, in micrometres: more than the
outlines of two tiles move it."""

DARK = 120
"""The mean of the largest of the three colours below which nothing lights a field from below."""
GREY = 16
"""The difference of largest and smallest colour that nine of ten stained pixels do not exceed in a
picture without a stain."""
NOT_GREEN = 0.65, 0.45
"""The share of dense pixels that take away less green light than other light (less than .9 and less
than .6 of it) above which a picture is not a Romanowsky stain: at most .58 and .39 in 492 fields,
.79 and more in photographs of buildings and flowers."""
FULL = 0.88
"""The share of dense pixels above which there is no glass: at most .77 in 492 fields."""


def read_field(path: Path) -> Pixels:
    """Decode a field as :func:`decode_field` does: its pixels alone."""
    return decode_field(path).pixels


def decode_field(path: Path, *, with_masks: bool = False) -> Decoded:
    """Return a field, (H, W, 3); its flags say what was converted.

    Args:
        path: of the file.
        with_masks: whether masks of another tool are laid on it: then it must not be turned.

    Raises:
        UnusableImageError: if it cannot be decoded, is too large, has transparent parts or several
            pictures, is not a stained smear, or is turned.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")  # of a large picture: there is a limit
        read = read_image(path, MOST_PIXELS, MOST_BYTES)
        if with_masks:
            _refuse_turned(path)
    if "alpha" in read.flags:  # on black its clear parts would be dense
        raise UnusableImageError(
            "transparent", "has transparent parts: save it without its alpha channel"
        )
    if "frames" in read.flags:
        raise UnusableImageError("frames", SEVERAL)
    refuse_no_smear(read.pixels)
    return read


def _refuse_turned(path: Path) -> None:
    """Refuse a field that its file turns: nobody knows whether its masks were drawn before that.

    Raises:
        UnusableImageError: if it has an EXIF orientation that turns or mirrors it.
    """
    with Image.open(path) as image:
        if is_turned(image):
            raise UnusableImageError(
                "turned",
                "has an EXIF orientation that turns it, and its masks have none: save it turned, "
                "without its EXIF orientation, and draw its masks on that",
            )


def is_turned(image: Image.Image) -> bool:
    """Return whether an image's EXIF orientation turns or mirrors it."""
    return image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)


def refuse_no_smear(rgb: Pixels) -> None:
    """Refuse a picture that is not a smear with a Romanowsky stain in transmitted light.

    Raises:
        UnusableImageError: saying what it looks like.
    """
    height, width = rgb.shape[:2]
    if min(height, width) < LEAST_SIDE:
        raise UnusableImageError(
            "small", f"has {width} × {height} pixels: a field has at least {LEAST_SIDE} a side"
        )
    factor = min(1.0, 400 / max(height, width))
    small = cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    give = "give a field of a stained smear in transmitted light"
    if small.max(axis=2).mean() < DARK:
        raise UnusableImageError(
            "dark",
            f"is mostly dark, as fluorescence or a cell cut out on black is: {give} (cells on "
            "black are predicted without --fields)",
        )
    glass = glass_colour(small)  # type: ignore[arg-type]
    density = -np.log(np.maximum(small, 1) / glass)
    dense = density.sum(axis=2) > 0.3
    if dense.sum() < 50:
        return  # clear glass: a field without white cells
    colour = (small.max(axis=2).astype(int) - small.min(axis=2))[dense]
    if np.quantile(colour, 0.9) < GREY:
        raise UnusableImageError("grey", f"has no colour, as a scan of a text has: {give}")
    red, green, blue = density[dense].T
    other = np.maximum(red, blue)
    odd = (green < 0.9 * other).mean() > NOT_GREEN[0] or (green < 0.6 * other).mean() > NOT_GREEN[1]
    if odd or dense.mean() > FULL:
        raise UnusableImageError(
            "photograph", f"has other colours than a stained smear, as a photograph has: {give}"
        )


def cells_of_field(
    rgb: Pixels, um_per_pixel: float, segmenter: Segmenter = find_cells
) -> list[FoundCell]:
    """Find the cells of a field of any size, tile by tile, from top to bottom.

    What is computed beside the field itself does not grow with its size. A cell counts in the tile
    that its centre lies in. Two tiles outline a cell on their border a little differently: what
    lies up to ``SEAM`` beyond a tile counts too, unless another tile has the same cell.

    Args:
        rgb: uint8, (H, W, 3).
        um_per_pixel: its scale.
        segmenter: finds the cells of a tile.
    """
    found: list[_OfTile] = []
    for tile, (core, whole) in enumerate(tiles(rgb.shape[:2], um_per_pixel)):
        for cell in segmenter(_cut(rgb, whole), um_per_pixel):
            box = replace(cell.box, x=cell.box.x + whole.x, y=cell.box.y + whole.y)
            cell = replace(cell, box=box)
            depth = _depth(core, *cell.centre)
            if depth * um_per_pixel >= -SEAM:
                found.append(_OfTile(cell, tile, depth))
    return list(in_order_of_rows(_once(found)))


class _OfTile(NamedTuple):
    """A cell, the number of its tile, and how deep in the tile's own part its centre lies."""

    cell: FoundCell
    tile: int
    depth: float


def _depth(core: Box, x: float, y: float) -> float:
    """Return how many pixels a point lies inside a box; less than zero outside."""
    return min(x - core.x, core.x + core.w - x, y - core.y, core.y + core.h - y)


def _once(found: Sequence[_OfTile]) -> list[FoundCell]:
    """Return the cells without those that another tile has deeper inside, in their order."""
    kept: list[int] = []
    for k in sorted(range(len(found)), key=lambda k: -found[k].depth):
        cell, tile, _ = found[k]
        others = (found[j].cell for j in kept if found[j].tile != tile)
        if not any(_is_same(cell, other) for other in others):
            kept.append(k)
    return [found[k].cell for k in sorted(kept)]


def _is_same(one: FoundCell, other: FoundCell) -> bool:
    """Return whether two masks share more than half of the smaller one."""
    a, b = one.box, other.box
    left, right = max(a.x, b.x), min(a.x + a.w, b.x + b.w)
    top, bottom = max(a.y, b.y), min(a.y + a.h, b.y + b.h)
    if left >= right or top >= bottom:
        return False
    mine, its = (
        cell.mask[top - cell.box.y : bottom - cell.box.y, left - cell.box.x : right - cell.box.x]
        for cell in (one, other)
    )
    return 2 * int((mine & its).sum()) > min(int(one.mask.sum()), int(other.mask.sum()))


def _cut(rgb: Pixels, box: Box) -> Pixels:
    return np.ascontiguousarray(rgb[box.y : box.y + box.h, box.x : box.x + box.w])


def tiles(shape: Sequence[int], um_per_pixel: float) -> Iterator[tuple[Box, Box]]:
    """Yield the tiles of a field: each its own part, and that with the margin around it."""
    height, width = shape[0], shape[1]
    side, margin = int(TILE / um_per_pixel), int(MARGIN / um_per_pixel)
    rows, columns = (max(1, round(length / side)) for length in (height, width))
    downs, acrosses = (
        np.linspace(0, length, many + 1).astype(int)
        for length, many in ((height, rows), (width, columns))
    )
    for top, bottom in pairwise(downs):
        for left, right in pairwise(acrosses):
            x, y = max(0, left - margin), max(0, top - margin)
            w, h = min(width, right + margin) - x, min(height, bottom + margin) - y
            core = Box(int(left), int(top), int(right - left), int(bottom - top))
            yield core, Box(int(x), int(y), int(w), int(h))
