"""Hold one cell at its native size: its crop, its regions, and maps laid over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blastscope.data.crop import THRESHOLD, Box, Pixels, prepared, square_crop
from blastscope.data.store import StoreSettings

Mask = NDArray[np.bool_]
Map = NDArray[np.float32]
REGIONS = ("cell", "debris", "background")
CELL, DEBRIS, BACKGROUND = 2, 1, 0


@dataclass(frozen=True)
class CellImage:
    """A cell as its file shows it."""

    # The square around the cell's box, uint8, side × side × 3, RGB, black outside the box.
    crop: Pixels
    box: Box  # of the cell in its file
    whole: Pixels  # the whole image, uint8, RGB
    # The region of each pixel of the whole image: ``CELL``, the largest piece with all that it
    # encloses; ``DEBRIS``, any other piece; or ``BACKGROUND``. uint8.
    regions: Pixels

    @property
    def side(self) -> int:
        """The side of the crop in source pixels: the box's longer one."""
        return len(self.crop)

    @property
    def crop_regions(self) -> Pixels:
        """The regions on the crop."""
        return square_crop(_as_rgb(self.regions), self.box)[:, :, 0]

    def regions_at(self, settings: StoreSettings) -> Pixels:
        """Return the regions as a network sees the cell: size × size, uint8.

        A pixel that holds several regions counts as the largest of them.
        """
        cell, debris = (self._share(region, settings) for region in (CELL, DEBRIS))
        shares = {BACKGROUND: 255 - cell - debris, DEBRIS: debris, CELL: cell}
        return np.asarray(np.argmax([shares[k] for k in sorted(shares)], axis=0), np.uint8)

    def _share(self, region: int, settings: StoreSettings) -> NDArray[np.int16]:
        """Return the share of each pixel that belongs to a region, times 255."""
        mask = _as_rgb(np.where(self.regions == region, np.uint8(255), np.uint8(0)))
        laid = prepared(mask, self.box, settings.size, settings.scale, False)
        return laid[:, :, 0].astype(np.int16)

    def on_crop(self, seen: Map, settings: StoreSettings) -> Map:
        """Lay a map, h × w over the whole of a network's image, over the crop.

        The result is float32, side × side; zero outside the network's field.
        """
        if settings.scale == "crop":
            return _resize(seen, self.side)
        field = _resize(seen, settings.field)
        top = self.box.y - (self.side - self.box.h) // 2
        left = self.box.x - (self.side - self.box.w) // 2
        down = top - (self.box.y + self.box.h // 2 - settings.field // 2)
        right = left - (self.box.x + self.box.w // 2 - settings.field // 2)
        laid = np.zeros((self.side, self.side), np.float32)
        y0, x0 = max(0, -down), max(0, -right)
        y1, x1 = min(self.side, settings.field - down), min(self.side, settings.field - right)
        laid[y0:y1, x0:x1] = field[y0 + down : y1 + down, x0 + right : x1 + right]
        return laid


def moved(laid: Map, own: CellImage, shown: CellImage) -> Map:
    """Move a map from one crop to another crop of the same image, cut by another contour.

    ``laid`` is the map over the crop of ``own``, side × side. The result is float32, of the shown
    crop's side × side; zero outside the own crop.
    """
    if own.box == shown.box:
        return laid
    (y, x), (to_y, to_x) = _corner(own), _corner(shown)
    moved = np.zeros((shown.side, shown.side), np.float32)
    top, left = max(y, to_y), max(x, to_x)
    bottom = min(y + own.side, to_y + shown.side)
    right = min(x + own.side, to_x + shown.side)
    if bottom > top and right > left:
        moved[top - to_y : bottom - to_y, left - to_x : right - to_x] = laid[
            top - y : bottom - y, left - x : right - x
        ]
    return moved


def _corner(picture: CellImage) -> tuple[int, int]:
    """Return the position (row, column) of the crop's first pixel in the image."""
    box, side = picture.box, picture.side
    return box.y - (side - box.h) // 2, box.x - (side - box.w) // 2


def make_picture(whole: Pixels, box: Box) -> CellImage:
    """Cut a cell's crop out of its image (uint8, height × width × 3, RGB), and find its regions."""
    return CellImage(square_crop(whole, box), box, whole, _regions(whole))


def _regions(whole: Pixels) -> Pixels:
    grey = cv2.cvtColor(whole, cv2.COLOR_RGB2GRAY)
    _, mask = cv2.threshold(grey, THRESHOLD, 1, cv2.THRESH_BINARY)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    regions = np.zeros(mask.shape, np.uint8)
    cv2.drawContours(regions, outlines, -1, DEBRIS, cv2.FILLED)
    if outlines:
        cv2.drawContours(regions, [max(outlines, key=cv2.contourArea)], -1, CELL, cv2.FILLED)
    return regions


def _as_rgb(plane: Pixels) -> Pixels:
    return np.repeat(plane[:, :, None], 3, axis=2)


def _resize(plane: Map, side: int) -> Map:
    if plane.shape == (side, side):
        return plane
    how = cv2.INTER_AREA if len(plane) > side else cv2.INTER_LINEAR
    resized: Any = cv2.resize(plane.astype(np.float32), (side, side), interpolation=how)
    return np.asarray(resized, np.float32)
