"""The style of every plot, and how plots are saved.

Colours are Okabe and Ito's (2008), told apart under every form of colour blindness: ALL is
vermilion, normal is blue, on every page.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from blastscope.io.files import replacing

COLOURS = {"all": "#D55E00", "hem": "#0072B2", "mixed": "#666666"}
INK, QUIET, GRID = "#22272e", "#667080", "#e3e6ea"
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a subject may be called "A$1$"
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.hashsalt": "blastscope",
    "svg.fonttype": "path",
}

_Args = ParamSpec("_Args")


def styled(draw: Callable[_Args, Figure]) -> Callable[_Args, Figure]:
    """Draw under the house style, leaving the caller's settings as they were."""

    @wraps(draw)
    def drawn(*args: _Args.args, **kwargs: _Args.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return drawn


def save(figure: Figure, folder: Path, name: str) -> Path:
    """Write ``name.png`` (150 dpi) and ``name.svg`` into ``folder``; the same bytes every time.

    Returns:
        The path of the SVG.

    Raises:
        BlastscopeError: if the folder cannot be written.
    """
    FigureCanvasAgg(figure)
    undated = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # A name in letters that the font lacks is drawn as boxes; the page's tables have it right.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        for kind, metadata in undated.items():
            with replacing(folder / f"{name}.{kind}") as beside:
                figure.savefig(beside, dpi=150, metadata=metadata)
            figure.set_layout_engine("none")  # laid out once, which takes longer than to draw
    return folder / f"{name}.svg"


def plain(name: str) -> str:
    """Make a name safe to draw: an SVG may not contain control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)[:40]
