"""How far a figure moves from one training, split or fold to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev


@dataclass(frozen=True)
class Spread:
    """A figure over several runs.

    Attributes:
        mean: over them.
        deviation: the sample standard deviation; None of one.
        lowest: of them.
        highest: of them.
        n: how many there are.
    """

    mean: float
    deviation: float | None
    lowest: float
    highest: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """Summarise ``values``; None where there are none."""
        if not values:
            return None
        deviation = stdev(values) if len(values) > 1 else None
        return cls(fmean(values), deviation, min(values), max(values), len(values))
