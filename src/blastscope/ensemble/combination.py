"""How the probabilities of several models become one: the part of an ensemble that is applied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, Strict
from scipy.special import expit, logit

from blastscope.evaluation.metrics import THRESHOLD

Kind = Literal["weights", "votes", "logistic", "arbiter"]
Finite = Annotated[float, Strict(), Field(allow_inf_nan=False)]

TIE = 1e-12
"""A combined probability this near to the threshold is on it: .1 + .2 + .2 is a half, in whichever
order a computer adds it."""

_WITH_ARBITER = 3
_LEAST = 1e-6  # a certain model has a logit of 14, not of infinity


@dataclass(frozen=True)
class Combination:
    """A fixed rule that makes one probability of ALL from the probabilities of several models.

    Attributes:
        method: how it was found, one of ``methods.CHOICES``.
        kind: "weights", a weighted sum; "votes", the majority; "logistic", a sum of logits;
            "arbiter", the mean of the first two models, or the third if they disagree.
        weights: one a model, in the order of the columns. They need not sum to 1 (the weights that
            the paper publishes do not) and are applied as they are; votes count one each.
        intercept: added to the sum of logits.
        needed: of "votes", how many must call a cell ALL; None is the majority.
    """

    method: str
    kind: Kind
    weights: Annotated[tuple[Finite, ...], Field(min_length=1)]
    intercept: Finite = 0.0
    needed: Annotated[int, Strict(), Field(ge=1)] | None = None

    def __post_init__(self) -> None:
        """Refuse a rule that its models cannot follow.

        Raises:
            ValueError: if an arbiter has not two others, or more votes are needed than there are.
        """
        models = len(self.weights)
        if self.kind == "arbiter" and models != _WITH_ARBITER:
            raise ValueError(
                f"an arbiter decides between two others, and there are {models} models"
            )
        if self.needed is not None and (self.kind != "votes" or self.needed > models):
            raise ValueError(f"{models} models cannot give {self.needed} votes")

    def apply(self, p: NDArray[np.float64]) -> NDArray[np.float64]:
        """Combine probabilities of ALL.

        Votes give ``(v + mean) / (m + 1)`` for ``v`` of ``m`` models that call a cell ALL, which is
        above .5 exactly where ``2 v + 2 mean > m + 1``. Without a tie that is the majority: ``v >=
        (m + 1) / 2`` suffices, as a model that calls ALL keeps the mean above 0, and ``v <= (m - 1)
        / 2`` does not, as the mean is at most 1. In a tie, ``v = m / 2``, it is ``mean > .5``.
        If ``needed`` is given, ``v + mean`` is mapped to [0, 1] with ``needed`` at .5: with as many
        votes it is above, as no model that calls ALL has a probability of 0.

        Args:
            p: shape (cells, models), in [0, 1].

        Returns:
            Probabilities of ALL, shape (cells,), in [0, 1].

        Raises:
            ValueError: if ``p`` has not one column a weight.
        """
        p = np.asarray(p, dtype=np.float64)
        if p.ndim != 2 or p.shape[1] != len(self.weights):
            raise ValueError(f"p has shape {p.shape}, but there are {len(self.weights)} weights")
        weights = np.array(self.weights)
        if self.kind == "weights":
            return settled(np.clip(p @ weights, 0, 1))
        if self.kind == "votes":
            votes = (p > THRESHOLD).sum(axis=1)
            total = votes + settled(p.mean(axis=1))
            if self.needed is None:
                return np.asarray(total / (p.shape[1] + 1))
            edges, values = (0, self.needed, p.shape[1] + 1), (0, THRESHOLD, 1)
            return np.asarray(np.interp(total, edges, values), dtype=np.float64)
        if self.kind == "arbiter":
            first, second, third = p.T
            agree = (first > THRESHOLD) == (second > THRESHOLD)
            return settled(np.where(agree, (first + second) / 2, third))
        return np.asarray(expit(self.intercept + clipped_logit(p) @ weights), dtype=np.float64)


def settled(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Set what is within ``TIE`` of the threshold onto it."""
    on_it = (score >= THRESHOLD - TIE) & (score <= THRESHOLD + TIE)
    return np.where(on_it, THRESHOLD, score)


def clipped_logit(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log odds of the same shape, of probabilities kept 1e-6 away from 0 and 1."""
    return np.asarray(logit(np.clip(p, _LEAST, 1 - _LEAST)), dtype=np.float64)
