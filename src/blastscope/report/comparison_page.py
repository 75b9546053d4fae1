"""The page of a comparison of models: metrics with intervals, plots, and verdicts on pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from blastscope.evaluation.comparison import Comparison, ModelPair, by_lead
from blastscope.evaluation.confidence_intervals import Estimate
from blastscope.evaluation.interval_coverage import FEW_SUBJECTS
from blastscope.report.comparison_with_size import size_view
from blastscope.report.evaluation_text import overlap_text, sampling_text
from blastscope.report.html import render, svg_uri
from blastscope.report.style import INK, QUIET, drawable, name_rows, save_all, styled, widen
from blastscope.report.text import (
    EXCHANGED_TEXT,
    HEADLINE,
    POOLED_TEXT,
    SIGNIFICANCE,
    counted,
    interval,
    listed,
    number,
    p_value,
    protocol_name,
    readings_text,
)

SHOWN = ("weighted_f1", "auc", "recall_all", "recall_hem", "precision_all", "precision_hem")
"""The metrics of the main table: those of the paper's tables of ensembles (3.4.2), and AUC."""
_OTHERS = ("accuracy", "balanced_accuracy", "average_precision", "mcc")
WITHOUT_WIDTH = (
    "An interval without width is not certainty: a model that makes no errors of a kind, or only "
    "such errors, makes none, or only such, in every resample."
)
MOST_OPEN = 10
"""More pairs than this are folded away."""
MOST_PAIRS = 30
_LETTERS, _LINES = 26, 2


def comparison_page(comparison: Comparison, pictures: Mapping[str, Path]) -> str:
    """Write the page of a comparison, as HTML that needs no other file.

    ``pictures`` are the SVG files of :func:`draw_comparison`.
    """
    title = f"{len(comparison.models)} models on the same {comparison.part} cells"
    view = comparison_view(comparison, pictures)
    return render(
        "comparison.html",
        title=title,
        synthetic=comparison.synthetic,
        comparison=view,
        beside=size_view(comparison),
    )


def exchanged_text(comparison: Comparison) -> list[str]:
    """Say which models may have labels or the sign of p exchanged; empty if none has."""
    names = comparison.exchanged
    return [f"{listed(list(names))}: {EXCHANGED_TEXT}"] if names else []


def pooled_text(comparison: Comparison) -> list[str]:
    """Say whose AUC is of several networks' cells together; empty if none is."""
    names = comparison.pooled
    if not names:
        return []
    return [f"{listed(list(names))}: {POOLED_TEXT} DeLong's test and differences are of that AUC."]


def comparison_view(comparison: Comparison, pictures: Mapping[str, Path]) -> dict[str, Any]:
    """Return what ``_comparison.html`` reads as ``comparison``; arguments as for the page.

    In each pair the better model is the first; the pair with the largest lead comes first.
    """
    pairs = by_lead(comparison.pairs)
    return {
        "found": comparison,
        "pairs": pairs,
        "verdicts": [verdict(pair, comparison) for pair in pairs],
        "headline": headline(comparison),
        "facts": _facts(comparison),
        "overlap": overlap_text(comparison.overlap),
        "read": [
            *exchanged_text(comparison),
            *pooled_text(comparison),
            *readings_text(comparison.readings),
        ],
        "sampling": sampling_text(comparison.sampling),
        "caution": WITHOUT_WIDTH if without_width(comparison) else "",
        "folded": len(pairs) > MOST_OPEN,
        "pictures": {name: svg_uri(path) for name, path in pictures.items()},
        "columns": SHOWN,
        "others": _OTHERS,
    }


def _facts(comparison: Comparison) -> str:
    normal = comparison.cells - comparison.cells_all
    subjects = "subjects not given"
    if comparison.subjects is not None:
        subjects = counted(comparison.subjects, "subject")
    cells = counted(comparison.cells, f"{comparison.part} cell")
    facts = (
        f"{cells} ({comparison.cells_all:,} ALL, {normal:,} normal)",
        subjects,
        split_text(comparison.protocols),
        "called ALL if p > 0.5",
    )
    return " · ".join(facts)


def split_text(protocols: Mapping[str, str | None]) -> str:
    """Write how the cells were split, with the models' names if they differ in it."""
    names: dict[str | None, list[str]] = {}
    for model, protocol in protocols.items():
        names.setdefault(protocol, []).append(model)
    if len(names) == 1:
        return protocol_name(next(iter(names)))
    return ", ".join(f"{protocol_name(one)} ({listed(of)})" for one, of in names.items())


def without_width(comparison: Comparison) -> bool:
    """Return whether some interval has no width, which a reader may take for certainty."""
    return any(
        metrics[name].known and metrics[name].low == metrics[name].high
        for metrics in comparison.estimates.values()
        for name in SHOWN
    )


