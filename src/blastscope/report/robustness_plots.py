"""Plot a stress test: one panel per perturbation, one line per model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from blastscope.report.robustness_text import METRICS
from blastscope.report.style import QUIET, save, styled
from blastscope.robustness.perturbation_plan import PERTURBATIONS, Perturbation
from blastscope.robustness.summary import ModelRobustness

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#999999")
_LINES = ("-", "--", ":")
_COLUMNS = 4


def draw_stress(models: Sequence[ModelRobustness], folder: Path) -> dict[str, Path]:
    """Draw both plots into ``folder``, as PNG and SVG.

    Returns:
        The SVG of each, by metric.

    Raises:
        BlastscopeError: if the folder cannot be written.
    """
    return {
        name: save(curves_plot(models, name), folder, f"stress-{name.replace('_', '-')}")
        for name in METRICS
    }


@styled
def curves_plot(models: Sequence[ModelRobustness], name: str) -> Figure:
    """Plot a metric against the strength of each perturbation; the dotted line is unchanged."""
    rows = -(-len(PERTURBATIONS) // _COLUMNS)
    figure = Figure(figsize=(10, 2.3 * rows + 0.3 + 0.2 * len(models)), layout="constrained")
    panels = figure.subplots(rows, _COLUMNS, sharey=True).ravel()
    for axes, one in zip(panels, PERTURBATIONS, strict=False):
        axes.axvline(one.unchanged, color=QUIET, linewidth=1, linestyle=":")
        for k, model in enumerate(models):
            _draw(axes, model, one, name, k)
        _lay_axis(axes, one)
    for axes in panels[len(PERTURBATIONS) :]:
        axes.set_visible(False)
    for axes in panels[::_COLUMNS]:
        axes.set_ylabel(METRICS[name])
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center")
    return figure


def _draw(axes: Axes, model: ModelRobustness, one: Perturbation, name: str, k: int) -> None:
    points = [(at.step.value or 0.0, at.values[name]) for at in model.of(one)]
    points = sorted([*points, (one.unchanged, model.unchanged.values[name])])
    label = "".join(letter if letter.isprintable() else "?" for letter in model.model)[:70]
    axes.plot(
        *zip(*points, strict=True), color=_COLOURS[k % len(_COLOURS)], marker="o", markersize=3.5,
        linestyle=_LINES[k // len(_COLOURS) % len(_LINES)], label=label,
    )  # fmt: skip


def _lay_axis(axes: Axes, one: Perturbation) -> None:
    axes.set_title(one.shown[:1].upper() + one.shown[1:])
    axes.set_xlabel("degrees" if one.unit == "°" else one.unit)
    if one.log:
        axes.set_xscale("log")
        ends = one.values[-1]
        ticks = [ends[0], 1, ends[1]]
        axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
    if one.unit == "quality":
        axes.invert_xaxis()
