"""Write numbers and the words that stand beside them: one way on pages, cards and the screen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # scipy.stats comes with them
    from blastscope.evaluation.confidence_intervals import Estimate
    from blastscope.evaluation.spread import Spread

DASH = "–"
"""Stands for what is undefined."""
SIGNIFICANCE = 0.05
"""The significance level; no p-value is rounded across it."""
LABELS = {"all": "ALL", "hem": "normal", "mixed": "mixed labels"}
PROTOCOLS = {
    "image": "image-level split",
    "subject": "subject-disjoint split",
    "official": "official split by subject",
    "paper": "the paper's split",
}
HEADLINE = {
    "weighted_f1": "weighted F1",
    "auc": "AUC",
    "recall_all": "sensitivity",
    "recall_hem": "specificity",
}
"""The metrics that a reader asks for first."""
METRIC_NAMES = {
    "weighted_f1": "weighted F1",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC",
    "average_precision": "average precision",
    "mcc": "Matthews correlation",
    "precision_all": "precision, ALL",
    "recall_all": "recall, ALL (sensitivity)",
    "precision_hem": "precision, normal",
    "recall_hem": "recall, normal (specificity)",
    "tn": "normal called normal (TN)",
    "fp": "normal called ALL (FP)",
    "fn": "ALL called normal (FN)",
    "tp": "ALL called ALL (TP)",
    "n": "cells",
    "n_subjects": "subjects",
}
POOLED_TEXT = "AUC pools the cells of several networks, and within folds it may differ."
EXCHANGED_TEXT = (
    "AUC far below one half: labels may be exchanged (ALL and normal), or the probability may be "
    "that of a normal cell; check both before you use any metric."
)
LEARNING_NAMES = {
    "train_loss": "training loss",
    "train_accuracy": "training accuracy",
    "val_loss": "validation loss",
    "val_accuracy": "validation accuracy",
}
"""Metrics of training; published ones are of the epoch of the lowest validation loss (3.1)."""


def number(
    value: float | int | None, digits: int = 4, *, percent: bool = False, sign: bool = False
) -> str:
    """Write a number: ``1,067`` for a count, ``0.8312`` for a metric, a dash if it is undefined.

    Args:
        value: the number; None or NaN if it is undefined.
        digits: decimal places of what is not a count.
        percent: multiply by 100 and add a percent sign.
        sign: write the plus of a number above zero.
    """
    if value is None or math.isnan(value):
        return DASH
    if isinstance(value, int) and not percent:
        text = f"{value:,}"
    else:
        text = decimals(100 * value if percent else value, digits)
        if float(text) == 0:
            text = text.removeprefix("-")
    if sign and value > 0 and text.strip("0.,"):
        text = f"+{text}"
    return text.replace("-", "−") + (" %" if percent else "")


def decimals(value: float, digits: int) -> str:
    """Write a number with ``digits`` decimal places.

    A metric has one text wherever it is printed, although two ways to add up its terms leave
    different last bits: 0.37875 and 0.37875000000000003 are both ``0.3787``.
    """
    return f"{round(value, 12):.{digits}f}"


def signed(value: float | None, digits: int = 4) -> str:
    """Write a difference with its sign: ``+0.0120``; what rounds to zero has none."""
    return number(value, digits, sign=True)


def percent(share: float | None, digits: int = 1) -> str:
    """Write a share as ``80.2 %``."""
    return number(share, digits, percent=True)


def requested(share: float, digits: int = 0) -> str:
    """Write a share that a user asked for, with as many digits as it has: ``99.5 %``."""
    exact = (n for n in range(digits, 6) if abs(round(100 * share, n) - 100 * share) < 1e-9)
    return percent(share, next(exact, 6))


def interval(
    found: Estimate | tuple[float, float] | None,
    digits: int = 3,
    *,
    percent: bool = False,
    sign: bool = False,
) -> str:
    """Write the bounds of an interval: ``0.801 to 0.863``; nothing if there is none."""
    if found is None:
        return ""
    low, high = found if isinstance(found, tuple) else (found.low, found.high)
    if math.isnan(low):
        return ""
    first, last = (number(end, digits, percent=percent, sign=sign) for end in (low, high))
    return f"{first.removesuffix(' %')} to {last}"


def metric(found: Estimate, digits: int = 3, *, percent: bool = False, sign: bool = False) -> str:
    """Write a metric with its 95 % interval, if it has one: ``0.831 (0.801 to 0.863)``."""
    value = number(found.value, digits, percent=percent, sign=sign)
    bounds = interval(found, digits, percent=percent, sign=sign)
    return f"{value} ({bounds})" if bounds else value


def spread(
    found: Spread | None, digits: int = 4, *, sign: bool = False, count: bool = False
) -> str:
    """Write a mean and a standard deviation: ``0.9041 ± 0.0052``, with ``(n = 3)`` if counted."""
    if found is None:
        return DASH
    mean = number(found.mean, digits, sign=sign)
    if found.deviation is None:
        return mean
    many = f" (n = {found.n})" if count else ""
    return f"{mean} ± {number(found.deviation, digits)}{many}"


def p_number(p: float | None) -> str:
    """Write a p-value for a column that is headed p: ``0.012`` or ``< 0.001``."""
    if p is None or math.isnan(p):
        return DASH
    if p < 0.001:
        return "< 0.001"
    across = (round(p, 3) <= SIGNIFICANCE) != (p <= SIGNIFICANCE)
    return f"{p:.{5 if across else 3}f}"


def p_value(p: float | None) -> str:
    """Write a p-value for a sentence: ``p = 0.012`` or ``p < 0.001``."""
    text = p_number(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def counted(n: int, noun: str = "cell", plural: str = "") -> str:
    """Write a number of things: ``1 cell``, ``1,067 cells``."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def megabytes(size: int, digits: int = 1) -> str:
    """Write a number of bytes: ``16.4 MB``."""
    return f"{size / 1e6:,.{digits}f} MB"


