"""The figures of one cell: its heat by model, its evidence by class, the maps of a layer.

Pictures are made of pixels beforehand and placed by hand: a figure of four models is drawn in a
fraction of a second, which a general layout is not.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from math import ceil
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from blastscope.data.crop import Pixels
from blastscope.explanation.activations import LayerMaps
from blastscope.explanation.attribution import METHODS
from blastscope.explanation.result import CellExplained, CropAttribution
from blastscope.report.explanation_overlay import columns_of, overlay, panels, scale_bar, softened
from blastscope.report.style import COLOURS, QUIET, STYLE, styled
from blastscope.report.text import LABELS

DPI = 150
A_ROW = 16
"""Feature maps in a row, as in the paper's figures 36 to 39."""
MOST_MAPS = 512
TILE, GAP = 64, 4
_PANEL, _SMALL, _SPACE = 380, 170, 14


def png(figure: Figure) -> bytes:
    """Return a figure's PNG at 150 dpi, the same bytes every time."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # A name in letters that the font lacks is drawn as boxes; the page's text has it right.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(buffer, dpi=DPI, format="png", metadata={"Software": None})
    return buffer.getvalue()


@styled
def heat_panel(cell: CellExplained) -> Figure:
    """Evidence over the cell, a panel a model, the ensemble's last (paper, figure 40)."""
    names = [(model.name, model.p_all, model.called) for model in cell.models]
    if cell.ensemble is not None:
        names.append((cell.ensemble.name, cell.ensemble.p_all, cell.ensemble.called))
    columns = columns_of(len(names))
    step, high = _PANEL + _SPACE, _PANEL + 64
    top, below = 44, 62
    sheet = _Sheet(
        max(columns * step + _SPACE, 560), top + ceil(len(names) / columns) * high + below
    )
    truth = "" if cell.file.label is None else f" · truly {LABELS[cell.file.label]}"
    sheet.text(_SPACE, 28, f"{_short(cell.file.cell, 26)}{truth} · {METHODS[cell.methods[0]]}", 9)
    for k, (panel, (name, p_all, called)) in enumerate(zip(panels(cell), names, strict=True)):
        row, column = divmod(k, columns)
        x, y = _SPACE + column * step, top + row * high
        sheet.text(x, y + 24, _short(name, 29), 9, weight="bold")
        sheet.text(x, y + 48, _verdict(cell, p_all, called), 9)
        sheet.picture(x, y + 56, _PANEL, _PANEL, panel, COLOURS[called])
    _draw_scale(sheet, "model")
    return sheet.figure


@styled
def class_panel(cell: CellExplained) -> Figure:
    """What each network sees, and its evidence for ALL and for normal, by method."""
    step, high, top, below = _SMALL + 8, _SMALL + 36, 66, 62
    columns = 1 + 2 * len(cell.methods)
    width = max(_SPACE + columns * step + _SPACE, 640)
    sheet = _Sheet(width, top + high * len(cell.models) + below)
    base = softened(cell.picture)
    for m, method in enumerate(cell.methods):
        x = _SPACE + (1 + 2 * m) * step
        sheet.text(x, 26, METHODS[method], 9, weight="bold")
        for k, label in enumerate(("all", "hem")):
            sheet.text(x + k * step, 50, f"for {LABELS[label]}", 8, color=COLOURS[label])
    sheet.text(_SPACE, 50, "what it sees", 8)
    for row, model in enumerate(cell.models):
        y = top + row * high
        title = f"{_short(model.name, 30)}: {_verdict(cell, model.p_all, model.called)}"
        sheet.text(_SPACE, y + 20, title, 8)
        sheet.picture(_SPACE, y + 28, _SMALL, _SMALL, model.seen)
        for m, method in enumerate(cell.methods):
            for k, shown in enumerate(_both(base, model.evidence[method])):
                x = _SPACE + (1 + 2 * m + k) * step
                sheet.picture(x, y + 28, _SMALL, _SMALL, shown)
    _draw_scale(sheet, "model and method")
    return sheet.figure


def _both(base: Pixels, found: CropAttribution) -> tuple[Pixels, Pixels]:
    """Draw both classes' evidence on one scale, so that they can be compared."""
    most = float(max(found.for_all.max(initial=0), found.for_normal.max(initial=0)))
    return overlay(base, found.for_all, most), overlay(base, -found.for_normal, most)


