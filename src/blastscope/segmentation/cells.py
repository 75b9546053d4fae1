"""From an image and its scale to boxes, masks and quality: the protocol, and the classical method.

Whoever has another method writes a function of the same form, or gives its masks as files
(``mask_files``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import cv2
import numpy as np

from blastscope.data.crop import Box, Pixels
from blastscope.segmentation.nuclei import UM, Mask, Nucleus, find_nuclei, refined
from blastscope.segmentation.optical_density import Floats, glass_colour, optical_density
from blastscope.segmentation.outline import draw_outline, solidity
from blastscope.segmentation.surroundings import Surroundings, measure_surroundings

REFUSED, UNSURE = 0.65, 0.85
"""Quality below which a cell is refused, and below which it is flagged as ``unsure-outline``."""
MOST_RATIO = 6.0
"""The most that a cell's area may be, divided by its nucleus's."""
LEAST_SOLIDITY = 0.8
"""The least area of a cell, divided by that of its convex hull."""
MOST_CUT = 0.08
"""The most of a cell's outline that may lie on the field's edge."""

RIM = 0.3
"""How wide, in micrometres, the rim is that may be glass."""
BAY = 0.25
"""Deeper in, what has less than this share of the density beside the rim is glass."""

NO_OUTLINE = "unsure-outline"
"""The flag of a cell whose two outlines differ."""
TOUCHING = "touching"
"""The flag of a cell that was separated from another."""
EDGE = "field-edge"
"""The flag of a cell that lies at the field's edge."""
CUT = "is cut by the field's edge"
"""Why a cell is refused of whose outline more than ``MOST_CUT`` lies on the edge."""


@dataclass(frozen=True)
class FoundCell:
    """A white cell of a field.

    Attributes:
        box: in pixels of the field.
        mask: of the whole cell, (box.h, box.w).
        quality: how far two outlines agree, 0 to 1; None if that is not known.
        flags: what is odd about it.
        refused: why it cannot be used, as a phrase; None if it can.
        nucleus: of the nucleus, (box.h, box.w); None if it was not looked for.
    """

    box: Box
    mask: Mask
    quality: float | None = None
    flags: tuple[str, ...] = ()
    refused: str | None = None
    nucleus: Mask | None = field(default=None, repr=False)

    @property
    def centre(self) -> tuple[float, float]:
        """The centre of its box, x and y."""
        return self.box.x + self.box.w / 2, self.box.y + self.box.h / 2


class Segmenter(Protocol):
    """A way to find cells: the image, uint8, (H, W, 3), and micrometres a pixel, give the cells."""

    def __call__(self, rgb: Pixels, um_per_pixel: float) -> Sequence[FoundCell]:
        """Find the white cells of an image."""
        ...


def find_cells(rgb: Pixels, um_per_pixel: float) -> list[FoundCell]:
    """Find and outline the white cells of an image by optical density and GrabCut.

    Args:
        rgb: uint8, (H, W, 3), a whole field or a tile of it.
        um_per_pixel: its scale.
    """
    factor = um_per_pixel / UM
    height, width = rgb.shape[:2]
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    small = np.ascontiguousarray(cv2.resize(rgb, size, interpolation=way), np.uint8)
    density = optical_density(small)
    nuclei = find_nuclei(density)
    if not nuclei:
        return []
    around = measure_surroundings(density, nuclei)
    owners = _owners(nuclei, small.shape[:2])
    glass = glass_colour(rgb[::3, ::3])
    found = []
    for k, nucleus in enumerate(nuclei):
        cell = _cell(small, around, nucleus, owners == k + 1)
        cell = _enlarged(cell, (height, width), (size[1], size[0]))
        found.append(_trimmed(cell, rgb, glass, um_per_pixel))
    return found


def _trimmed(cell: FoundCell, rgb: Pixels, glass: Floats, um_per_pixel: float) -> FoundCell:
    """Take away the rim that is nearer to glass than to the cell.

    The outline comes from a smaller picture. Left on, a rim of a pixel of bright glass moved the
    probabilities of C-NMC cells by .05 (median).
    """
    box = cell.box
    colours = rgb[box.y : box.y + box.h, box.x : box.x + box.w]
    total = np.log(glass / np.maximum(colours, 1)).sum(axis=2)
    whole = np.pad(cell.mask.astype(np.uint8), 1, mode="edge")  # the field's edge is not a rim
    for axis, before, after in (
        (0, box.y > 0, box.y + box.h < rgb.shape[0]),
        (1, box.x > 0, box.x + box.w < rgb.shape[1]),
    ):
        side = np.moveaxis(whole, axis, 0)
        side[0] *= not before
        side[-1] *= not after
    depth = cv2.distanceTransform(whole, cv2.DIST_L2, 5)[1:-1, 1:-1] * um_per_pixel
    inner = total[(depth > RIM) & (depth <= 2 * RIM)]
    if inner.size < 20:
        return cell
    level = float(np.median(inner))
    rim = (depth <= RIM) & (total < level / 2)
    kept = _largest(cell.mask & ~rim & ~_bays(cell.mask, total < level * BAY, depth <= RIM))
    x, y, w, h = cv2.boundingRect(kept.astype(np.uint8))
    cut = np.s_[y : y + h, x : x + w]
    nucleus = None if cell.nucleus is None else (cell.nucleus & kept)[cut]
    return replace(cell, box=Box(box.x + x, box.y + y, w, h), mask=kept[cut], nucleus=nucleus)