def verdict(pair: ModelPair, comparison: Comparison) -> str:
    """Write which of two models is ahead, by how much, and whether that may be noise.

    The paired interval of weighted F1 decides; McNemar's test, corrected for the number of pairs,
    can only make a lead less sure, because it takes cells of one subject for independent.
    """
    led = pair.led()
    if led.alike:
        return f"{led.first} and {led.second} call every cell alike."
    lead = led.weighted_f1
    start = f"{led.first} is ahead of {led.second} by {_lead(lead.value)} weighted F1"
    if lead.value == 0:
        start = f"{led.first} and {led.second} have the same weighted F1"
    net = _net(led.only_first - led.only_second, comparison.cells)
    found = f"{start} ({net}), 95 % interval {interval(lead, 4)}: {_judgement(led, comparison)}."
    return f"{found}{_by_class(led, comparison)}{_power(led, comparison)}"


def _power(pair: ModelPair, comparison: Comparison) -> str:
    """Write which difference so few normal subjects cannot show, if there are few."""
    counts = comparison.sampling.counts if comparison.sampling.unit == "subject" else {}
    normal = counts.get("hem", 0) + counts.get("mixed", 0)
    if not 1 < normal <= FEW_SUBJECTS or not pair.detectable > 0:
        return ""
    if pair.detectable >= 1:  # no two AUCs are so far apart
        return f" {normal} normal subjects are too few to show any difference in AUC."
    return (
        f" {normal} normal subjects cannot show a difference in AUC below "
        f"{number(pair.detectable, 2)}."
    )


def _by_class(led: ModelPair, comparison: Comparison) -> str:
    """Explain a lead in weighted F1 of a model that calls fewer cells right, if it does."""
    if led.only_first >= led.only_second:
        return ""
    both = (comparison.estimates[name] for name in (led.first, led.second))
    first, second = (
        f"{number(one['recall_all'].value)} and {number(one['recall_hem'].value)}" for one in both
    )
    return (
        " Fewer cells right and a weighted F1 that is not lower go together if the errors lie in "
        f"other classes: {led.first} has sensitivity and specificity {first}, {led.second} "
        f"{second}."
    )


def _judgement(led: ModelPair, comparison: Comparison) -> str:
    unlikely = led.mcnemar_p_holm <= SIGNIFICANCE
    tests = len(comparison.pairs)
    corrected = f", corrected for {tests} pairs" if tests > 1 else ""
    test = f"McNemar's exact test of the calls ({p_value(led.mcnemar_p_holm)}{corrected})"
    if led.weighted_f1.above_zero:
        if not unlikely:
            return (
                f"not certain, because the interval excludes zero but {test} does not show a "
                "difference"
            )
        return _certain(comparison)
    if unlikely:
        return (
            f"within noise by the interval, although {test}, which takes all cells for "
            "independent, shows a difference"
        )
    return "within noise"


def _certain(comparison: Comparison) -> str:
    """Write what a lead beyond noise rests on: many subjects, a few, or cells only."""
    fewest = comparison.sampling.fewest
    if fewest is None:
        return "beyond noise for these cells; the interval does not contain how subjects differ"
    if fewest == 1:
        return "beyond noise for these subjects; one class has one subject, so others may differ"
    if fewest <= FEW_SUBJECTS:
        return (
            f"beyond noise for these subjects, but with {fewest} of a class such intervals contain "
            "the true value less often than 95 %"
        )
    return "beyond noise"


def headline(comparison: Comparison) -> str:
    """Write which model is best, whether it is ahead of the next, and of how many others."""
    if len(comparison.models) == 2 and comparison.pairs:
        return verdict(comparison.pairs[0], comparison)
    ranked = sorted(
        comparison.models, key=lambda name: -comparison.estimates[name]["weighted_f1"].value
    )
    best = ranked[0]
    score = comparison.estimates[best]["weighted_f1"]
    text = (
        f"Of {len(ranked)} models {best} has the highest weighted F1 on the {comparison.part} "
        f"cells, {number(score.value)} (95 % interval {interval(score, 4)})."
    )
    with_best = {
        pair.led().second if pair.led().first == best else pair.led().first: pair.led()
        for pair in comparison.pairs
        if best in (pair.first, pair.second)
    }
    if len(ranked) > 1 and ranked[1] in with_best:
        text += f" {verdict(with_best[ranked[1]], comparison)}"
    if len(with_best) > 1:
        behind = sum(_ahead(pair) for pair in with_best.values())
        text += (
            f" Its lead is beyond noise against {behind or 'none'} of the {len(with_best)} others, "
            "on the same cells that it was chosen on."
        )
    return text


def _ahead(pair: ModelPair) -> bool:
    """Whether both the interval and the test show a lead."""
    return pair.weighted_f1.above_zero and pair.mcnemar_p_holm <= SIGNIFICANCE


