"""Plot an error analysis: who misses what, and how missed cells differ from the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from blastscope.data.traits import TRAITS, Trait
from blastscope.error_analysis.analysis import ErrorAnalysis
from blastscope.error_analysis.counts import CLASSES, Counts
from blastscope.report.style import (
    COLOURS,
    GRID,
    INK,
    QUIET,
    one_panel,
    plot_subjects,
    save_all,
    styled,
)
from blastscope.report.text import LABELS, every

PLOT_NAMES = ("missed-by", "error-rates", *(f"trait-{trait.column}" for trait in TRAITS))
MOST_SUBJECTS = 40
_MOST_DOTS = 250
_SEED = 24


def draw_errors(analysis: ErrorAnalysis, folder: Path) -> dict[str, Path]:
    """Draw an analysis into ``folder``, and remove the plots that an earlier one left there.

    Returns:
        The SVG of each plot that could be drawn, by a name of ``PLOT_NAMES``.

    Raises:
        BlastscopeError: if the folder cannot be written.
    """
    drawn = {"missed-by": missed_by_plot(analysis.counts)}
    if not analysis.causes.subjects.is_empty():
        drawn["error-rates"] = error_rates_plot(analysis)
    if analysis.traits is not None:
        for trait in TRAITS:
            drawn[f"trait-{trait.column}"] = trait_plot(analysis, trait)
    return save_all(drawn, folder, PLOT_NAMES)


@styled
def missed_by_plot(counts: Counts) -> Figure:
    """Plot cells by the number of models that miss them, the most first (paper, Figure 33)."""
    models = len(counts.total) - 1
    figure, axes = one_panel(7.4, 1.2 + 0.36 * models)
    places = range(models)
    left = np.zeros(models)
    title = "Missed cells" + (" by how many models miss them" if models > 1 else "")
    for label in CLASSES:
        width = np.array(counts.missed_by[label][:0:-1], dtype=float)
        axes.barh(places, width, left=left, color=COLOURS[label], label=LABELS[label], height=0.66)
        left += width
    for place, total in zip(places, left, strict=True):
        axes.annotate(
            f"{int(total):,}", (total, place), (4, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(places, [_by(k, models) for k in range(models, 0, -1)])
    axes.set(ylim=(models - 0.5, -0.5), xlabel="cells", title=title)
    axes.margins(x=0.08)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
    return figure


def _by(k: int, models: int) -> str:
    if models == 1:
        return "missed"
    return every(models) if k == models else f"{k} model{'s' * (k > 1)}"


@styled
def error_rates_plot(analysis: ErrorAnalysis) -> Figure:
    """Plot the share of each subject's cells that are missed, with its interval, by class."""
    subjects = analysis.causes.subjects
    shown = [label for label in CLASSES if (subjects["label"] == label).any()]
    rows = {
        label: subjects.filter(subjects["label"] == label).head(MOST_SUBJECTS) for label in shown
    }
    tallest = max(frame.height for frame in rows.values())
    figure = Figure(figsize=(7.4, 1.0 + 0.2 * max(tallest, 3)), layout="constrained")
    for axes, label in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        frame = rows[label]
        plot_subjects(axes, frame, "rate", max(tallest, 3))
        cut = subjects.filter(subjects["label"] == label).height > frame.height
        title = f"{LABELS[label][0].upper()}{LABELS[label][1:]} cells by subject"
        axes.set(
            title=title + (f", the worst {frame.height}" if cut else ""),
            xlim=(-0.02, 1.02),
            xlabel="missed, 95 % interval",
        )
    return figure


@styled
def trait_plot(analysis: ErrorAnalysis, trait: Trait) -> Figure:
    """Plot one trait of the missed and the right cells of each class: boxes over (some) cells.

    A box holds the middle half, its line is the median, whiskers reach from 5 to 95 %.
    """
    traits, hard = analysis.traits, analysis.causes.hard
    if traits is None:
        raise ValueError("the traits of the cells were not measured")
    column = traits[trait.column].to_numpy().astype(np.float64)
    figure, axes = one_panel(3.5, 2.3)
    names = []
    for place, (label, missed) in enumerate((c, m) for c in CLASSES for m in (True, False)):
        rows = (analysis.scores.cells["label"] == label).to_numpy() & (hard == missed)
        values = np.sort(column[rows & ~np.isnan(column)])
        names.append(f"{LABELS[label]}, {'missed' if missed else 'right'} ({len(values):,})")
        if len(values):
            _box(axes, values, place, COLOURS[label] if missed else QUIET)
    unit = f" ({trait.unit})" if trait.unit else ""
    name = trait.name if trait.name[1] == "*" else trait.name[0].upper() + trait.name[1:]
    axes.set_yticks(range(len(names)), names)
    axes.set(ylim=(len(names) - 0.5, -0.5), title=name + unit)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.axhline(1.5, color=GRID, linewidth=1)
    axes.grid(visible=False, axis="y")
    return figure


def _box(axes: Axes, values: NDArray[np.float64], place: int, colour: str) -> None:
    rng = np.random.default_rng(_SEED)
    every = np.unique(np.linspace(0, len(values) - 1, _MOST_DOTS).round().astype(int))
    dots = values[every]
    heights = place + rng.uniform(-0.3, 0.3, len(dots))
    axes.plot(dots, heights, "o", color=colour, markersize=2.2, alpha=0.35, markeredgewidth=0)
    line = {"color": INK, "linewidth": 1.1}
    axes.boxplot(
        [values], positions=[place], orientation="horizontal", widths=0.42, whis=(5, 95),
        showfliers=False, manage_ticks=False, boxprops=line, whiskerprops=line, capprops=line,
        medianprops={"color": INK, "linewidth": 2.4},
    )  # fmt: skip
