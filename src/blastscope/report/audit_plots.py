"""Plot an audit of explanations: six plots per model, and the agreement of the models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray

from blastscope.explanation.audit.regions import ByRadius
from blastscope.explanation.audit.sanity_checks import Randomized
from blastscope.explanation.audit.size import SizeQuestion
from blastscope.explanation.audit.summary import AuditSummary, ModelAudit
from blastscope.explanation.cell_image import REGIONS
from blastscope.report.audit_text import MANY_CUT, RANKERS
from blastscope.report.comparison_page import shortened
from blastscope.report.style import (
    COLOURS,
    INK,
    PALETTE,
    QUIET,
    drawable,
    one_panel,
    save_all,
    styled,
)
from blastscope.report.text import LABELS

AGREEMENT = "agreement"
SMALL = (3.7, 2.7)
"""Width and height in inches of a model's plots, three of them in a row on a page."""
_LETTERS = 22
_LINES: dict[str, dict[str, Any]] = {
    "grad_cam": {"color": INK, "linewidth": 2.2},
    "grad_cam_pp": {"color": INK, "linewidth": 1.2, "linestyle": "--"},
    "occlusion": {"color": PALETTE[2]},
    "random": {"color": QUIET, "linestyle": ":"},
    "other": {"color": PALETTE[3], "linestyle": "-.", "zorder": 1.8},
}


def draw_audit(summary: AuditSummary, cells: pl.DataFrame, folder: Path) -> dict[str, Path]:
    """Draw an audit into ``folder``, and remove the plots that an earlier one left there.

    Each plot is written as ``audit-<name>.svg`` and ``.png``; ``cells`` is ``audit.parquet``.

    Returns:
        The SVG of each plot: ``<place of the model, from 1>-<kind>``, the kinds being regions,
        deletion, insertion, randomization, radius and size; and ``agreement`` for several models.

    Raises:
        BlastscopeError: if the folder cannot be written.
    """
    drawn = {}
    for place, model in enumerate(summary.models, 1):
        mine = cells.filter(pl.col("model") == model.model)
        for kind, figure in _of_model(model, mine).items():
            drawn[f"{place}-{kind}"] = figure
    if len(summary.models) > 1:
        drawn[AGREEMENT] = agreement_plot(summary)
    earlier = [path.stem for path in folder.glob("audit-*.*")]
    saved = save_all({f"audit-{name}": plot for name, plot in drawn.items()}, folder, earlier)
    return {name: saved[f"audit-{name}"] for name in drawn}


def _of_model(model: ModelAudit, cells: pl.DataFrame) -> Mapping[str, Figure]:
    drawn = {"regions": regions_plot(cells)}
    for kind in ("deletion", "insertion"):
        if any(curve.kind == kind for curve in model.curves):
            drawn[kind] = curve_plot(model, kind)
    if model.randomized is not None:
        drawn["randomization"] = randomization_plot(model.randomized)
    if model.by_radius is not None:
        drawn["radius"] = radius_plot(model.by_radius)
    if model.size is not None:
        drawn["size"] = size_plot(model.size)
    return drawn


