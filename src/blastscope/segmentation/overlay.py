"""A picture of a field with its cells outlined and numbered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from blastscope.data.crop import Pixels
from blastscope.io.files import replacing
from blastscope.segmentation.cells import FoundCell

SIDE = 1600
"""The longer side of an overlay, in pixels; a smaller field keeps its size, but for tiny ones."""
LEAST_SIDE = 640
_READABLE = 1000
"""A page shows a picture at most so wide: texts in a larger one are larger, to be read there."""
COLOURS: Mapping[str, tuple[int, int, int]] = {
    "cell": (0, 140, 60), "refused": (90, 90, 90), "all": (213, 40, 0), "hem": (0, 90, 200),
    "refer": (150, 80, 0), "ood": (120, 0, 140),
}  # fmt: skip
"""The colour of each kind of outline, RGB; a letter stands beside each, so that no colour has to be
told from another."""


def overlay(
    rgb: Pixels, cells: Sequence[FoundCell], kinds: Sequence[str], texts: Sequence[str]
) -> Pixels:
    """Draw outlines and texts on a field, which is made smaller if it is large.

    Args:
        rgb: the field, uint8, (H, W, 3).
        cells: its cells.
        kinds: of each, a key of ``COLOURS``; refused ones get a box instead of an outline.
        texts: what stands above each.
    """
    longer = max(rgb.shape[:2])
    factor = min(1.0, SIDE / longer) if longer > LEAST_SIDE else LEAST_SIDE / longer
    size = (round(rgb.shape[1] * factor), round(rgb.shape[0] * factor))
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    drawn = np.ascontiguousarray(cv2.resize(rgb, size, interpolation=way), np.uint8)
    for cell, kind, text in zip(cells, kinds, texts, strict=True):
        colour, box = COLOURS[kind], cell.box
        left, top = round(box.x * factor), round(box.y * factor)
        if kind == "refused":
            right, bottom = round((box.x + box.w) * factor), round((box.y + box.h) * factor)
            cv2.rectangle(drawn, (left, top), (right, bottom), colour, 1, cv2.LINE_AA)
        else:
            outlines, _ = cv2.findContours(
                cell.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
            )
            for line in outlines:
                points = np.round((line + 0.5 + (box.x, box.y)) * factor * 16).astype(np.int32)
                cv2.polylines(drawn, [points], True, colour, 2, cv2.LINE_AA, 4)
        _write(drawn, text, left, top, colour)
    return drawn


def _write(drawn: Pixels, text: str, left: int, top: int, colour: tuple[int, int, int]) -> None:
    size = 0.45 * max(1.0, max(drawn.shape[:2]) / _READABLE)
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    x = min(max(0, left), max(0, drawn.shape[1] - width - 2))
    y = top - 4 if top > height + 6 else min(drawn.shape[0] - 3, top + height + 6)
    cv2.rectangle(drawn, (x, y - height - 2), (x + width + 2, y + 3), (255, 255, 255), -1)
    cv2.putText(drawn, text, (x + 1, y), cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)


def write_overlay(path: Path, picture: Pixels) -> None:
    """Write an overlay as JPEG."""
    with replacing(path) as beside:
        Image.fromarray(picture).save(beside, "JPEG", quality=90)
