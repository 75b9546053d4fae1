"""Metrics of decisions, for thousands of resamples at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from blastscope.decision.calibration import Bools, Floats
from blastscope.decision.decision import Decided

Counts = NDArray[np.unsignedinteger]


class DecisionMetrics:
    """Sums over cells, and their ratios, under any weights of the cells.

    The calibration error is not among them: every draw adds to it, so that an interval by resamples
    lies above the truth (none of 300 simulated ones contained it if probabilities were right).
    :class:`blastscope.decision.reliability.Reliability` says what chance adds instead.

    Arguments have shape (n,); ``raw`` is the network's own probability of ALL.
    """

    def __init__(self, is_all: Bools, raw: Floats, decided: Decided) -> None:
        one, kept = np.ones(len(is_all)), ~decided.refer
        right = decided.called == is_all
        held = np.where(is_all, decided.sets[:, 1], decided.sets[:, 0])
        size = decided.sets.sum(axis=1)
        ratios = {
            "brier_before": ((raw - is_all) ** 2, one),
            "brier": ((decided.p_all - is_all) ** 2, one),
            "accuracy": (right, one),
            "sensitivity": (right & is_all, is_all),
            "specificity": (right & ~is_all, ~is_all),
            "precision_all": (right & decided.called, decided.called),
            "precision_hem": (right & ~decided.called, ~decided.called),
            "kept": (kept, one),
            "kept_all": (kept & is_all, is_all),
            "kept_hem": (kept & ~is_all, ~is_all),
            "kept_error": (kept & ~right, kept),
            "kept_missed": (kept & ~right & is_all, kept & is_all),
            "covered": (held, one),
            "covered_all": (held & is_all, is_all),
            "covered_hem": (held & ~is_all, ~is_all),
            "single": (size == 1, one),
            "both": (size == 2, one),
            "neither": (size == 0, one),
        }
        self.names = (*ratios, "weighted_f1")
        self._above = np.column_stack([above for above, _ in ratios.values()]).astype(np.float64)
        self._below = np.column_stack([below for _, below in ratios.values()]).astype(np.float64)
        self._at = {name: place for place, name in enumerate(ratios)}

    def of(self, weights: Counts) -> Floats:
        """Compute the metrics under weights of shape (resamples, cells).

        Returns:
            Shape (resamples, ``len(names)``); NaN if there is nothing to divide by.
        """
        drawn = weights.astype(np.float64)
        above, below = drawn @ self._above, drawn @ self._below
        ratios = np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
        return np.column_stack([ratios, self._weighted_f1(above, below)])

    def _weighted_f1(self, above: Floats, below: Floats) -> Floats:
        """Weigh each class's F1 by its cells; a class that is never called has an F1 of 0."""
        scores = []
        for recall, precision in (
            ("sensitivity", "precision_all"),
            ("specificity", "precision_hem"),
        ):
            right, cells = above[:, self._at[recall]], below[:, self._at[recall]]
            called = below[:, self._at[precision]]
            total = cells + called
            f1 = np.divide(2 * right, total, out=np.zeros_like(total), where=total > 0)
            scores.append(cells * f1)
        found: Floats = sum(scores) / below[:, self._at["accuracy"]]
        return found
