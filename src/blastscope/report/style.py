"""The style of every plot, and how plots are saved.

Colours are Okabe and Ito's (2008), told apart under every form of colour blindness: ALL is
vermilion, normal is blue, on every page.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from blastscope.errors import writing
from blastscope.io.files import replacing

COLOURS = {"all": "#D55E00", "hem": "#0072B2", "mixed": "#666666"}
INK, QUIET, GRID = "#22272e", "#667080", "#e3e6ea"
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
"""Colours of models and members."""
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


def save_all(drawn: Mapping[str, Figure], folder: Path, others: Iterable[str]) -> dict[str, Path]:
    """Save plots by name, and remove those of ``others`` that an earlier report left.

    Returns:
        The SVG of each plot.

    Raises:
        BlastscopeError: if the folder cannot be written.
    """
    for name in set(others) - set(drawn):
        for kind in ("png", "svg"):
            with writing(folder / f"{name}.{kind}"):
                (folder / f"{name}.{kind}").unlink(missing_ok=True)
    return {name: save(figure, folder, name) for name, figure in drawn.items()}


def one_panel(width: float, height: float) -> tuple[Figure, Axes]:
    """Make a figure of so many inches with one pair of axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def widen(axes: Axes, least: float) -> None:
    """Show at least so wide a range, also if all values are the same."""
    low, high = axes.get_xlim()
    if high - low < least:
        middle = (low + high) / 2
        axes.set_xlim(middle - least / 2, middle + least / 2)


def name_rows(axes: Axes, names: Sequence[str], rows: int | None = None) -> None:
    """Give each row its name, the first on top; ``rows`` leaves room for more of them."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim((len(names) if rows is None else rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def plot_subjects(axes: Axes, subjects: pl.DataFrame, value: str, rows: int | None = None) -> None:
    """Plot a share of each subject's cells with its interval (``low``, ``high``), a row each."""
    for row, subject in enumerate(subjects.iter_rows(named=True)):
        colour = COLOURS[subject["label"] or "mixed"]
        axes.plot([subject["low"], subject["high"]], [row, row], color=colour, alpha=0.45)
        axes.plot(subject[value], row, "o", color=colour, markersize=4.5)
    counts = subjects.select("subject", "cells").iter_rows()
    name_rows(axes, [f"{drawable(name)}  ({cells:,})" for name, cells in counts], rows)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}")


def drawable(name: str, most: int = 40) -> str:
    """Make a name safe to draw, and cut it: an SVG may not contain control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)[:most]
