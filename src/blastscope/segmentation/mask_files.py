"""Masks as files: label images and GeoJSON, written for QuPath, and read from other tools.

Cellpose, StarDist and InstanSeg write label images (PNG or TIFF, one number for each cell);
QuPath writes GeoJSON. Both may be given instead of the classical method.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from blastscope.data.crop import Box
from blastscope.errors import BlastscopeError
from blastscope.io.files import replacing, write_text
from blastscope.process import quiet_tiff
from blastscope.segmentation.cells import (
    CUT,
    EDGE,
    MOST_CUT,
    FoundCell,
    cut_share,
    in_order_of_rows,
)
from blastscope.segmentation.fields import MOST_PIXELS, is_turned

LABEL_SUFFIXES = (".png", ".tif", ".tiff")
GEOJSON = (".geojson", ".json")
_NAMES = ("", "_cp_masks", "_masks", "_mask", "_labels", "_label", "-labels", "-mask")
"""What other tools put behind a field's name."""
MOST_JSON = 256 * 2**20
MOST_CELLS = 65_535
"""The most cells of one field: the numbers of a 16-bit label image."""
_COLOURS = {"refused": [200, 0, 0], "white cell": [0, 150, 0]}
_WHITE = 255
"""The only number above zero of a black-and-white mask."""
LEAST_AREA = 20
"""Pixels of the smallest mask that is taken for a cell; Cellpose leaves specks."""


def write_labels(path: Path, shape: Sequence[int], cells: Sequence[FoundCell]) -> None:
    """Write a 16-bit TIFF in which each cell's pixels hold its number, from 1."""
    if len(cells) > MOST_CELLS:
        raise BlastscopeError(f"{path} cannot hold {len(cells):,} cells: cut the field in parts.")
    labels = np.zeros((shape[0], shape[1]), np.uint16)
    for number, cell in enumerate(cells, 1):
        box = cell.box
        labels[box.y : box.y + box.h, box.x : box.x + box.w][cell.mask] = number
    with replacing(path) as beside:
        Image.fromarray(labels).save(beside, "TIFF", compression="tiff_deflate")


def write_geojson(path: Path, cells: Sequence[FoundCell], names: Sequence[str]) -> None:
    """Write outlines as GeoJSON that QuPath opens: a feature a cell, in pixels of the field."""
    features = []
    for cell, name in zip(cells, names, strict=True):
        rings = _rings(cell)
        if not rings:
            continue
        kind = "refused" if cell.refused else "white cell"
        measurements = {} if cell.quality is None else {"quality": round(cell.quality, 4)}
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": rings},
                "properties": {
                    "objectType": "annotation",
                    "name": name,
                    "classification": {"name": kind, "color": _COLOURS[kind]},
                    "measurements": measurements,
                },
            }
        )
    write_text(path, json.dumps({"type": "FeatureCollection", "features": features}))


