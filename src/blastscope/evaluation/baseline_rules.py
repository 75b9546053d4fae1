"""The rules without a network: always ALL, a threshold on size, a regression of size and colour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

SIZE = ("size",)
COLOURS = ("size", "lightness", "a_star", "b_star")
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class BaselineRule(Protocol):
    """What is fitted on some cells and scores others: ALL if the score is above .5."""

    def fit(self, features: Floats, is_all: Bools) -> BaselineRule:
        """Fit on features of shape (cells, columns)."""

    def score(self, features: Floats) -> Floats:
        """Return a score for each cell, in [0, 1]."""


class AlwaysAll:
    """Calls every cell ALL."""

    def fit(self, features: Floats, is_all: Bools) -> AlwaysAll:
        """Nothing is learnt."""
        return self

    def score(self, features: Floats) -> Floats:
        """One for each cell."""
        return np.ones(len(features))


class SizeRule:
    """Calls a cell ALL from one size on: the size that gives the highest weighted F1."""

    def __init__(self) -> None:
        self.threshold = np.inf

    def fit(self, features: Floats, is_all: Bools) -> SizeRule:
        """Try every size that occurs; of equals, the smallest."""
        sizes, place = np.unique(features[:, 0], return_inverse=True)
        n_all = np.bincount(place, is_all, len(sizes))
        n_hem = np.bincount(place, ~is_all, len(sizes))
        tp, fp = (counts[::-1].cumsum()[::-1] for counts in (n_all, n_hem))
        fn, tn = n_all.sum() - tp, n_hem.sum() - fp
        f1_all = 2 * tp / (2 * tp + fp + fn)
        f1_hem = np.divide(2 * tn, 2 * tn + fp + fn, out=np.zeros_like(f1_all), where=tn > 0)
        weighted = (n_all.sum() * f1_all + n_hem.sum() * f1_hem) / len(is_all)
        self.threshold = float(sizes[int(weighted.argmax())])
        return self

    def score(self, features: Floats) -> Floats:
        """Rise with size, and pass .5 at the threshold."""
        over = features[:, 0] - self.threshold
        # Half a pixel keeps the threshold itself on the side of ALL, and no size below it.
        from_half = np.where(over < 0, np.minimum(over + 0.5, over / 2), over + 0.5)
        scores: Floats = (1 + from_half / (1 + np.abs(from_half))) / 2
        return scores


class Logistic:
    """A logistic regression of standardised features.

    ``penalty`` is that of the squared coefficients: 1 is scikit-learn's own, more shrinks more.
    """

    def __init__(self, penalty: float = 1.0) -> None:
        self.penalty = penalty

    def fit(self, features: Floats, is_all: Bools) -> Logistic:
        """Fit scikit-learn's."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        regression = LogisticRegression(C=1 / self.penalty, max_iter=1000)
        self._model = make_pipeline(StandardScaler(), regression)
        self._model.fit(features, is_all)
        return self

    def score(self, features: Floats) -> Floats:
        """Return the probability of ALL."""
        found: Floats = self._model.predict_proba(features)[:, 1]
        return found


ALWAYS_ALL, SIZE_ALONE, SIZE_AND_COLOUR = "always ALL", "size", "size and colour"
FITTED: dict[str, tuple[Callable[[], BaselineRule], tuple[str, ...]]] = {
    SIZE_ALONE: (SizeRule, SIZE),
    SIZE_AND_COLOUR: (Logistic, COLOURS),
}
"""The rules that are fitted, by name, each with the measurements that it needs."""
