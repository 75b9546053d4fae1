"""The figures of a report, in one restrained style and the same bytes at every run.

Only matplotlib's object interface is used, so that nothing here depends on or changes the state
of a caller's pyplot.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from blastscope.errors import writing
from blastscope.evaluation.curves import Curve
from blastscope.io.files import replacing
from blastscope.report.style import COLOURS, INK, QUIET, STYLE, styled
from blastscope.report.text import LABELS

FIGURE_NAMES = (
    "confusion-matrix",
    "roc",
    "precision-recall",
    "subjects",
    "learning-curves",
    "reliability",
    "risk-coverage",
    "shares",
    "leakage",
)
"""Those of an evaluation."""
MOST_SUBJECTS = 60


def save(figure: Figure, folder: Path, name: str) -> Path:
    """Write ``name.png`` (150 dpi) and ``name.svg`` into ``folder``; the same bytes every time.

    Returns:
        The path of the SVG.

    Raises:
        BlastscopeError: where the folder cannot be written.
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


def save_all(drawn: Mapping[str, Figure], folder: Path) -> dict[str, Path]:
    """Save figures, and remove those of ``FIGURE_NAMES`` that an earlier evaluation left.

    Returns:
        The SVG of each figure.
    """
    saved = {name: save(figure, folder, name) for name, figure in drawn.items()}
    for name in set(FIGURE_NAMES) - set(drawn):
        for kind in ("png", "svg"):
            with writing(folder / f"{name}.{kind}"):
                (folder / f"{name}.{kind}").unlink(missing_ok=True)
    return saved


@styled
def confusion_figure(tn: int, fp: int, fn: int, tp: int) -> Figure:
    """Counts, and what share of each true class they are; rows are the truth."""
    figure, axes = _figure(3.2, 3.1)
    counts = np.array([[tn, fp], [fn, tp]])
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1.25)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    for (row, column), count in np.ndenumerate(counts):
        ink = "white" if share[row, column] > 0.75 else INK
        axes.text(
            column, row - 0.06, f"{count:,}", ha="center", va="center", color=ink, fontsize=14
        )
        share_text = f"{share[row, column]:.1%} of {'normal' if row == 0 else 'ALL'}"
        axes.text(column, row + 0.22, share_text, ha="center", va="center", color=ink, fontsize=8)
    axes.set_xticks([0, 1], ["normal", "ALL"])
    axes.set_yticks([0, 1], ["normal", "ALL"], rotation=90, va="center")
    axes.tick_params(length=0)
    axes.set(xlabel="called by the model", ylabel="truth", title="Confusion matrix (cells)")
    return figure


@styled
def roc_figure(curve: Curve) -> Figure:
    """The ROC curve, with chance and the point of decision."""
    figure, axes = _figure(3.2, 3.1)
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=":", label="chance")
    _plot_curve(axes, curve, f"AUC {curve.area:.3f}")
    axes.set(xlabel="1 − specificity", ylabel="sensitivity for ALL", title="ROC")
    axes.legend(loc="lower right")
    return figure


@styled
def precision_recall_figure(curve: Curve, share_all: float) -> Figure:
    """The precision-recall curve; ``share_all`` is the precision of calling every cell ALL."""
    figure, axes = _figure(3.2, 3.1)
    axes.axhline(share_all, color=QUIET, linewidth=1, linestyle=":", label="all called ALL")
    _plot_curve(axes, curve, f"average precision {curve.area:.3f}", steps="steps-pre")
    axes.set(xlabel="sensitivity for ALL", ylabel="precision of ALL", title="Precision and recall")
    axes.legend(loc="lower left")
    return figure


def _plot_curve(axes: Axes, curve: Curve, label: str, steps: str = "default") -> None:
    axes.plot(curve.x, curve.y, color=COLOURS["all"], label=label, drawstyle=steps, clip_on=False)
    if curve.decision:
        x, y = curve.decision
        dot = {"marker": "o", "markersize": 6, "markeredgecolor": "white", "clip_on": False}
        axes.plot(x, y, color=INK, linestyle="none", label="at p = 0.5", zorder=5, **dot)  # type: ignore[arg-type]
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")