def _net(net: int, cells: int) -> str:
    if net == 0:
        return f"the same number of cells right, of {cells:,}"
    more = "more" if net > 0 else "fewer"
    return f"{counted(abs(net), f'{more} cell')} right of {cells:,}"


def _lead(value: float) -> str:
    return "less than 0.0001" if value < 0.00005 else number(value)


def draw_comparison(comparison: Comparison, folder: Path) -> dict[str, Path]:
    """Draw a comparison's plots into ``folder``, as PNG and SVG.

    Returns:
        The SVG of each plot: ``models``, and ``differences`` if there are pairs.

    Raises:
        BlastscopeError: if the folder cannot be written.
    """
    drawn = {"models": models_plot(comparison)}
    if comparison.pairs:
        drawn["differences"] = differences_plot(comparison.pairs)
    return save_all(drawn, folder, ())


@styled
def models_plot(comparison: Comparison) -> Figure:
    """Plot each model's weighted F1, AUC, sensitivity and specificity with their 95 % intervals."""
    models = comparison.models
    shown = [
        name for name in HEADLINE if any(comparison.estimates[one][name].known for one in models)
    ]
    figure, panels = _rows(9.2, [shortened(name) for name in models], len(shown))
    best = max(comparison.estimates[model]["weighted_f1"].value for model in models)
    for axes, name in zip(panels, shown, strict=True):
        for row, model in enumerate(models):
            found = comparison.estimates[model]
            _plot(axes, row, found[name], filled=found["weighted_f1"].value == best)
        widen(axes, 0.1)
        axes.set(title=HEADLINE[name], xlim=np.clip(axes.get_xlim(), -0.01, 1.01))
    figure.supxlabel("95 % intervals; filled: the highest weighted F1", fontsize=8, color=QUIET)
    return figure


@styled
def differences_plot(pairs: Sequence[ModelPair]) -> Figure:
    """Plot differences between models with paired 95 % intervals, the largest first.

    Each is that of the model of the higher weighted F1 minus the other; at most ``MOST_PAIRS``.
    """
    led = by_lead(pairs)
    shown = led[:MOST_PAIRS]
    panels: dict[str, Callable[[ModelPair], Estimate]] = {
        "weighted F1": lambda pair: pair.weighted_f1
    }
    if any(pair.auc.known for pair in shown):
        panels["AUC"] = lambda pair: pair.auc
    names = [f"{shortened(pair.first, 1)}\n− {shortened(pair.second, 1)}" for pair in shown]
    figure, drawn = _rows(7.4, names, len(panels))
    for axes, (title, difference) in zip(drawn, panels.items(), strict=True):
        axes.axvline(0, color=INK, linewidth=1)
        for row, pair in enumerate(shown):
            estimate = difference(pair)
            clear = estimate.above_zero or estimate.negated().above_zero
            _plot(axes, row, estimate, filled=clear)
        widen(axes, 0.02)
        axes.set_title(f"difference in {title}")
    cut = f"; the {MOST_PAIRS} largest of {len(led)}" if len(led) > MOST_PAIRS else ""
    words = f"paired 95 % intervals; filled: the interval excludes zero{cut}"
    figure.supxlabel(words, fontsize=8, color=QUIET)
    return figure


def shortened(name: str, lines: int = _LINES) -> str:
    """Break a model's name into lines that fit beside a plot, and cut what is too long."""
    parts = wrap(drawable(name, len(name)), _LETTERS) or ["?"]
    kept = parts[:lines]
    if len(parts) > lines:
        kept[-1] = kept[-1][: _LETTERS - 1] + "…"
    return "\n".join(kept)


def _rows(width: float, names: Sequence[str], panels: int) -> tuple[Figure, Sequence[Axes]]:
    """Make a plot with a row for each name, and the names beside the first panel only."""
    lines = sum(1 + name.count("\n") for name in names)
    figure = Figure(figsize=(width, 1.0 + 0.17 * lines + 0.1 * len(names)), layout="constrained")
    found: Sequence[Axes] = list(np.atleast_1d(figure.subplots(1, panels)))
    for axes in found:
        name_rows(axes, names if axes is found[0] else [""] * len(names))
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.08)
        axes.xaxis.set_major_locator(MaxNLocator(4 if panels > 2 else 5))
    return figure, found


def _plot(axes: Axes, row: int, estimate: Estimate, *, filled: bool) -> None:
    if not estimate.known:
        return
    axes.plot([estimate.low, estimate.high], [row, row], color=QUIET, solid_capstyle="butt")
    axes.plot(
        estimate.value, row, "o", color=INK, markersize=5.5, zorder=3,
        markerfacecolor=INK if filled else "white",
    )  # fmt: skip