def every(n: int, noun: str = "model") -> str:
    """Name all of several things: ``both models``, ``all 3 models``."""
    return f"{'both' if n == 2 else f'all {n}'} {noun}s"


def listed(words: Sequence[str], last: str = "and") -> str:
    """Join words: ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def protocol_name(protocol: str | None) -> str:
    """Spell out a split's protocol."""
    return "unknown split" if protocol is None else PROTOCOLS.get(protocol, protocol)


def escaped(text: str) -> str:
    """Escape Markdown and HTML in names that a user chose."""
    for mark in "\\`*_[]<>|#":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


def readings_text(readings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Write what was assumed of each table, which subjects were joined and what is left out."""
    said = []
    for where, told in readings.items():
        parts = []
        if told.get("assumed"):
            parts.append(f"read with {listed(told['assumed'])}")
        if joined := told.get("joined"):
            parts.append(
                f"{counted(len(joined), 'subject')} written in several ways, each taken for one "
                f"({groups_of_names(list(joined.values()))})"
            )
        if alike := told.get("alike"):
            parts.append(
                f"subjects that may be one and are taken for several ({groups_of_names(alike)}): "
                "write each in one way"
            )
        parts += _unusable_text(told.get("unusable", ()))
        said.append(f"{where}: {'; '.join(parts)}.")
    return said


def groups_of_names(groups: Sequence[Sequence[str]]) -> str:
    """Write groups of names, at most three of them."""
    more = f" and {len(groups) - 3} more" if len(groups) > 3 else ""
    return "; ".join(" and ".join(names) for names in groups[:3]) + more


def _unusable_text(unusable: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write how many cells of each model and part could not be used."""
    found: dict[tuple[str, str], dict[str | None, int]] = {}
    for row in unusable:
        found.setdefault((row["model"], row["part"]), {})[row["label"]] = row["cells"]
    said = []
    for (model, part), cells in found.items():
        classes = f"{cells.get('all', 0):,} ALL and {cells.get('hem', 0):,} normal {part} cells"
        if unlabelled := cells.get(None):
            classes += f", and {unlabelled:,} without a label,"
        said.append(f"{classes} could not be used by {model} and are left out")
    return said
