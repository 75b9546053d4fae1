"""The folds of a cross-validation: their metrics, how they were cut; a measurement of leakage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from blastscope.data.folds import FoldCut
from blastscope.errors import listing
from blastscope.evaluation.leakage import Leakage
from blastscope.evaluation.spread import Spread
from blastscope.experiments.crossval_metrics import CrossvalMetrics
from blastscope.io.files import write_json, write_text
from blastscope.io.workfolder import refuse_foreign
from blastscope.report.data_text import shared_folds_text, together_text
from blastscope.report.evaluation_text import leakage_text, sampling_text
from blastscope.report.html import render, svg_uri
from blastscope.report.style import COLOURS, INK, QUIET, name_rows, one_panel, save, styled
from blastscope.report.text import HEADLINE, LABELS, number, signed, spread

Line = tuple[str, ...]
CONTENT = "leakage.json"


@dataclass(frozen=True)
class FoldsTable:
    """The folds, row by row, for the page and the command line.

    Attributes:
        head: the columns' names.
        folds: a row a fold, and one a repeat of all its cells together.
        spread: rows of means and standard deviations.
        headline: the same in a line.
    """

    head: Line
    folds: tuple[Line, ...]
    spread: tuple[Line, ...]
    headline: str


def folds_table(found: CrossvalMetrics) -> FoldsTable:
    """Return the folds as rows, with their mean and standard deviation."""
    repeats = len(found.pooled)
    folds = [
        (
            f"{f.repeat}.{f.fold}" if repeats > 1 else str(f.fold),
            str(len(f.tested["all"])),
            _subjects(f.tested["hem"]),
            number(f.metrics["n"]),
            *(number(f.metrics[name]) for name in HEADLINE),
        )
        for f in found.folds
    ]
    for repeat, pooled in enumerate(found.pooled, 1):
        name = f"all folds, {repeat}" if repeats > 1 else "all folds"
        metrics = (number(pooled[key]) for key in HEADLINE)
        folds.append((name, "", "", number(pooled["n"]), *metrics))
    over_folds = (_spread(found.over_folds(key), len(found.folds)) for key in HEADLINE)
    spreads = [(f"mean over {len(found.folds)} folds", "", "", "", *over_folds)]
    if repeats > 1:
        over_repeats = (spread(found.over_repeats(key)) for key in HEADLINE)
        spreads.append((f"all cells, mean over {repeats} repeats", "", "", "", *over_repeats))
    head = ("fold", "ALL subjects", "normal subjects", "cells", *HEADLINE.values())
    return FoldsTable(head, tuple(folds), tuple(spreads), _headline(found))


def cut_text(cut: FoldCut) -> tuple[str, ...]:
    """Write how folds were cut, which of them have one class only, and what chooses the epoch."""
    if cut.by == "matched":
        return (
            f"{cut.folds} folds by cell, with as many cells of each class in each part as by "
            "subject: subjects are in training and test alike.",
        )
    told = [_way(cut)]
    if cut.kept_together:
        told.append(together_text(cut.kept_together))
    if cut.shared_pixels:
        told.append(shared_folds_text(cut.shared_pixels))
    if cut.one_class:
        told.append(f"Fold {listing([*map(str, cut.one_class)])}: cells of one class, so no AUC.")
    if cut.by == "image":
        chosen = (
            "A fifth of the cells that a fold does not test, drawn at random, choose the epoch."
        )
        return (*told, chosen)
    if cut.whole == cut.folds:
        return (*told, "Subjects of their own choose the epoch.")
    some = " in some folds" if cut.whole else ""
    fifth = "A fifth of the training subjects' cells, drawn at random, choose the epoch"
    return (*told, f"{fifth}{some}; no tested subject is among them.")


def _way(cut: FoldCut) -> str:
    if cut.by == "image":
        return (
            f"{cut.folds} folds by cell: subjects are in training and test alike, so these metrics "
            "say nothing about unseen patients."
        )
    if cut.scarce is not None:
        counted = " (those kept together count as one)" if cut.kept_together else ""
        return (
            f"Only {cut.folds} subjects{counted} have {LABELS[cut.scarce]} cells, fewer than the "
            f"{cut.asked} folds asked for: in {cut.folds} folds one of them is left out at a time, "
            "each with a share of the other class's subjects."
        )
    which = f"The data set's own folds, {listing(cut.names)}" if cut.names else ""
    return f"{which or f'{cut.folds} folds by subject'}: no subject is in two of them."


def _subjects(names: list[str]) -> str:
    """Count them, and name a few: ``2 (H1, H5)``."""
    return f"{len(names)} ({', '.join(names)})" if 0 < len(names) <= 3 else str(len(names))


def _headline(found: CrossvalMetrics) -> str:
    folds = len(found.folds)
    told = f"mean over {folds} folds ± standard deviation: {_each(found.over_folds, folds)}"
    if len(found.pooled) > 1:
        repeats = len(found.pooled)
        told += f"; all cells together over {repeats} repeats: {_each(found.over_repeats)}"
    return told


def _each(over: Callable[[str], Spread | None], folds: int = 0) -> str:
    found = ((shown, over(name)) for name, shown in HEADLINE.items())
    return ", ".join(f"{shown} {_spread(one, folds)}" for shown, one in found if one is not None)


def _spread(found: Spread | None, folds: int = 0) -> str:
    """Write a spread, and over how many folds if not all ``folds`` have the metric."""
    if found is None or found.n >= folds:
        return spread(found)
    return f"{spread(found)} (of {found.n} folds)"


def write_leakage(found: Leakage, recipe: str, out: Path) -> None:
    """Write ``leakage.json``, ``figures/leakage.*`` and a self-contained ``report.html``.

    Raises:
        BlastscopeError: if the folder is another report's, or cannot be written.
    """
    refuse_foreign(out, CONTENT, ["report.html"])
    write_json(out / CONTENT, {"recipe": recipe, **found.as_json()})
    plot = save(leakage_plot(found), out / "figures", "leakage")
    page = render(
        "leakage.html",
        title=f"{recipe}: leakage of an image-level split",
        synthetic=found.synthetic,
        found=found,
        answer=leakage_text(found),
        sampling=sampling_text(found.sampling),
        plot=svg_uri(plot),
    )
    write_text(out / "report.html", page)


@styled
def leakage_plot(found: Leakage) -> Figure:
    """Plot each metric with the cells' subjects in training and unseen, with 95 % intervals."""
    shown = [name for name in HEADLINE if found.gains[name].difference.known]
    figure, axes = one_panel(7.4, 0.9 + 0.62 * len(shown))
    for row, name in enumerate(shown):
        gain = found.gains[name]
        ends = ((gain.known, -0.14, COLOURS["mixed"]), (gain.unseen, 0.14, INK))
        for estimate, shift, colour in ends:
            place = row + shift
            axes.plot([estimate.low, estimate.high], [place, place], color=colour, linewidth=1.4)
            axes.plot(estimate.value, place, "o", color=colour, markersize=6)
        axes.annotate(
            signed(gain.difference.value, 3), (1.01, row), xycoords=("axes fraction", "data"),
            va="center", color=INK,
        )  # fmt: skip
    name_rows(axes, [HEADLINE[name] for name in shown])
    figure.supxlabel(
        "grey: subjects in training; black: unseen subjects; bars: 95 % intervals; "
        "right: the difference",
        fontsize=8,
        color=QUIET,
    )
    return figure
