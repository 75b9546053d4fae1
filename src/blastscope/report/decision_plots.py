"""The figures of decisions: reliability, risk and coverage, the share of blasts by person."""

from __future__ import annotations

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from blastscope.decision.assessment import DecisionAssessment
from blastscope.decision.blast_share import LINE
from blastscope.decision.reliability import Reliability
from blastscope.report.plots import MOST_SUBJECTS, plain
from blastscope.report.style import COLOURS, INK, QUIET, styled

NAMES = ("reliability", "risk-coverage", "shares")


def decision_figures(found: DecisionAssessment) -> dict[str, Figure]:
    """Draw what a judgement has, by figure name (``NAMES``)."""
    drawn = {"reliability": reliability_figure(found), "risk-coverage": risk_figure(found)}
    if found.persons["share"].is_not_null().any():
        drawn["shares"] = shares_figure(found.persons)
    return drawn


@styled
def reliability_figure(found: DecisionAssessment) -> Figure:
    """The share of ALL cells against the probability of ALL, in bins of as many cells."""
    figure = Figure(figsize=(3.4, 3.3), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=":", label="exactly right")
    after = "calibrated" if found.decision.calibration.method != "none" else "as decided on"
    for name, of, colour in (("the network's", found.before, QUIET), (after, found.after, INK)):
        _plot_reliability(axes, of, f"{name}, ECE {of.ece:.3f}", colour)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal", title="Reliability")
    axes.set(xlabel="probability of ALL", ylabel="share of ALL cells")
    axes.legend(loc="upper left", fontsize=7)
    return figure


def _plot_reliability(axes: Axes, of: Reliability, label: str, colour: str) -> None:
    axes.plot(
        of.predicted, of.observed, "o-", color=colour, markersize=4, linewidth=1.2, label=label
    )


@styled
def risk_figure(found: DecisionAssessment) -> Figure:
    """The share of wrong calls among those kept, and where the referral was set."""
    figure = Figure(figsize=(3.4, 3.3), layout="constrained")
    axes = figure.subplots()
    curve, wanted = found.curve, found.decision.referral.wanted
    axes.plot(curve.coverage, curve.risk, color=INK, label=f"AURC {curve.area:.4f}")
    axes.axhline(wanted, color=QUIET, linewidth=1, linestyle=":", label=f"asked for: {wanted:g}")
    kept, error = found.estimates["kept"], found.estimates["kept_error"]
    if error.known:
        axes.plot([kept.value] * 2, [error.low, error.high], color=COLOURS["all"], linewidth=1.2)
        axes.plot(kept.value, error.value, "o", color=COLOURS["all"], label="as referred")
    axes.set(xlim=(0, 1.01), ylim=(0, None), xlabel="share of cells kept")
    axes.set(ylabel="wrong calls among them", title="Risk and coverage")
    axes.legend(loc="upper left", fontsize=7)
    return figure


@styled
def shares_figure(persons: pl.DataFrame) -> Figure:
    """Each person's corrected share of blasts with its interval, and the 20 to 25 % line.

    Of more than ``MOST_SUBJECTS`` those with the most wrong calls are drawn.
    """
    shown = persons.head(MOST_SUBJECTS).sort("share", "subject")
    figure = Figure(figsize=(7.4, 0.95 + 0.21 * shown.height), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(*LINE, color=QUIET, alpha=0.25, linewidth=0)
    for row, person in enumerate(shown.iter_rows(named=True)):
        colour = COLOURS[person["label"] or "mixed"]
        axes.plot([person["low"], person["high"]], [row, row], color=colour, alpha=0.5)
        axes.plot(person["share"], row, "o", color=colour, markersize=4.5)
        axes.plot(person["called"], row, "|", color=INK, markersize=7)
    names = [f"{plain(name)}  ({n:,})" for name, n in shown.select("subject", "cells").iter_rows()]
    axes.set_yticks(range(shown.height), names)
    axes.set(xlim=(-0.01, 1.01), ylim=(shown.height - 0.4, -0.6))
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}")
    axes.set(xlabel="share of blasts; | as called, • corrected with its 95 % interval")
    of = f", the worst {shown.height} of {persons.height}" if persons.height > MOST_SUBJECTS else ""
    axes.set(title=f"Share of blasts by subject (cells){of}; grey: 20 to 25 %")
    return figure
