"""Plot the explanation of one cell: heatmaps by model and by class, and feature maps of a layer.

Images are made of pixels beforehand and placed by position: a plot of four models then takes a
fraction of a second, and a general layout takes much longer.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from blastscope.data.crop import Pixels, resize
from blastscope.explanation.cell_image import BACKGROUND, CELL, CellImage, Map
from blastscope.explanation.result import (
    Attribution,
    CellExplained,
    EnsembleExplained,
    ModelExplained,
)
from blastscope.explanation.tables import METHODS
from blastscope.report.style import COLOURS, QUIET, STYLE, drawable, styled
from blastscope.report.text import LABELS, percent

if TYPE_CHECKING:
    from blastscope.explanation.activations import LayerMaps

DPI = 150
A_ROW = 16
"""Feature maps in a row, as in the paper's figures 36 to 39."""
MOST_MAPS = 512
TILE, GAP = 64, 4
STRONGEST = 0.85
"""The opacity of the strongest attribution; the cell stays visible beneath it."""
_PAPER, _DARK, _LIGHT = 250, 100, 225  # of 255
_OUTLINE = (70, 70, 70)
_PANEL, _SMALL, _SPACE = 380, 170, 14


Caller = ModelExplained | EnsembleExplained


def everything(cell: CellExplained) -> tuple[Caller, ...]:
    """Return what is explained of a cell: every model, then the ensemble."""
    return cell.models if cell.ensemble is None else (*cell.models, cell.ensemble)


def callers(cell: CellExplained) -> tuple[Caller, ...]:
    """Return what calls a cell; beside a table only the whole does, as the table says."""
    return everything(cell) if cell.table is None else everything(cell)[-1:]


def png(figure: Figure) -> bytes:
    """Return a plot as PNG at 150 dpi, the same bytes every time."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # A name in letters that the font lacks is drawn as boxes; the page shows it correctly.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(buffer, dpi=DPI, format="png", metadata={"Software": None})
    return buffer.getvalue()


def softened(picture: CellImage) -> Pixels:
    """Return a cell's crop in light grey on white with its outline, as the base of a heatmap.

    Its contrast is stretched within the cell, because the stain is dark on many slides, so that
    both chromatin and colours are visible.
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
    """Lay a signed attribution over an image: vermilion for ALL, blue for normal, none if zero.

    Args:
        base: of :func:`softened`, side × side × 3.
        signed: side × side, above zero for ALL.
        most: the attribution that is drawn strongest; None for the largest.
    """
    largest = float(np.abs(signed).max(initial=0)) if most is None else most
    share = np.abs(signed) / (largest if largest > 0 else 1)
    opacity = np.asarray(STRONGEST * np.minimum(share, 1), np.float32)[:, :, None]
    colour = np.where((signed > 0)[:, :, None], _rgb("all"), _rgb("hem"))
    return np.asarray((1 - opacity) * base + opacity * colour + 0.5, np.uint8)


def _rgb(label: str) -> NDArray[np.float32]:
    return np.array([int(COLOURS[label][k : k + 2], 16) for k in (1, 3, 5)], np.float32)


def scale_bar(width: int, height: int) -> Pixels:
    """Return the colour scale, from normal (left) to ALL (right), on white."""
    base = np.full((height, width, 3), _PAPER, np.uint8)
    return overlay(base, np.tile(np.linspace(-1, 1, width, dtype=np.float32), (height, 1)))


def panels(cell: CellExplained) -> list[Pixels]:
    """Return the heatmaps of a cell: one per model, then the ensemble's, of its first method."""
    base = softened(cell.picture)
    return [overlay(base, *drawn(cell, one)) for one in everything(cell)]


def drawn(cell: CellExplained, caller: Caller) -> tuple[Map, float | None]:
    """Return the signed map of the first method, and what is drawn strongest (None: its peak)."""
    method = cell.methods[0]
    if isinstance(caller, ModelExplained):
        return caller.attributions[method].signed, caller.scale
    if caller.on_scale is None:
        return caller.signed[method], None
    return caller.on_scale, 1.0


def columns_of(count: int) -> int:
    """Return the number of columns for ``count`` panels: 2 × 2 for four, as in the paper."""
    return ceil(sqrt(count))


