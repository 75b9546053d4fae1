"""The pictures of an ensemble's page: how the weights were found, and what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from blastscope.report.style import INK, QUIET, styled

# Okabe and Ito's colours, told apart under every form of colour blindness.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")


_DARK = _COLOURS[0], _COLOURS[2], _COLOURS[5]


@styled
def search_figure(history: NDArray[np.float64], grid: float, mean: float, cells: int) -> Figure:
    """Best weighted F1 so far of every run of the genetic search, generation by generation.

    Args:
        history: shape (runs, generations).
        grid: what the grid search reaches.
        mean: what equal weights reach.
        cells: how many cells the search looks at.
    """
    figure = Figure(figsize=(7.4, 3.0), layout="constrained")
    axes = figure.subplots()
    generations = np.arange(1, history.shape[1] + 1)
    winner = int(history[:, -1].argmax())
    others = np.delete(history, winner, axis=0).T
    if others.size:
        lines = axes.plot(generations, others, color=QUIET, linewidth=0.8, drawstyle="steps-post")
        lines[0].set_label("other runs")
    axes.plot(generations, history[winner], color=INK, label="best run", drawstyle="steps-post")
    axes.axhline(mean, color=_COLOURS[0], linestyle=":", linewidth=1.2, label="equal weights")
    axes.axhline(grid, color=_COLOURS[2], linestyle="--", linewidth=1.2, label="grid search")
    axes.set(
        xlabel="generation",
        ylabel="weighted F1",
        title=f"Genetic search on {cells:,} cells",
        xlim=(1, max(2, len(generations))),
    )
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


@styled
def weights_figure(weights: Mapping[str, Sequence[float]], members: Sequence[str]) -> Figure:
    """Each method's weights as one bar that is parted among the members.

    Args:
        weights: by method, each of shape (members,), none below 0.
        members: their names.
    """
    figure = Figure(figsize=(7.4, 1.1 + 0.3 * len(weights)), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(weights))
    for k, member in enumerate(members):
        widths = np.array([values[k] for values in weights.values()])
        colour = _COLOURS[k % len(_COLOURS)]
        bars = axes.barh(
            range(len(weights)),
            widths,
            left=left,
            color=colour,
            height=0.62,
            hatch="///" * (k // len(_COLOURS)),  # the ninth member is not the first
            edgecolor="white",
            linewidth=0,
        )
        for bar, width in zip(bars, widths, strict=True):
            if width >= 0.06:
                middle = bar.get_x() + width / 2
                at = bar.get_y() + bar.get_height() / 2
                ink = "white" if colour in _DARK else INK
                axes.text(
                    middle, at, f"{width:.2f}", ha="center", va="center", fontsize=8, color=ink
                )
        bars.set_label(f" {member[:40]}")  # Matplotlib hides labels that begin with "_"
        left += widths
    axes.set_yticks(range(len(weights)), list(weights))
    axes.set(xlim=(0, max(1.0, float(left.max()))), xlabel="weight", title="Weights")
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
