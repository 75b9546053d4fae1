"""The figures of a comparison: what matters is how wide the intervals are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from blastscope.evaluation.comparison import Comparison, ModelPair, by_lead
from blastscope.evaluation.confidence_intervals import Estimate
from blastscope.report.style import INK, QUIET, save, styled
from blastscope.report.text import HEADLINE

MOST_PAIRS = 30
_LETTERS, _LINES = 26, 2


def draw_comparison(comparison: Comparison, folder: Path) -> dict[str, Path]:
    """Draw a comparison's figures into ``folder``, as PNG and SVG.

    Returns:
        The SVG of each figure: ``models``, and ``differences`` where there are pairs.

    Raises:
        BlastscopeError: where the folder cannot be written.
    """
    drawn = {"models": models_figure(comparison)}
    if comparison.pairs:
        drawn["differences"] = differences_figure(comparison.pairs)
    return {name: save(figure, folder, name) for name, figure in drawn.items()}


@styled
def models_figure(comparison: Comparison) -> Figure:
    """Each model's weighted F1, AUC, sensitivity and specificity with their 95 % intervals."""
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
        axes.set_title(HEADLINE[name])
    figure.supxlabel("95 % intervals; filled: the highest weighted F1", fontsize=8, color=QUIET)
    return figure


@styled
def differences_figure(pairs: Sequence[ModelPair]) -> Figure:
    """Differences between models with paired 95 % intervals, the largest first.

    Each is of the model of the higher weighted F1 less the other; at most ``MOST_PAIRS``.
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
        axes.set_title(f"difference in {title}")
    cut = f"; the {MOST_PAIRS} largest of {len(led)}" if len(led) > MOST_PAIRS else ""
    words = f"paired 95 % intervals; filled: zero is left out{cut}"
    figure.supxlabel(words, fontsize=8, color=QUIET)
    return figure


def shortened(name: str, lines: int = _LINES) -> str:
    """Break a model's name into lines that fit beside a figure, and cut what is too long.

    A control character is not allowed in an SVG.
    """
    plain = "".join(letter if letter.isprintable() else "?" for letter in name)
    parts = wrap(plain, _LETTERS) or ["?"]
    kept = parts[:lines]
    if len(parts) > lines:
        kept[-1] = kept[-1][: _LETTERS - 1] + "…"
    return "\n".join(kept)


def _rows(width: float, names: Sequence[str], panels: int) -> tuple[Figure, Sequence[Axes]]:
    """Make a figure with a row a name and the names beside the first panel only."""
    lines = sum(1 + name.count("\n") for name in names)
    figure = Figure(figsize=(width, 1.0 + 0.17 * lines + 0.1 * len(names)), layout="constrained")
    found: Sequence[Axes] = list(np.atleast_1d(figure.subplots(1, panels)))
    for axes in found:
        axes.set_yticks(range(len(names)), names if axes is found[0] else [""] * len(names))
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
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
