"""The outline of a whole white cell around its nucleus, and how sure it is.

Three steps. A closed line around the nucleus is drawn by dynamic programming on rays: it likes
edges, dislikes glass and red cells inside, and bends little. GrabCut (Rother et al. 2004), seeded
by the nucleus and this line, settles each pixel near the line. A second GrabCut sees the colours of
glass and red cells alone and no line; how far the two agree is the quality of the outline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from blastscope.data.crop import Pixels
from blastscope.segmentation.nuclei import UM, Mask, Nucleus, disc, fill_holes
from blastscope.segmentation.optical_density import Floats
from blastscope.segmentation.surroundings import Surroundings

REACH, LEAST_REACH, MOST_REACH = 1.3, 3.0, 7.0
"""How far a cell may reach beyond its nucleus: in radii of the nucleus, and in micrometres."""
RAYS = 72
SMOOTHNESS = 0.6
"""What a step outwards costs from one ray to the next, times its square."""
STEEPEST = 3
"""The most pixels that the line moves outwards or inwards from one ray to the next."""
EDGE, GLASS, RED, OTHER, CYTOPLASM = 8.0, 1.0, 0.3, 3.0, 0.6
"""Worth of an edge; costs, a micrometre, of glass, red cells and other nuclei inside the line; and
the worth of anything else inside."""
INNER, OUTER = 1.0, 0.9
"""GrabCut settles pixels that are nearer to the line than this, in micrometres."""
_WIDTH = 3  # pixels on either side of an edge
_CAP = 1.3
_FAR = 1e3
_COARSE = 0.5  # the second GrabCut sees a picture of half the size: an eighth of the time


@dataclass(frozen=True)
class Outline:
    """A cell's outline in the picture.

    Attributes:
        mask: of the whole cell, (H, W) of the window.
        x, y: of the window's corner in the picture.
        agreement: the intersection of two outlines divided by their union, 0 to 1.
    """

    mask: Mask
    x: int
    y: int
    agreement: float


def draw_outline(rgb: Pixels, around: Surroundings, nucleus: Nucleus, own: Mask) -> Outline:
    """Outline the cell of a nucleus.

    Args:
        rgb: the picture at ``nuclei.UM`` micrometres a pixel, uint8, (H, W, 3).
        around: what lies around its cells.
        nucleus: one of its nuclei.
        own: where the cell may lie: nearer to this nucleus than to any other, (H, W).
    """
    window, reach = _window(nucleus, rgb.shape[:2])
    left, top = window[1].start, window[0].start
    seen = Surroundings(around.density[window], around.glass, around.redness, around.nuclei[window])
    core = nucleus.placed(rgb.shape[:2])[window]
    mine, hull = own[window], _hull(core)
    colours = np.ascontiguousarray(rgb[window])
    line = _line(seen, core, hull, reach) & mine | core
    cell = _settled(colours, core, line) & mine | core
    second = _by_colour(colours, seen, core, hull, reach) & mine | core
    union = int((cell | second).sum())
    return Outline(cell, left, top, float((cell & second).sum() / union))


def _window(nucleus: Nucleus, shape: tuple[int, ...]) -> tuple[tuple[slice, slice], float]:
    """Return the part of the picture in which the cell lies, and how far it may reach, in µm."""
    hull = float(_hull(nucleus.mask).sum())
    reach = float(np.clip(REACH * np.sqrt(hull / np.pi) * UM, LEAST_REACH, MOST_REACH))
    beyond = int(reach / UM) + 4
    height, width = nucleus.mask.shape
    rows = slice(max(0, nucleus.y - beyond), min(shape[0], nucleus.y + height + beyond))
    columns = slice(max(0, nucleus.x - beyond), min(shape[1], nucleus.x + width + beyond))
    return (rows, columns), reach


def _hull(mask: Mask) -> Mask:
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(filled, cv2.convexHull(np.vstack(outlines)), 1)
    return filled.astype(bool)


def solidity(mask: Mask) -> float:
    """Return the area of a mask divided by that of its convex hull."""
    return float(mask.sum() / _hull(mask).sum())


def _line(seen: Surroundings, core: Mask, hull: Mask, reach: float) -> Mask:
    """Draw the cheapest closed line around the nucleus; return what it encloses."""
    rows, columns = np.nonzero(hull)
    x, y = float(columns.mean()), float(rows.mean())
    longest = int(np.hypot(columns - x, rows - y).max() + reach / UM) + 1
    angles = np.arange(RAYS) * (2 * np.pi / RAYS)
    radii = np.arange(longest)
    across = (x + np.cos(angles)[:, None] * radii).astype(np.float32)
    down = (y + np.sin(angles)[:, None] * radii).astype(np.float32)

    def along(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        edge = cv2.BORDER_REPLICATE
        return cv2.remap(values.astype(np.float32), across, down, cv2.INTER_LINEAR, borderMode=edge)

    nucleus = along(hull) > 0.5
    near = along(cv2.dilate(core.astype(np.uint8), disc(0.3))) > 0
    other = along(seen.nuclei & ~hull) > 0.5
    rays = Surroundings(along(seen.density), seen.glass, seen.redness, other)
    cost = _costs(rays, nucleus, near)
    last = np.where(nucleus.any(axis=1), longest - 1 - nucleus[:, ::-1].argmax(axis=1), 0)
    outside = (radii < last[:, None]) | (radii > last[:, None] + reach / UM)
    path = _closed_path(np.where(outside, _FAR, cost))
    corners = np.stack([x + np.cos(angles) * path, y + np.sin(angles) * path], axis=1)
    filled = np.zeros(core.shape, np.uint8)
    cv2.fillPoly(filled, [np.round(corners * 16).astype(np.int32)], 1, shift=4)
    return filled.astype(bool)


def _costs(rays: Surroundings, nucleus: Mask, near: Mask) -> Floats:
    """Return what a line at each radius of each ray costs, (RAYS, radii)."""
    glass, red = rays.is_glass(), rays.is_red()
    inside = np.where(glass, GLASS, np.where(red, RED, -CYTOPLASM))
    inside[nucleus] = 0
    inside[rays.nuclei] = OTHER
    plain = ~glass & ~near & ~nucleus
    # A nucleus is darker than any cytoplasm; its own edge must not be the strongest.
    few = plain.sum() <= 30
    most = np.full(3, rays.glass) if few else _CAP * np.median(rays.density[plain], axis=0)
    capped = np.minimum(rays.density, most)
    sums = np.cumsum(np.pad(capped, ((0, 0), (_WIDTH + 1, _WIDTH), (0, 0)), mode="edge"), axis=1)
    means = (sums[:, _WIDTH:] - sums[:, :-_WIDTH]) / _WIDTH
    length = rays.density.shape[1]
    step = means[:, :length] - means[:, _WIDTH : _WIDTH + length]
    edge = np.linalg.norm(step, axis=2) * np.where(step.sum(axis=2) > 0, 1, 0.6)
    strong = np.quantile(edge[~nucleus], 0.95) + 1e-6 if (~nucleus).any() else 1.0
    return np.cumsum(inside, axis=1) * UM - EDGE * UM * np.minimum(edge / strong, 1.2)  # type: ignore[no-any-return]


def _closed_path(cost: Floats) -> np.ndarray[Any, Any]:
    """Return the radius on each ray of the cheapest closed line (dynamic programming).

    Two turns are computed, and the middle of them is taken, where start and end no longer count.
    """
    rays, length = cost.shape
    steps = np.arange(-STEEPEST, STEEPEST + 1)
    price = (SMOOTHNESS * UM * steps**2)[:, None]
    best, come_from = cost[0].copy(), np.zeros((2 * rays, length), np.int64)
    columns = np.arange(length)
    for k in range(1, 2 * rays):
        padded = np.pad(best, STEEPEST, constant_values=10 * _FAR * rays)
        options = np.lib.stride_tricks.sliding_window_view(padded, length) + price
        chosen = options.argmin(axis=0)
        come_from[k] = columns + chosen - STEEPEST
        best = options[chosen, columns] + cost[k % rays]
    path = np.zeros(2 * rays, np.int64)
    path[-1] = best.argmin()
    for k in range(2 * rays - 1, 0, -1):
        path[k - 1] = come_from[k, path[k]]
    half = rays // 2
    return np.roll(path[half : half + rays], half)


def _settled(colours: Pixels, core: Mask, line: Mask) -> Mask:
    """Let GrabCut settle the pixels near the line."""
    inner = cv2.distanceTransform(line.astype(np.uint8), cv2.DIST_L2, 5) * UM
    outer = cv2.distanceTransform((~line).astype(np.uint8), cv2.DIST_L2, 5) * UM
    guess = np.where(line, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    guess[outer > OUTER] = cv2.GC_BGD
    guess[(inner > INNER) | core] = cv2.GC_FGD
    return _grab_cut(colours, guess, core)


def _by_colour(colours: Pixels, seen: Surroundings, core: Mask, hull: Mask, reach: float) -> Mask:
    """Let GrabCut find the cell by colours alone: neither glass nor like the field's red cells."""
    glass = seen.is_glass()
    guess = np.full(core.shape, cv2.GC_PR_FGD, np.uint8)
    guess[glass | (seen.is_red() & ~hull)] = cv2.GC_PR_BGD
    away = cv2.distanceTransform((~hull).astype(np.uint8), cv2.DIST_L2, 5) * UM
    guess[(away > reach) | (seen.nuclei & ~hull & (away > 0.6))] = cv2.GC_BGD
    guess[core] = cv2.GC_FGD
    size = (max(8, round(core.shape[1] * _COARSE)), max(8, round(core.shape[0] * _COARSE)))
    coarse = cv2.resize(colours, size, interpolation=cv2.INTER_AREA)
    few = cv2.resize(guess, size, interpolation=cv2.INTER_NEAREST)
    small = cv2.resize(core.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
    found = _grab_cut(coarse, few, small, 0.6 * _COARSE)  # type: ignore[arg-type]
    size = (core.shape[1], core.shape[0])
    return cv2.resize(found.astype(np.float32), size) > 0.5


def _grab_cut(colours: Pixels, guess: np.ndarray, core: Mask, opening: float = 0.5) -> Mask:
    """Run GrabCut; return the piece of its foreground that holds the nucleus, without holes.

    Args:
        colours: uint8, (H, W, 3).
        guess: OpenCV's four classes, (H, W).
        core: the nucleus, (H, W).
        opening: the radius, in micrometres of full size, of what is too thin for a cell.
    """
    guess = np.ascontiguousarray(guess)
    if (guess == cv2.GC_BGD).sum() + (guess == cv2.GC_PR_BGD).sum() < 10:
        return np.asarray((guess == cv2.GC_FGD) | (guess == cv2.GC_PR_FGD), bool)
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(colours, guess, None, *models, 2, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    found = ((guess == cv2.GC_FGD) | (guess == cv2.GC_PR_FGD)).astype(np.uint8)
    found = cv2.morphologyEx(found, cv2.MORPH_OPEN, disc(opening)) | core.astype(np.uint8)
    count, labels = cv2.connectedComponents(found, connectivity=4)
    if count <= 2 or not core.any():
        return fill_holes(found > 0)
    held = np.bincount(labels[core], minlength=count)
    held[0] = 0
    return fill_holes(labels == held.argmax()) | core