@styled
def subjects_figure(subjects: pl.DataFrame) -> Figure:
    """Accuracy of each subject with its 95 % interval, worst on top, at most ``MOST_SUBJECTS``."""
    shown = subjects.head(MOST_SUBJECTS)
    figure, axes = _figure(7.4, 0.95 + 0.21 * shown.height)
    for row, subject in enumerate(shown.iter_rows(named=True)):
        colour = COLOURS[subject["label"]]
        axes.plot([subject["low"], subject["high"]], [row, row], color=colour, alpha=0.45)
        axes.plot(subject["accuracy"], row, "o", color=colour, markersize=4.5)
    names = [f"{plain(name)}  ({n:,})" for name, n in shown.select("subject", "cells").iter_rows()]
    axes.set_yticks(range(shown.height), names)
    axes.set(xlim=(-0.01, 1.01), ylim=(shown.height - 0.4, -0.6))
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}")
    worst = (
        f"the worst {shown.height} of {subjects.height}" if subjects.height > MOST_SUBJECTS else ""
    )
    axes.set(xlabel="cells called right, 95 % interval", title="Subjects (cells) " + worst)
    _legend(axes, [name for name in COLOURS if name in set(shown["label"])])
    return figure


@styled
def learning_figure(history: pl.DataFrame) -> Figure:
    """Loss and accuracy by epoch, with the epoch of the lowest validation loss marked."""
    figure = Figure(figsize=(7.4, 3.0), layout="constrained")
    best = best_epoch(history)
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for part, colour, line in (("train", QUIET, "--"), ("val", INK, "-")):
            values = history[f"{part}_{name}"].to_numpy()
            label = "validation" if part == "val" else "training"
            axes.plot(
                history["epoch"], values, color=colour, linestyle=line, label=label, marker=".",
                markersize=4,
            )  # fmt: skip
        if best is not None:
            axes.axvline(best["epoch"], color="#009E73", linewidth=1, label="lowest val. loss")
        axes.set(xlabel="epoch", title=f"{name.capitalize()}")
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def best_epoch(history: pl.DataFrame) -> dict[str, float] | None:
    """The row of the lowest validation loss, the earlier one in a tie; None without one."""
    rows = history.filter(pl.col("val_loss").is_not_null() & pl.col("val_loss").is_not_nan())
    return rows.sort("val_loss", maintain_order=True).row(0, named=True) if rows.height else None


@styled
def gap_figure(
    rows: Sequence[tuple[str, Mapping[str, tuple[float | None, float | None]]]],
) -> Figure:
    """Each recipe's image-level figure joined to its subject-disjoint one, a panel per metric.

    Args:
        rows: a recipe's name, and for each metric its (image-level, subject-disjoint) figures.
    """
    figure = Figure(figsize=(7.8, 1.15 + 0.42 * len(rows)), layout="constrained")
    panels = list(rows[0][1])
    for axes, metric in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        for at, (_, scores) in enumerate(rows):
            _plot_gap(axes, at, *scores[metric])
        names = [plain(name) for name, _ in rows] if metric == panels[0] else [""] * len(rows)
        axes.set_yticks(range(len(rows)), names)
        axes.set(ylim=(len(rows) - 0.4, -0.6), title=metric)
        axes.margins(x=0.12)
        axes.grid(visible=False, axis="y")
    marks = [
        Line2D([], [], marker="o", color=INK, linestyle="", label="subject-disjoint"),
        Line2D([], [], marker="o", color=INK, linestyle="", label="image-level", mfc="white"),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=2)
    return figure


def _plot_gap(axes: Axes, row: int, image: float | None, subject: float | None) -> None:
    if image is not None and subject is not None:
        axes.plot([image, subject], [row, row], color=QUIET, linewidth=1.4)
        axes.annotate(
            f"{subject - image:+.3f}", ((image + subject) / 2, row), (0, 4), ha="center",
            textcoords="offset points", fontsize=8, color=QUIET,
        )  # fmt: skip
    if image is not None:
        axes.plot(image, row, "o", color=INK, markerfacecolor="white", markersize=7)
    if subject is not None:
        axes.plot(subject, row, "o", color=INK, markersize=7)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Make a figure of ``width`` x ``height`` inches with one pair of axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _legend(axes: Axes, labels: Sequence[str]) -> None:
    marks = [
        Line2D([], [], marker="o", color=COLOURS[name], linestyle="", label=LABELS[name])
        for name in labels
    ]
    axes.legend(handles=marks, loc="lower left", bbox_to_anchor=(0.62, 1.0), ncols=len(marks))


def plain(name: str) -> str:
    """Make a name safe to draw: a control character is not allowed in an SVG."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)[:40]
