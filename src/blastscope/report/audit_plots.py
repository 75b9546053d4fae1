"""The figures of an explanation study: where the heat lies, and what it is worth, a model each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from blastscope.errors import writing
from blastscope.explanation.audit.attributions import RANKED
from blastscope.explanation.audit.summary import AuditSummary, ModelAudit
from blastscope.explanation.cell_image import REGIONS
from blastscope.report.audit_profiles import radius_figure, randomised_figure, size_figure
from blastscope.report.comparison_plots import shortened
from blastscope.report.plots import save
from blastscope.report.style import COLOURS, INK, QUIET, styled
from blastscope.report.text import LABELS

AGREEMENT = "agreement"
SMALL = (3.7, 2.7)
"""Width and height in inches of a model's figures, three of them abreast on a page."""
_LINES: dict[str, dict[str, Any]] = {
    "grad_cam": {"color": INK, "linewidth": 2.2},
    "grad_cam_pp": {"color": INK, "linewidth": 1.2, "linestyle": "--"},
    "occlusion": {"color": "#009E73"},
    "random": {"color": QUIET, "linestyle": ":"},
    "other": {"color": "#CC79A7", "linestyle": "-.", "zorder": 1.8},
}


def draw_audit(summary: AuditSummary, cells: pl.DataFrame, folder: Path) -> dict[str, Path]:
    """Draw a study into ``folder``, and remove the figures that an earlier one left there.

    Args:
        summary: the figures.
        cells: ``study.parquet``.
        folder: to write to; each figure as ``study-<name>.svg`` and ``.png``.

    Returns:
        The SVG of each figure: ``<place of the model, from 1>-<kind>``, the kinds being heat,
        deletion, insertion, randomisation, radius and size; and ``agreement`` for several models.

    Raises:
        BlastscopeError: where the folder cannot be written.
    """
    drawn = {}
    for place, model in enumerate(summary.models, 1):
        mine = cells.filter(pl.col("model") == model.model)
        for kind, figure in _of_model(model, mine).items():
            drawn[f"{place}-{kind}"] = figure
    if len(summary.models) > 1:
        drawn[AGREEMENT] = agreement_figure(summary)
    for path in folder.glob("study-*.*"):
        if path.suffix in (".png", ".svg") and path.stem.removeprefix("study-") not in drawn:
            with writing(path):
                path.unlink(missing_ok=True)
    return {name: save(figure, folder, f"study-{name}") for name, figure in drawn.items()}


def _of_model(model: ModelAudit, cells: pl.DataFrame) -> Mapping[str, Figure]:
    drawn = {"heat": heat_figure(cells)}
    for kind in ("deletion", "insertion"):
        if any(curve.kind == kind for curve in model.curves):
            drawn[kind] = curve_figure(model, kind)
    if model.randomised is not None:
        drawn["randomisation"] = randomised_figure(model.randomised)
    if model.by_radius is not None:
        drawn["radius"] = radius_figure(model.by_radius)
    if model.size is not None:
        drawn["size"] = size_figure(model.size)
    return drawn


@styled
def heat_figure(cells: pl.DataFrame) -> Figure:
    """Share of the heat less share of the picture, by region and true class: boxes over the cells.

    Zero is a map that ignores the picture. A box holds the middle half, its line is the median,
    whiskers reach from 5 to 95 %. Of debris, only cells that have some.

    Args:
        cells: one model's rows of ``study.parquet``.
    """
    figure = Figure(figsize=SMALL, layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=INK, linewidth=1)
    labels = [label for label in ("all", "hem") if (cells["label"] == label).any()]
    for row, region in enumerate(REGIONS):
        heat, area = pl.col(f"heat_{region}"), pl.col(f"area_{region}")
        have = cells.filter(heat.is_not_null() & (area > 0))
        apart = have.select("label", gap=heat - area)
        for k, label in enumerate(labels or [None]):
            mine = apart if label is None else apart.filter(pl.col("label") == label)
            place = row + (k - 0.5) * 0.38 * (len(labels) == 2)
            _box(axes, mine["gap"].to_numpy(), place, COLOURS[label or "mixed"])
    axes.set_yticks(range(len(REGIONS)), REGIONS)
    axes.set(ylim=(len(REGIONS) - 0.5, -0.5), title="Heat by region")
    axes.set_xlabel("share of the heat − share of the picture")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:+.0%}".replace("-", "−") if x else "0")
    axes.grid(visible=False, axis="y")
    for label in labels:
        axes.plot([], [], "s", color=COLOURS[label], label=LABELS[label])
    if labels:
        axes.legend(
            loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0, fontsize=8,
            handletextpad=0, columnspacing=0.6,
        )  # fmt: skip
    return figure


def _box(axes: Axes, values: NDArray[np.float64], place: float, colour: str) -> None:
    if not len(values):
        return
    line = {"color": INK, "linewidth": 0.9}
    axes.boxplot(
        [values], positions=[place], orientation="horizontal", widths=0.3, whis=(5, 95),
        showfliers=False, manage_ticks=False, patch_artist=True, whiskerprops=line, capprops=line,
        boxprops={"facecolor": colour, "edgecolor": INK, "linewidth": 0.9},
        medianprops={"color": "white", "linewidth": 1.8},
    )  # fmt: skip


@styled
def curve_figure(model: ModelAudit, kind: str) -> Figure:
    """The mean curves of one kind, every method's, with the area under each.

    Args:
        model: of ``AuditSummary.models``.
        kind: ``deletion`` or ``insertion``.
    """
    figure = Figure(figsize=SMALL, layout="constrained")
    axes = figure.subplots()
    for method, name in RANKED.items():
        curve = model.curve(kind, method)
        if curve is not None:
            at = np.linspace(0, 1, len(curve.mean))
            label = f"{name}: {curve.area.value:.2f}"
            axes.plot(at, curve.mean, label=label, **_LINES[method])
    done = "blurred away" if kind == "deletion" else "brought back"
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=f"of the picture {done}", ylabel="p(called class)")
    axes.set_title(f"{kind.capitalize()}: {'low' if kind == 'deletion' else 'high'} is good")
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}")
    axes.legend(loc="best", fontsize=7.5, title="area", title_fontsize=7.5, alignment="left")
    return figure


@styled
def agreement_figure(summary: AuditSummary) -> Figure:
    """The mean rank correlation of every two models' maps of a cell."""
    names = [shortened(model.model) for model in summary.models]
    found = np.array(summary.agreement, dtype=np.float64)
    side = 1.9 + 0.62 * len(names)
    figure = Figure(figsize=(side + 1.1, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(found, cmap="BrBG", vmin=-1.2, vmax=1.2)
    for (row, column), value in np.ndenumerate(found):
        ink = "white" if abs(value) > 0.75 else INK
        text = "–" if np.isnan(value) else f"{value:.2f}".replace("-", "−")
        axes.text(column, row, text, ha="center", va="center", color=ink)
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_title("Agreement of maps")
    return figure
