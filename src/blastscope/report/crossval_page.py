"""The folds of a cross-validation on the page of its evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from blastscope.evaluation.spread import Spread
from blastscope.experiments.crossval_metrics import CrossvalMetrics
from blastscope.report.text import HEADLINE, number, spread

Line = tuple[str, ...]


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
        figures = (number(pooled[key]) for key in HEADLINE)
        folds.append((name, "", "", number(pooled["n"]), *figures))
    over_folds = (spread(found.over_folds(key)) for key in HEADLINE)
    spreads = [(f"mean over {len(found.folds)} folds", "", "", "", *over_folds)]
    if repeats > 1:
        over_repeats = (spread(found.over_repeats(key)) for key in HEADLINE)
        spreads.append((f"all cells, mean over {repeats} repeats", "", "", "", *over_repeats))
    head = ("fold", "ALL subjects", "normal subjects", "cells", *HEADLINE.values())
    return FoldsTable(head, tuple(folds), tuple(spreads), _headline(found))


def _subjects(names: list[str]) -> str:
    """Name a few, count many."""
    return ", ".join(names) or "none" if len(names) <= 3 else str(len(names))


def _headline(found: CrossvalMetrics) -> str:
    folds = len(found.folds)
    told = f"mean over {folds} folds ± standard deviation: {_each(found.over_folds)}"
    if len(found.pooled) > 1:
        repeats = len(found.pooled)
        told += f"; all cells together over {repeats} repeats: {_each(found.over_repeats)}"
    return told


def _each(over: Callable[[str], Spread | None]) -> str:
    found = ((shown, over(name)) for name, shown in HEADLINE.items())
    return ", ".join(f"{shown} {spread(values)}" for shown, values in found if values is not None)
