"""The figures of an explanation study that follow something: layers, the radius, the size."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from blastscope.explanation.audit.radius import ByRadius
from blastscope.explanation.audit.sanity_checks import Randomised
from blastscope.explanation.audit.size import SizeQuestion
from blastscope.report.style import COLOURS, INK, QUIET, styled
from blastscope.report.text import LABELS

SIZE = (3.7, 2.7)
MANY_CUT = 0.05
"""Where the field cuts off more of the cells than this, they are not only larger."""
_LETTERS = 22


@styled
def randomised_figure(found: Randomised) -> Figure:
    """Likeness to the trained network's map as the weights are scrambled, the head's first."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    places = range(len(found.stages))
    if found.between.cells:
        level = found.between.correlation
        axes.axvline(level, color=QUIET, linestyle=":", label="maps of two cells")
    likeness = [stage.correlation for stage in found.stages]
    axes.plot(likeness, places, color=INK, marker="o", markersize=4.5, clip_on=False)
    axes.set_yticks(places, [_layer(stage.layer, k) for k, stage in enumerate(found.stages)])
    axes.set(xlim=(0, 1), ylim=(len(found.stages) - 0.5, -0.5), title="Weights scrambled")
    axes.set_xlabel("mean |correlation|")
    axes.grid(visible=False, axis="y")
    if found.between.cells:
        axes.legend(loc="best", fontsize=8)
    return figure


def _layer(name: str, place: int) -> str:
    plain = "".join(letter if letter.isprintable() else "?" for letter in name)
    shown = plain if len(plain) <= _LETTERS else plain[: _LETTERS - 1] + "…"
    return shown if not place else f"+ {shown}"


@styled
def radius_figure(found: ByRadius) -> Figure:
    """The mean evidence by radius in the cells of each class, with a 95 % interval a bin."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    edges = np.array(found.edges)
    middles = (edges[1:] + edges[:-1]) / 2
    axes.axhline(0, color=INK, linewidth=1)
    axes.axvline(1, color=QUIET, linewidth=1, linestyle=":")
    for profile in found.profiles:
        colour = COLOURS[profile.label]
        low, high = ([getattr(e, name) for e in profile.mean] for name in ("low", "high"))
        axes.fill_between(middles, low, high, color=colour, alpha=0.2, linewidth=0)
        label = f"{LABELS[profile.label]} ({profile.cells:,})"
        axes.plot(middles, [e.value for e in profile.mean], color=colour, label=label)
    axes.set(xlim=(edges[0], edges[-1]), title="Evidence by radius")
    axes.set(xlabel="0: centre, 1: outline", ylabel="for normal − … + for ALL")
    axes.legend(loc="best", fontsize=8)
    return figure


@styled
def size_figure(found: SizeQuestion) -> Figure:
    """The mean probability of ALL as each cell is shrunk and enlarged, by class.

    The points are hollow, and the line thin, where the field cuts off many of the cells.
    """
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    axes.axvline(1, color=QUIET, linewidth=1, linestyle=":")
    shown = [label for label in found.p_all if label in LABELS] or ["any"]
    whole = [share <= MANY_CUT for share in found.cut]
    for label in shown:
        colour, name = COLOURS.get(label, INK), LABELS.get(label, "every cell")
        axes.plot(found.scales, found.p_all[label], color=colour, linewidth=0.8)
        for kept, face in ((True, colour), (False, "white")):
            height = [
                p if k == kept else np.nan for p, k in zip(found.p_all[label], whole, strict=True)
            ]
            axes.plot(
                found.scales, height, marker="o", markersize=4, color=colour,
                markerfacecolor=face, linewidth=1.8 * kept, label=name if kept else None,
            )  # fmt: skip
    axes.set_xscale("log")
    ticks = [scale for scale in found.scales if scale in (0.6, 0.8, 1, 1.25, 1.6)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(ylim=(0, 1), xlabel="the cell's size, times its own", ylabel="mean p(ALL)")
    axes.set_title("Rescaled")
    axes.legend(loc="best", fontsize=8)
    return figure