@styled
def map_grid(found: LayerMaps, model: str) -> Figure:
    """The feature maps of one cell in a layer, 16 a row, dead ones crossed out.

    Args:
        found: the maps of one image; more than ``MOST_MAPS`` are cut off.
        model: the network's name.
    """
    maps, dead = found.maps[0][:MOST_MAPS], found.dead[0]
    grid = tiled(maps, dead)
    channels, height, width = found.layer.shape
    cut = f", the first {MOST_MAPS} shown" if channels > MOST_MAPS else ""
    say = f"{channels:,} maps of {height} × {width}{cut}; {dead.sum():,} dead"
    sheet = _Sheet(max(grid.shape[1] + 2 * GAP, 700), grid.shape[0] + 60 + GAP)
    title = f"{_short(model, 34)}: {_short(found.layer.title, 60)}"
    sheet.text(GAP, 24, title, 9, weight="bold")
    sheet.text(GAP, 48, f"{say}; each scaled on its own", 8, color=QUIET)
    sheet.picture(GAP, 58, grid.shape[1], grid.shape[0], grid)
    return sheet.figure


def tiled(maps: NDArray[np.float32], dead: Sequence[bool] | NDArray[np.bool_]) -> Pixels:
    """Lay maps (C, h, w) side by side, 16 a row, each from its own least to its own largest."""
    columns = min(A_ROW, len(maps))
    rows = ceil(len(maps) / A_ROW)
    pitch = TILE + GAP
    grid = np.full((rows * pitch - GAP, columns * pitch - GAP, 3), 255, np.uint8)
    for k, one in enumerate(maps):
        y, x = (pitch * place for place in divmod(k, A_ROW))
        grid[y : y + TILE, x : x + TILE] = _crossed() if dead[k] else _tile(one)
    return grid


def _tile(one: NDArray[np.float32]) -> Pixels:
    how = cv2.INTER_AREA if len(one) > TILE else cv2.INTER_NEAREST
    sized: Any = cv2.resize(one, (TILE, TILE), interpolation=how)
    spread = np.ptp(sized)
    shares = (sized - sized.min()) / (spread if spread > 0 else 1)
    return np.asarray(mpl.colormaps["viridis"](shares)[:, :, :3] * 255 + 0.5, np.uint8)


def _crossed() -> Pixels:
    tile = np.full((TILE, TILE, 3), 235, np.uint8)
    for start, end in (((8, 8), (TILE - 9, TILE - 9)), ((8, TILE - 9), (TILE - 9, 8))):
        cv2.line(tile, start, end, (102, 112, 128), 2, cv2.LINE_AA)
    return tile


class _Sheet:
    """A figure whose places are pixels from the upper left."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / DPI, height / DPI))

    def text(self, x: float, y: float, text: str, size: float, **look: Any) -> None:
        """Write ``text``, its line at ``y``."""
        self.figure.text(x / self.width, 1 - y / self.height, text, fontsize=size, **look)

    def picture(
        self, x: int, y: int, width: int, height: int, pixels: Pixels, frame: str | None = None
    ) -> None:
        """Show ``pixels`` at width × height, framed in a colour."""
        place = (x / self.width, 1 - (y + height) / self.height)
        axes = self.figure.add_axes((*place, width / self.width, height / self.height))
        axes.imshow(pixels, aspect="auto")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(visible=frame is not None, color=frame, linewidth=1.6)


def _draw_scale(sheet: _Sheet, each: str) -> None:
    y = sheet.height - 46
    sheet.text(_SPACE, y + 15, "evidence for normal", 8, color=COLOURS["hem"])
    sheet.picture(_SPACE + 180, y, 150, 18, scale_bar(150, 18))
    sheet.text(_SPACE + 342, y + 15, "for ALL", 8, color=COLOURS["all"])
    say = f"Each {each} on a scale of its own. Line: the cell's outline."
    sheet.text(_SPACE, y + 38, say, 7.5, color=QUIET)


def _verdict(cell: CellExplained, p_all: float, called: str) -> str:
    right = cell.right(called)
    judged = {None: "", True: ", right", False: ", wrong"}[right]
    return f"p(ALL) {p_all:.3f}: called {LABELS[called]}{judged}"


def _short(name: str, most: int) -> str:
    """Cut the middle out of a long name; a control character cannot be drawn."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in name)
    half = (most - 1) // 2
    return plain if len(plain) <= most else f"{plain[:half]}…{plain[-half:]}"
