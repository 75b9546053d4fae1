"""How a study's figures are written: with their intervals, a minus sign being one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from blastscope.evaluation.confidence_intervals import Estimate

NAMES = {"all": "ALL", "hem": "normal"}


def told(estimate: Estimate, digits: int = 2, *, percent: bool = False, sign: bool = False) -> str:
    """Write a figure and, where it has one, its 95 % interval: ``0.83 (0.80 to 0.86)``.

    Args:
        estimate: what to write; a dash where it is undefined.
        digits: places behind the point.
        percent: write it times 100, with a percent sign.
        sign: give a figure above zero its plus.
    """
    value = figure(estimate.value, digits, percent=percent, sign=sign)
    bounds = bounds_of(estimate, digits, percent=percent)
    return f"{value} ({bounds})" if bounds else value


def change(estimate: Estimate) -> str:
    """Write a difference to stand in brackets itself: ``+0.120, 0.080 to 0.160``."""
    bounds = bounds_of(estimate, 3)
    return figure(estimate.value, 3, sign=True) + (f", {bounds}" if bounds else "")


def bounds_of(estimate: Estimate, digits: int = 2, *, percent: bool = False) -> str:
    """Write an interval's bounds; nothing where it has none."""
    if math.isnan(estimate.low):
        return ""
    low, high = (figure(x, digits, percent=percent) for x in (estimate.low, estimate.high))
    return f"{low.removesuffix(' %')} to {high}"


def figure(value: float, digits: int = 2, *, percent: bool = False, sign: bool = False) -> str:
    """Write a number; a dash where it is undefined."""
    if math.isnan(value):
        return "–"
    text = f"{100 * value if percent else value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    elif sign and value > 0:
        text = f"+{text}"
    return text.replace("-", "−") + (" %" if percent else "")


def listed(words: Sequence[str]) -> str:
    """Join words: ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def counted(n: int, noun: str = "cell") -> str:
    """Write a number of things: ``1 cell``, ``1,067 cells``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