def thumbnail(cell: CellExplained, side: int) -> Pixels:
    """Return the heatmaps without text, in a square of about ``side`` pixels a side."""
    shown = panels(cell)
    columns = columns_of(len(shown))
    tile = max(1, side // columns)
    rows = ceil(len(shown) / columns)
    whole = np.full((rows * tile, columns * tile, 3), 255, np.uint8)
    for k, panel in enumerate(shown):
        y, x = divmod(k, columns)
        whole[y * tile : (y + 1) * tile, x * tile : (x + 1) * tile] = resize(panel, tile)
    return whole


@styled
def attribution_panel(cell: CellExplained) -> Figure:
    """Plot heatmaps over the cell, one per model, the ensemble's last (paper, figure 40)."""
    shown = everything(cell)
    columns = columns_of(len(shown))
    step, high = _PANEL + _SPACE, _PANEL + 86
    top, below = 44, 62
    sheet = _Sheet(
        max(columns * step + _SPACE, 560), top + ceil(len(shown) / columns) * high + below
    )
    truth = "" if cell.file.label is None else f" · truly {LABELS[cell.file.label]}"
    sheet.text(_SPACE, 28, f"{_short(cell.file.cell, 26)}{truth} · {METHODS[cell.methods[0]]}", 9)
    for k, (panel, caller) in enumerate(zip(panels(cell), shown, strict=True)):
        row, column = divmod(k, columns)
        x, y = _SPACE + column * step, top + row * high
        sheet.text(x, y + 24, _short(caller.name, 29), 9, weight="bold")
        sheet.text(x, y + 48, _verdict(cell, caller), 9)
        sheet.text(x, y + 70, _strength(cell, caller), 8, color=QUIET)
        sheet.picture(x, y + 78, _PANEL, _PANEL, panel, COLOURS[caller.called])
    shared = any(model.scale is not None for model in cell.models)
    each = "Each model has one scale for all cells" if shared else "Each model has its own scale"
    _draw_scale(sheet, each)
    return sheet.figure


@styled
def class_panel(cell: CellExplained) -> Figure:
    """Plot what each network sees, and its attribution for ALL and for normal, by method."""
    step, high, top, below = _SMALL + 8, _SMALL + 54, 66, 62
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
        verdict = _verdict(cell, model)
        title = _short(model.name, 30) + (f": {verdict}" if verdict else "")
        sheet.text(_SPACE, y + 20, title, 8)
        sheet.picture(_SPACE, y + 46, _SMALL, _SMALL, model.seen)
        for m, method in enumerate(cell.methods):
            found = model.attributions[method]
            scale = model.scale if m == 0 else None
            most = _peak(found) if scale is None else scale
            said = f"strongest colour: {most:.3g}{' in all cells' if scale is not None else ''}"
            sheet.text(_SPACE + (1 + 2 * m) * step, y + 40, said, 7.5, color=QUIET)
            for k, signed in enumerate((found.for_all, -found.for_normal)):
                x = _SPACE + (1 + 2 * m + k) * step
                sheet.picture(x, y + 46, _SMALL, _SMALL, overlay(base, signed, most))
    _draw_scale(sheet, "Each model and method has its own scale")
    return sheet.figure


def _peak(found: Attribution) -> float:
    """Return the strongest attribution to a class: both are drawn on one scale."""
    return float(max(found.for_all.max(initial=0), found.for_normal.max(initial=0)))


@styled
def map_grid(found: LayerMaps, model: str) -> Figure:
    """Plot the feature maps of one cell in a layer, 16 per row, dead maps crossed out.

    At most ``MOST_MAPS`` are shown.
    """
    maps, dead = found.maps[0][:MOST_MAPS], found.dead[0]
    grid = tiled(maps, dead)
    channels, height, width = found.layer.shape
    cut = f", the first {MOST_MAPS} shown" if channels > MOST_MAPS else ""
    size = f"{channels:,} maps of {height} × {width}{cut}; {dead.sum():,} dead"
    sheet = _Sheet(max(grid.shape[1] + 2 * GAP, 700), grid.shape[0] + 60 + GAP)
    title = f"{_short(model, 34)}: {_short(found.layer.title, 60)}"
    sheet.text(GAP, 24, title, 9, weight="bold")
    sheet.text(GAP, 48, f"{size}; each has its own scale", 8, color=QUIET)
    sheet.picture(GAP, 58, grid.shape[1], grid.shape[0], grid)
    return sheet.figure


def tiled(maps: NDArray[np.float32], dead: Sequence[bool] | NDArray[np.bool_]) -> Pixels:
    """Lay maps (C, h, w) side by side, 16 per row, each scaled from its minimum to its maximum."""
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
    """A figure with positions in pixels from the upper left."""

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


def _draw_scale(sheet: _Sheet, scales: str) -> None:
    y = sheet.height - 46
    sheet.text(_SPACE, y + 15, "attribution for normal", 8, color=COLOURS["hem"])
    sheet.picture(_SPACE + 190, y, 150, 18, scale_bar(150, 18))
    sheet.text(_SPACE + 352, y + 15, "for ALL", 8, color=COLOURS["all"])
    say = f"{scales}. Line: the outline of the cell."
    sheet.text(_SPACE, y + 38, say, 7.5, color=QUIET)


def _strength(cell: CellExplained, caller: Caller) -> str:
    """Say how strong the strongest attribution of a panel is, on a scale that all cells share."""
    signed, most = drawn(cell, caller)
    if most is None:
        return ""
    peak = float(np.abs(signed).max(initial=0)) / most if most > 0 else 0.0
    return f"strongest: {percent(peak, 0)} of the scale"


def _verdict(cell: CellExplained, caller: Caller) -> str:
    if all(caller is not one for one in callers(cell)):  # a member: the table has no number of it
        return ""
    judged = {None: "", True: ", right", False: ", wrong"}[cell.right(caller.called)]
    expert = ", refer" if cell.table is not None and cell.table.refer else ""
    return f"p(ALL) {caller.p_all:.3f}: called {LABELS[caller.called]}{judged}{expert}"


def _short(name: str, most: int) -> str:
    """Shorten a long name in the middle; a control character cannot be drawn."""
    shown, half = drawable(name, len(name)), (most - 1) // 2
    return shown if len(shown) <= most else f"{shown[:half]}…{shown[-half:]}"