@styled
def regions_plot(cells: pl.DataFrame) -> Figure:
    """Plot the share of the attribution minus that of the image, by region and true class.

    Zero is a map that ignores the image. A box holds the middle half of the cells, its line is the
    median, and whiskers reach from 5 to 95 %. For debris, only cells that have some.
    ``cells`` are one model's rows of ``audit.parquet``.
    """
    figure, axes = one_panel(*SMALL)
    axes.axvline(0, color=INK, linewidth=1)
    labels = [label for label in ("all", "hem") if (cells["label"] == label).any()]
    for row, region in enumerate(REGIONS):
        share, area = pl.col(f"grad_cam_{region}"), pl.col(f"area_{region}")
        have = cells.filter(share.is_not_null() & (area > 0))
        apart = have.select("label", gap=share - area)
        for k, label in enumerate(labels or [None]):
            mine = apart if label is None else apart.filter(pl.col("label") == label)
            place = row + (k - 0.5) * 0.38 * (len(labels) == 2)
            _box(axes, mine["gap"].to_numpy(), place, COLOURS[label or "mixed"])
    axes.set_yticks(range(len(REGIONS)), REGIONS)
    axes.set(ylim=(len(REGIONS) - 0.5, -0.5), title="Attribution by region")
    axes.set_xlabel("share of the attribution − share of the image")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:+.0%}".replace("-", "−") if x else "0")
    axes.grid(visible=False, axis="y")
    for label in labels:
        axes.plot([], [], "s", color=COLOURS[label], label=LABELS[label])
    if labels:
        figure.legend(
            *axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8,
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
def curve_plot(model: ModelAudit, kind: str) -> Figure:
    """Plot the mean curves of deletion or insertion, one per method, with the area under each."""
    figure, axes = one_panel(*SMALL)
    for method, name in RANKERS.items():
        curve = model.curve(kind, method)
        if curve is not None:
            at = np.linspace(0, 1, len(curve.mean))
            label = f"{name}: {curve.area.value:.2f}"
            axes.plot(at, curve.mean, label=label, **_LINES[method])
    done = "blurred" if kind == "deletion" else "restored"
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=f"of the image {done}", ylabel="p(called class)")
    axes.set_title(f"{kind.capitalize()}: {'low' if kind == 'deletion' else 'high'} is good")
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}")
    axes.legend(loc="best", fontsize=7.5, title="area", title_fontsize=7.5, alignment="left")
    return figure


@styled
def agreement_plot(summary: AuditSummary) -> Figure:
    """Plot the mean rank correlation of the maps of every two models."""
    names = [shortened(model.model) for model in summary.models]
    found = np.array(summary.agreement, dtype=np.float64)
    side = 1.9 + 0.62 * len(names)
    figure, axes = one_panel(side + 1.1, side)
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


@styled
def randomization_plot(found: Randomized) -> Figure:
    """Plot the similarity to the trained network's map while the weights are randomized."""
    figure, axes = one_panel(*SMALL)
    places = range(len(found.stages))
    if found.between.cells:
        level = found.between.correlation
        axes.axvline(level, color=QUIET, linestyle=":", label="maps of two cells")
    likeness = [stage.correlation for stage in found.stages]
    axes.plot(likeness, places, color=INK, marker="o", markersize=4.5, clip_on=False)
    axes.set_yticks(places, [_layer(stage.layer, k) for k, stage in enumerate(found.stages)])
    axes.set(xlim=(0, 1), ylim=(len(found.stages) - 0.5, -0.5), title="Weights randomized")
    axes.set_xlabel("mean absolute correlation")
    axes.grid(visible=False, axis="y")
    if found.between.cells:
        axes.legend(loc="best", fontsize=8)
    return figure


def _layer(name: str, place: int) -> str:
    shown = drawable(name, _LETTERS - 1) + "…" if len(name) > _LETTERS else drawable(name)
    return f"+ {shown}" if place else shown


@styled
def radius_plot(found: ByRadius) -> Figure:
    """Plot the mean attribution by radius in the cells of each class, with a 95 % interval."""
    figure, axes = one_panel(*SMALL)
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
    axes.set(xlim=(edges[0], edges[-1]), title="Attribution by radius")
    axes.set(xlabel="0: centre, 1: outline", ylabel="for normal − … + for ALL")
    axes.legend(loc="best", fontsize=8)
    return figure


@styled
def size_plot(found: SizeQuestion) -> Figure:
    """Plot the mean probability of ALL while cells are rescaled, by class.

    Points are hollow, and the line thin, if the field cuts off many of the cells.
    """
    figure, axes = one_panel(*SMALL)
    axes.axvline(1, color=QUIET, linewidth=1, linestyle=":")
    shown = [label for label in found.p_all if label in LABELS] or ["any"]
    whole = [share <= MANY_CUT for share in found.cut]
    for label in shown:
        colour, name = COLOURS.get(label, INK), LABELS.get(label, "all cells")
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
