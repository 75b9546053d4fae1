"""The plots of an evaluation: curves, subjects, learning, calibration, referral, share of blasts.

Only matplotlib's object interface is used, so that a caller's pyplot is not changed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from blastscope.decision.assessment import DecisionAssessment
from blastscope.decision.blast_share import LINE
from blastscope.evaluation.curves import Curve, DecisionCurve, decision_curve
from blastscope.report.style import COLOURS, INK, QUIET, one_panel, plot_subjects, styled
from blastscope.report.text import LABELS

PLOTS = (
    "confusion-matrix",
    "roc",
    "precision-recall",
    "subjects",
    "learning-curves",
    "reliability",
    "risk-coverage",
    "decision-curve",
    "shares",
    "leakage",
)
"""The plots of an evaluation."""
MOST_SUBJECTS = 60


@styled
def confusion_plot(tn: int, fp: int, fn: int, tp: int) -> Figure:
    """Plot counts, and their shares of each true class; rows are the labels."""
    figure, axes = one_panel(3.2, 3.1)
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
    axes.set(xlabel="called", ylabel="label", title="Confusion matrix (cells)")
    return figure


@styled
def roc_plot(curve: Curve) -> Figure:
    """Plot the ROC curve, with chance and the point of decision."""
    figure, axes = one_panel(3.2, 3.1)
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=":", label="chance")
    _plot_curve(axes, curve, f"AUC {curve.area:.3f}")
    axes.set(xlabel="1 − specificity", ylabel="sensitivity for ALL", title="ROC")
    axes.legend(loc="lower right")
    return figure


@styled
def precision_recall_plot(curve: Curve, share_all: float) -> Figure:
    """Plot precision and recall; ``share_all`` is the precision of calling every cell ALL."""
    figure, axes = one_panel(3.2, 3.1)
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
def subjects_plot(subjects: pl.DataFrame) -> Figure:
    """Plot each subject's accuracy with its interval, worst first; at most ``MOST_SUBJECTS``."""
    shown = subjects.head(MOST_SUBJECTS)
    figure, axes = one_panel(7.4, 0.95 + 0.21 * shown.height)
    plot_subjects(axes, shown, "accuracy")
    axes.set_xlim(-0.01, 1.01)
    of = f"the worst {shown.height} of {subjects.height}" if subjects.height > MOST_SUBJECTS else ""
    axes.set(xlabel="cells called correctly, 95 % interval", title=f"Subjects (cells) {of}")
    _legend(axes, [name for name in COLOURS if name in set(shown["label"])])
    return figure


@styled
def learning_plot(history: pl.DataFrame) -> Figure:
    """Plot loss and accuracy by epoch, with the epoch of the lowest validation loss marked."""
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
    """Return the row of the lowest validation loss, the earlier in a tie; None without one."""
    rows = history.filter(pl.col("val_loss").is_not_null() & pl.col("val_loss").is_not_nan())
    return rows.sort("val_loss", maintain_order=True).row(0, named=True) if rows.height else None


def _legend(axes: Axes, labels: Sequence[str]) -> None:
    marks = [
        Line2D([], [], marker="o", color=COLOURS[name], linestyle="", label=LABELS[name])
        for name in labels
    ]
    axes.legend(handles=marks, loc="lower left", bbox_to_anchor=(0.62, 1.0), ncols=len(marks))


def decision_plots(found: DecisionAssessment, is_all: NDArray[np.bool_]) -> dict[str, Figure]:
    """Draw the plots of decisions, by name; ``is_all`` is the truth of the assessed cells."""
    curve = decision_curve(is_all, found.calls.p_all)
    drawn = {
        "reliability": reliability_plot(found),
        "risk-coverage": risk_plot(found),
        "decision-curve": decision_curve_plot(curve),
    }
    if found.subject_shares["share"].is_not_null().any():
        drawn["shares"] = shares_plot(found.subject_shares)
    return drawn