def _rings(cell: FoundCell) -> list[list[list[int]]]:
    """Return the outer outline of a cell, closed, along the edges of its pixels."""
    larger = np.kron(np.pad(cell.mask.astype(np.uint8), 1), np.ones((2, 2), np.uint8))
    outlines, _ = cv2.findContours(
        larger.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    if not outlines:
        return []
    points = max(outlines, key=cv2.contourArea)[:, 0]
    # Of the two halves of a pixel, the first ends at its left edge, the second at its right one.
    corners = (points + 1) // 2 - 1 + np.array([cell.box.x, cell.box.y])
    moved = np.any(corners != np.roll(corners, 1, axis=0), axis=1)
    ring = corners[moved].tolist()
    return [[*ring, ring[0]]] if len(ring) > 3 else []


def find_mask_file(folder: Path, field: Path) -> Path:
    """Find the masks of a field in a folder: a file of the same name, perhaps with ``_cp_masks``.

    Raises:
        BlastscopeError: if there is none, or several.
    """
    found = [
        folder / f"{name}{end}{suffix}"
        for name in (field.stem, field.name)
        for end in _NAMES
        for suffix in (*LABEL_SUFFIXES, *GEOJSON)
        if (folder / f"{name}{end}{suffix}").is_file()
    ]
    found = [one for one in found if one.resolve() != field.resolve()]
    if len(found) != 1:
        many = f"{len(found)} files" if found else "no file"
        raise BlastscopeError(
            f"{folder} has {many} of masks for {field.name}: give one label image (.png, .tif) or "
            f"one .geojson called {field.stem}."
        )
    return found[0]


def read_own_labels(path: Path, shape: Sequence[int], count: int) -> list[FoundCell]:
    """Read ``count`` cells that ``write_labels`` wrote, in the order of their numbers.

    Raises:
        BlastscopeError: if the file is another one.
    """
    cells = _cells_of(_read_labels(path, shape), shape)
    if len(cells) != count:
        raise BlastscopeError(f"{path} has {len(cells):,} cells, not {count:,}: segment again.")
    return cells


def read_masks(path: Path, shape: Sequence[int]) -> list[FoundCell]:
    """Read the cells of a field, of (height, width), from a label image or GeoJSON.

    Raises:
        BlastscopeError: if the file is of another size or kind, or has too many cells.
    """
    if path.suffix.lower() in GEOJSON:
        cells = _from_geojson(path, shape)
    else:
        cells = _from_labels(path, shape)
    if len(cells) > MOST_CELLS:
        raise BlastscopeError(f"{path} has {len(cells):,} cells: {MOST_CELLS:,} are the most.")
    return list(in_order_of_rows(cells))


def _from_labels(path: Path, shape: Sequence[int]) -> list[FoundCell]:
    labels = _read_labels(path, shape)
    if len(np.unique(labels[labels > 0])) == 1:
        _, pieces, boxes, _ = cv2.connectedComponentsWithStats((labels > 0).astype(np.uint8))
        cells = np.flatnonzero(boxes[1:, cv2.CC_STAT_AREA] >= LEAST_AREA) + 1
        if labels.max() == _WHITE or len(cells) > 1:
            raise BlastscopeError(
                f"{path} is black and white, so that cells which touch would be one: give each "
                "cell a number of its own."
            )
        labels = np.isin(pieces, cells).astype(np.int64)
    return [cell for cell in _cells_of(labels, shape) if cell.mask.sum() >= LEAST_AREA]


def _read_labels(path: Path, shape: Sequence[int]) -> np.ndarray:
    """Read a label image, int64, (H, W)."""
    try:
        with quiet_tiff(), Image.open(path, formats=("PNG", "TIFF")) as image:
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise BlastscopeError(
                    f"{path} has more than {MOST_PIXELS / 1e6:.0f} megapixels: cut the field."
                )
            pages, turned = getattr(image, "n_frames", 1), is_turned(image)
            labels = np.array(image)
    except BlastscopeError:
        raise
    except Exception as error:  # a decoder may raise anything on damaged data
        raise BlastscopeError(f"{path} is not a label image ({error}): give PNG or TIFF.") from None
    if pages > 1:
        raise BlastscopeError(
            f"{path} has {pages:,} pages: save the labels of the whole cells as a file of their "
            "own."
        )
    if turned:
        raise BlastscopeError(
            f"{path} has an EXIF orientation that turns it: save it turned, without its EXIF "
            "orientation."
        )
    if labels.ndim != 2 or labels.dtype.kind not in "iub":
        raise BlastscopeError(
            f"{path} is not a label image: give one grey image in which each cell has a number."
        )
    if labels.shape != tuple(shape[:2]):
        raise BlastscopeError(
            f"{path} has {width} × {height} pixels, and its field {shape[1]} × {shape[0]}: give "
            "masks of the field itself."
        )
    return labels.astype(np.int64) * (_WHITE if labels.dtype.kind == "b" else 1)


def _cells_of(labels: np.ndarray, shape: Sequence[int]) -> list[FoundCell]:
    """Return a cell for each number above zero, in their order."""
    from scipy.ndimage import find_objects

    numbers, compact = np.unique(labels, return_inverse=True)
    compact = compact.reshape(labels.shape) + int(numbers[0] > 0)
    found = []
    for number, place in enumerate(find_objects(compact), 1):
        if place is not None:
            mask = compact[place] == number
            rows, columns = place
            found.append(_checked(Box(columns.start, rows.start, *mask.shape[::-1]), mask, shape))
    return found


def _checked(box: Box, mask: np.ndarray, shape: Sequence[int]) -> FoundCell:
    """Flag a cell of another tool that lies at the edge, and refuse one that the edge cuts."""
    cut = cut_share(mask, box, (shape[0], shape[1]))
    return FoundCell(box, mask, None, (EDGE,) * (cut > 0), CUT if cut > MOST_CUT else None)


def _from_geojson(path: Path, shape: Sequence[int]) -> list[FoundCell]:
    try:
        if path.stat().st_size > MOST_JSON:
            raise BlastscopeError(f"{path} is larger than {MOST_JSON} bytes: cut the field.")
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BlastscopeError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise BlastscopeError(f"{path} is not GeoJSON ({error}): export it again.") from None
    features = content.get("features") if isinstance(content, dict) else content
    if not isinstance(features, list):
        raise BlastscopeError(f"{path} is not GeoJSON: it has no list of features.")
    found = []
    for feature in features:
        for rings in _polygons(feature, path):
            cell = _filled(rings, shape, path)
            if cell is not None:
                found.append(cell)
    _refuse_doubled(found, shape, path)
    return found


def _polygons(feature: Any, path: Path) -> list[Any]:
    geometry = feature.get("geometry") if isinstance(feature, dict) else None
    if not isinstance(geometry, dict):
        geometry = {}
    kind = geometry.get("type")
    if kind == "Polygon":
        return [geometry.get("coordinates")]
    if kind == "MultiPolygon":  # one cell in pieces: the largest is the cell
        try:
            return [max(geometry["coordinates"], key=_area)]
        except (KeyError, TypeError, IndexError, ValueError):
            pass
    raise BlastscopeError(f"{path} has a feature that is not a polygon: export cells as polygons.")


def _area(rings: Any) -> float:
    """Return the area inside the outer ring of a polygon (Gauss's formula), in square pixels."""
    x, y = np.asarray(rings[0], float)[:, :2].T
    return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2


def _refuse_doubled(cells: Sequence[FoundCell], shape: Sequence[int], path: Path) -> None:
    """Refuse masks of which one lies for the most part under others: a cell would count twice.

    Raises:
        BlastscopeError: if there is one.
    """
    times = np.zeros((shape[0], shape[1]), np.uint16)
    for cell in cells:
        _inside(times, cell)[cell.mask] += 1
    doubled = [c for c in cells if 2 * int((_inside(times, c)[c.mask] > 1).sum()) > c.mask.sum()]
    if doubled:
        box = doubled[0].box
        raise BlastscopeError(
            f"{path} has a mask that lies mostly under another (at x {box.x}, y {box.y}; "
            f"{len(doubled):,} such masks in all): give one mask for each cell."
        )


def _inside(picture: np.ndarray, cell: FoundCell) -> np.ndarray:
    """Return the part of a picture that a cell's box holds."""
    box = cell.box
    return picture[box.y : box.y + box.h, box.x : box.x + box.w]


def _filled(rings: Any, shape: Sequence[int], path: Path) -> FoundCell | None:
    """Fill a polygon, (H, W) of its box; None for a speck."""
    try:
        corners = [np.asarray(ring, float)[:, :2] for ring in rings]
    except (ValueError, TypeError, IndexError):
        raise BlastscopeError(f"{path} has a polygon without coordinates: export again.") from None
    if not corners or not all(np.isfinite(ring).all() and len(ring) > 2 for ring in corners):
        raise BlastscopeError(f"{path} has a polygon with fewer than three corners: export again.")
    low, high = corners[0].min(axis=0), corners[0].max(axis=0)
    if low.min() < -1 or high[0] > shape[1] + 1 or high[1] > shape[0] + 1:
        raise BlastscopeError(
            f"{path} has a cell outside its field of {shape[1]} × {shape[0]} pixels: export it in "
            "pixels of the field."
        )
    left, top = (max(0, math.floor(value)) for value in low)
    right, bottom = min(shape[1], math.ceil(high[0])), min(shape[0], math.ceil(high[1]))
    from matplotlib.path import Path as Polygon

    # A pixel belongs to the cell if its middle does; cv2.fillPoly takes what the line touches.
    height, width = max(1, bottom - top), max(1, right - left)
    rows, columns = np.mgrid[:height, :width]
    middles = np.stack([columns.ravel() + left + 0.5, rows.ravel() + top + 0.5], axis=1)
    mask = np.zeros((height, width), np.uint8)
    for k, ring in enumerate(corners):
        mask[Polygon(ring).contains_points(middles).reshape(height, width)] = int(k == 0)
    x, y, w, h = cv2.boundingRect(mask)
    if mask.sum() < LEAST_AREA:
        return None
    return _checked(Box(left + x, top + y, w, h), mask[y : y + h, x : x + w] > 0, shape)