def _bays(mask: Mask, clear: Mask, rim: Mask) -> Mask:
    """Return the glass inside an outline that lies open to the rim, as between two lobes.

    Clear spots in the middle of a cell are vacuoles and belong to it.
    """
    inside = cv2.medianBlur((mask & clear).astype(np.uint8), 3)
    count, labels = cv2.connectedComponents(inside)
    open_to_rim = np.zeros(count, bool)
    open_to_rim[np.unique(labels[rim & (labels > 0)])] = True
    found: Mask = open_to_rim[labels] & mask
    return found


def _largest(mask: Mask) -> Mask:
    """Return the largest piece of a mask."""
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return mask if count < 3 else labels == 1 + int(boxes[1:, 4].argmax())


def _owners(nuclei: Sequence[Nucleus], shape: tuple[int, ...]) -> np.ndarray:
    """Label each pixel by its nearest nucleus, (H, W)."""
    free = np.ones(shape, np.uint8)
    labels = np.zeros(shape, np.int32)
    for k, one in enumerate(nuclei):
        height, width = one.mask.shape
        place = np.s_[one.y : one.y + height, one.x : one.x + width]
        free[place][one.mask] = 0
        labels[place][one.mask] = k + 1
    if len(nuclei) == 1:
        return np.ones(shape, np.int32)
    _, nearest = cv2.distanceTransformWithLabels(
        free, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.zeros(int(nearest.max()) + 1, np.int32)
    inside = free == 0
    table[nearest[inside]] = labels[inside]
    return table[nearest]  # type: ignore[no-any-return]


def _cell(rgb: Pixels, around: Surroundings, nucleus: Nucleus, own: Mask) -> FoundCell:
    """Outline one cell and judge it; its box is in pixels of the small picture."""
    outline = draw_outline(rgb, around, nucleus, own)
    x, y, w, h = cv2.boundingRect(outline.mask.astype(np.uint8))
    mask = outline.mask[y : y + h, x : x + w]
    box = Box(x + outline.x, y + outline.y, w, h)
    inside = np.s_[box.y : box.y + h, box.x : box.x + w]
    core = refined(around.density[inside], nucleus.placed(rgb.shape[:2])[inside], mask)
    flags = (TOUCHING,) * nucleus.separated
    cut = cut_share(mask, box, rgb.shape[:2])
    if cut:
        flags += (EDGE,)
    refused = None
    if cut > MOST_CUT:
        refused = CUT
    elif mask.sum() > MOST_RATIO * core.sum() or solidity(mask) < LEAST_SOLIDITY:
        refused = "has an outline that is not a cell's"
    elif outline.agreement < REFUSED:
        refused = f"cannot be outlined surely (two outlines agree by {outline.agreement:.2f})"
    if outline.agreement < UNSURE:
        flags += (NO_OUTLINE,)
    return FoundCell(box, mask, outline.agreement, flags, refused, core)


def cut_share(mask: Mask, box: Box, shape: tuple[int, ...]) -> float:
    """Return the share of a cell's outline that lies on the picture's edge."""
    on_edge = 0
    on_edge += int(mask[0].sum()) * (box.y == 0)
    on_edge += int(mask[-1].sum()) * (box.y + box.h == shape[0])
    on_edge += int(mask[:, 0].sum()) * (box.x == 0)
    on_edge += int(mask[:, -1].sum()) * (box.x + box.w == shape[1])
    if not on_edge:
        return 0.0
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return on_edge / max(1.0, cv2.arcLength(max(outlines, key=len), True))


def _enlarged(cell: FoundCell, shape: tuple[int, int], small: tuple[int, int]) -> FoundCell:
    """Return a cell of the small picture in pixels of the field."""
    down, across = shape[0] / small[0], shape[1] / small[1]
    top, left = int(cell.box.y * down), int(cell.box.x * across)
    bottom = min(shape[0], int(np.ceil((cell.box.y + cell.box.h) * down)))
    right = min(shape[1], int(np.ceil((cell.box.x + cell.box.w) * across)))
    columns = (np.arange(left, right) + 0.5) / across - 0.5 - cell.box.x
    rows = (np.arange(top, bottom) + 0.5) / down - 0.5 - cell.box.y
    at_x = np.repeat(columns[None].astype(np.float32), len(rows), 0)
    at_y = np.repeat(rows[:, None].astype(np.float32), len(columns), 1)

    def larger(mask: Mask) -> Mask:
        # Beyond the field's edge a cell goes on; elsewhere a mask ends at its box.
        padded = np.pad(mask.astype(np.float32), 1)
        for axis, before, after in (
            (0, cell.box.y == 0, cell.box.y + cell.box.h == small[0]),
            (1, cell.box.x == 0, cell.box.x + cell.box.w == small[1]),
        ):
            side = np.moveaxis(padded, axis, 0)
            if before:
                side[0] = side[1]
            if after:
                side[-1] = side[-2]
        found = cv2.remap(padded, at_x + 1, at_y + 1, cv2.INTER_LINEAR)
        return found > 0.5

    mask = larger(cell.mask)
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    cut = np.s_[y : y + h, x : x + w]
    nucleus = None if cell.nucleus is None else larger(cell.nucleus)[cut]
    box = Box(left + x, top + y, w, h)
    return FoundCell(box, mask[cut], cell.quality, cell.flags, cell.refused, nucleus)


def in_order_of_rows(cells: Sequence[FoundCell]) -> Iterator[FoundCell]:
    """Yield cells from top to bottom."""
    yield from sorted(cells, key=lambda cell: (cell.box.y, cell.box.x))