@styled
def reliability_plot(found: DecisionAssessment) -> Figure:
    """Plot the share of ALL cells against the probability of ALL, in bins of as many cells."""
    figure, axes = one_panel(3.4, 3.2)
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=":", label="calibrated")
    after = "calibrated" if found.decision.calibration.method != "none" else "as used"
    for name, of, colour in (("the network's", found.before, QUIET), (after, found.after, INK)):
        axes.plot(
            of.predicted, of.observed, "o-", color=colour, markersize=4, linewidth=1.2,
            label=f"{name}, ECE {of.ece:.3f}",
        )  # fmt: skip
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal", title="Reliability")
    axes.set(xlabel="probability of ALL", ylabel="share of ALL cells")
    axes.legend(loc="upper left", fontsize=7)
    return figure


@styled
def risk_plot(found: DecisionAssessment) -> Figure:
    """Plot the share of wrong calls among those kept, and the chosen referral."""
    figure, axes = one_panel(3.4, 3.2)
    curve, wanted = found.curve, found.decision.referral.wanted
    axes.plot(curve.coverage, curve.risk, color=INK, label=f"AURC {curve.area:.4f}")
    axes.axhline(wanted, color=QUIET, linewidth=1, linestyle=":", label=f"requested: {wanted:g}")
    kept, error = found.estimates["kept"], found.estimates["kept_error"]
    if error.known:
        axes.plot([kept.value] * 2, [error.low, error.high], color=COLOURS["all"], linewidth=1.2)
        axes.plot(kept.value, error.value, "o", color=COLOURS["all"], label="after referral")
    axes.set(xlim=(0, 1.01), ylim=(0, None), xlabel="share of cells kept")
    axes.set(ylabel="wrong calls among them", title="Risk and coverage")
    axes.legend(loc="upper left", fontsize=7)
    return figure


@styled
def decision_curve_plot(curve: DecisionCurve) -> Figure:
    """Plot net benefit by threshold, of the model and of calling every cell ALL or none."""
    figure, axes = one_panel(3.4, 3.2)
    top = max(float(curve.model.max()), float(curve.every_cell.max()))
    axes.plot(curve.threshold, curve.every_cell, color=QUIET, linewidth=1, label="every cell ALL")
    axes.axhline(0, color=QUIET, linewidth=1, linestyle=":", label="no cell ALL")
    axes.plot(curve.threshold, curve.model, color=INK, label="the model's calls")
    axes.set(xlim=(0, 1), ylim=(-0.1 * top, 1.05 * top), title="Decision curve")
    axes.set(xlabel="called ALL from this probability on", ylabel="net benefit")
    axes.legend(loc="lower left", fontsize=7)
    return figure


@styled
def shares_plot(shares: pl.DataFrame) -> Figure:
    """Plot each subject's corrected share of blasts with its interval, and the 20 to 25 % line.

    Of more than ``MOST_SUBJECTS`` those with the most wrong calls are drawn; a share that is not
    estimable or not corrected is not.
    """
    left_out = {
        "not estimable": shares.filter(pl.col("line") == "not estimable").height,
        "not corrected": shares["line"].null_count(),
    }
    shares = shares.filter(pl.col("share").is_not_null())
    shown = shares.head(MOST_SUBJECTS).sort("share", "subject")
    figure, axes = one_panel(7.4, 0.95 + 0.21 * shown.height)
    axes.axvspan(*LINE, color=QUIET, alpha=0.25, linewidth=0)
    plot_subjects(axes, shown, "share")
    axes.plot(shown["called"], range(shown.height), "|", color=INK, markersize=7)
    axes.set_xlim(-0.01, 1.01)
    axes.set(xlabel="share of blasts; | as called, • corrected with its 95 % interval")
    of = f", the worst {shown.height} of {shares.height}" if shares.height > MOST_SUBJECTS else ""
    of += "".join(f", {count} {why}" for why, count in left_out.items() if count)
    axes.set(title=f"Share of blasts by subject (cells){of}; grey: 20 to 25 %")
    return figure
