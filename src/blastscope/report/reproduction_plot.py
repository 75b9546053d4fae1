"""Plot a reproduction: weighted F1 of every experiment that was run, and the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from blastscope.report.style import INK, QUIET, styled
from blastscope.reproduction.results import Experiment

_MARKS = {
    "paper": {"marker": "D", "color": QUIET, "markerfacecolor": "none", "markersize": 5.5},
    "image": {"marker": "o", "color": INK, "markerfacecolor": "white", "markersize": 5.5},
    "subject": {"marker": "o", "color": INK, "markersize": 5.5},
}
_NAMES = {"paper": "the paper's", "image": "image-level", "subject": "subject-disjoint"}


@styled
def experiments_plot(experiments: Sequence[Experiment], *, synthetic: bool) -> Figure:
    """Plot weighted F1, one row per experiment, under a heading for each family.

    Args:
        experiments: those with a result, in the order of the page; seeds are averaged, and the
            two protocols joined by a line if their settings are the same.
        synthetic: leaves out the published metrics, which are of real cells.
    """
    names: list[str] = []
    drawn: list[tuple[int, dict[str, float]]] = []
    joined: set[int] = set()
    headings: list[int] = []
    for family, members in groupby(experiments, key=lambda experiment: experiment.family):
        headings.append(len(names))
        names.append(family)
        for experiment in members:
            drawn.append((len(names), _points(experiment, synthetic)))
            if experiment.comparable:
                joined.add(len(names))
            names.append(experiment.short)
    figure = Figure(figsize=(7.8, 1.0 + 0.2 * len(names)), layout="constrained")
    axes = figure.subplots()
    for row, points in drawn:
        _plot(axes, row, points, row in joined)
    _label(axes, names, headings)
    shown = [kind for kind in _MARKS if any(kind in points for _, points in drawn)]
    marks = [Line2D([], [], linestyle="", label=_NAMES[k], **_MARKS[k]) for k in shown]  # type: ignore[arg-type]
    figure.legend(handles=marks, loc="outside upper center", ncols=3)
    return figure


def _points(experiment: Experiment, synthetic: bool) -> dict[str, float]:
    found = {
        protocol: spread.mean
        for protocol in ("image", "subject")
        if (spread := experiment.over_seeds(protocol, "weighted_f1"))
    }
    published = None if synthetic else experiment.published("weighted_f1")
    return found if published is None else {"paper": published, **found}


def _plot(axes: Axes, row: int, points: dict[str, float], joined: bool) -> None:
    if joined:
        axes.plot(
            [points["image"], points["subject"]], [row, row], color=QUIET, linewidth=1.4, zorder=1
        )
    for kind, value in points.items():
        axes.plot(value, row, linestyle="", zorder=2, **_MARKS[kind])  # type: ignore[arg-type]


def _label(axes: Axes, names: Sequence[str], headings: Sequence[int]) -> None:
    axes.set_yticks(range(len(names)), [name[:40] for name in names])
    for at, label in enumerate(axes.get_yticklabels()):
        if at in headings:
            label.set_fontweight("bold")
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labeltop=len(names) > 24)
    axes.set(ylim=(len(names) - 0.4, -0.6), xlabel="weighted F1 on test cells")
    axes.margins(x=0.06)
    for at in headings:
        axes.axhline(at - 0.5, color=QUIET, linewidth=0.6)
