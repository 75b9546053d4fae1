"""From cells to the person: the share of blasts, corrected for the classifier's own errors.

Rogan and Gladen, American Journal of Epidemiology 107:71-76, 1978: of the share ``q`` that is
called ALL, (q + specificity - 1) / (sensitivity + specificity - 1) are blasts.

How the next person differs: the beta-binomial model of several persons of Gelman et al., Bayesian
Data Analysis, 3rd ed. 2013, section 5.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy.special import betaln, expit

from blastscope.decision.calibration import Bools, Floats

LINE = (0.20, 0.25)
"""Below the first share of blasts acute leukaemia is not usually diagnosed; many ALL protocols ask
for the second (WHO Classification of Tumours of Haematopoietic and Lymphoid Tissues, 4th ed.)."""
NEEDS = (
    "that the cells are all the nucleated cells of an unselected field, or a random sample of them",
    "that each of them is a lymphoblast or a normal cell of the kind the model has learnt",
    "that sensitivity and specificity for this person lie within what they were for the others",
)
"""What has to be true for a corrected share to mean anything."""
DRAWS = 4000
_HELD = (
    (1, "more than 99", "96 to 100"),
    (2, "more than 99", "96 to 100"),
    (3, "99 to 100", "95 to 99"),
    (5, "98 to 100", "93 to 98"),
    (10, "96 to 99", "92 to 97"),
    (20, "96 to 99", "92 to 96"),
)
"""With so many persons in each class, percent of 1,000 simulated persons whose 95 % interval held
their share of blasts; and where one person in ten was unlike the others. Shares of right calls of
30 to 300 cells: a beta distribution, mean .92 of blasts and .88 of others, standard deviation .05
or .1; of those unlike the others .1 to .8, evenly. Shares of blasts 0, 5, 20, 25, 50, 90, 100 %."""
_LEAST_INFORMATIVE = 0.05
"""Of sensitivity + specificity - 1: below it the calls say nothing of the person."""


@dataclass(frozen=True)
class Reference:
    """How the classifier did on persons whose cells are known.

    Attributes:
        all_called: for each person with ALL cells, how many of them are called ALL.
        all_cells: how many of them there are.
        hem_called: for each person with normal cells, how many of them are called normal.
        hem_cells: how many of them there are.
    """

    all_called: tuple[int, ...]
    all_cells: tuple[int, ...]
    hem_called: tuple[int, ...]
    hem_cells: tuple[int, ...]

    @property
    def sensitivity(self) -> float:
        """The mean over persons; one counts as much as another."""
        return _mean_share(self.all_called, self.all_cells)

    @property
    def specificity(self) -> float:
        """Likewise."""
        return _mean_share(self.hem_called, self.hem_cells)

    @property
    def fewest(self) -> int:
        """Persons of the class that has the fewest of them."""
        return min(len(self.all_cells), len(self.hem_cells))


def _mean_share(called: Sequence[int], cells: Sequence[int]) -> float:
    return float(np.mean(np.array(called) / np.array(cells)))


def reference(is_all: Bools, called: Bools, subjects: Sequence[str | None]) -> Reference | None:
    """Count the right calls of each person; None where a class has no known person.

    Args:
        is_all: truth, shape (n,).
        called: whether each cell is called ALL, shape (n,).
        subjects: each cell's subject; None where unknown.
    """
    counts: list[tuple[int, ...]] = []
    names = np.array(["" if subject is None else subject for subject in subjects])
    for truth in (True, False):
        here = (is_all == truth) & (names != "")
        people, place = np.unique(names[here], return_inverse=True)
        if not len(people):
            return None
        right = called[here] == truth
        counts += [
            tuple(np.bincount(place, right).astype(int).tolist()),
            tuple(np.bincount(place).tolist()),
        ]
    return Reference(*counts)


@dataclass(frozen=True)
class Share:
    """The share of blasts among a person's cells.

    Attributes:
        called: the share that is called ALL.
        share: corrected for the classifier's errors.
        low: the lower end of its 95 % interval.
        high: the upper end.
    """

    called: float
    share: float
    low: float
    high: float

    @property
    def line(self) -> Literal["below", "above", "open"]:
        """On which side of the 20 to 25 % line the whole interval lies."""
        return "below" if self.high < LINE[0] else "above" if self.low > LINE[1] else "open"


def blast_share(called: int, cells: int, known: Reference, seed: int = 24) -> Share:
    """Estimate a person's share of blasts, with an interval for the next person.

    Each draw takes a sensitivity and a specificity that the next person may have, by how the
    known ones differ (``_next_person``), and a share called ALL within what this person's cells
    leave open (Jeffreys' prior). So the interval holds how persons differ, and not only how well
    their mean is known: of few persons it is wide. A draw in which the calls would say nothing
    leaves the share open between 0 and 1.

    Args:
        called: how many of the person's cells are called ALL.
        cells: how many there are, one or more.
        known: what is known of other persons.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    sensitivity = _next_person(known.all_called, known.all_cells, seed + 1)
    specificity = _next_person(known.hem_called, known.hem_cells, seed + 2)
    share = rng.beta(called + 0.5, cells - called + 0.5, DRAWS)
    told = sensitivity + specificity - 1
    useful = told > _LEAST_INFORMATIVE
    drawn = np.where(
        useful, (share + specificity - 1) / np.where(useful, told, 1.0), rng.random(DRAWS)
    )
    low, high = np.quantile(np.clip(drawn, 0, 1), [0.025, 0.975])
    observed = called / cells
    point = corrected_share(observed, known.sensitivity, known.specificity)
    # The mean of persons may lie outside the interval of their spread by a hair.
    return Share(observed, float(np.clip(point, low, high)), float(low), float(high))


def told(known: Reference) -> str:
    """Say how often intervals from so many known persons held the truth in simulations."""
    persons, alike, unlike = [row for row in _HELD if row[0] <= known.fewest][-1]
    return (
        f"In simulations with {persons} known {'person' if persons == 1 else 'persons'} of each "
        f"class {alike} % of such 95 % intervals held the share of blasts; where one person in ten "
        f"was unlike the others, {unlike} %."
    )


def corrected_share(called: float, sensitivity: float, specificity: float) -> float:
    """Rogan and Gladen's estimate, within [0, 1]; one half where the calls say nothing."""
    told = sensitivity + specificity - 1
    if told <= _LEAST_INFORMATIVE:
        return 0.5
    return float(np.clip((called + specificity - 1) / told, 0, 1))


@lru_cache(maxsize=64)  # the same known persons serve for many
def _next_person(called: tuple[int, ...], cells: tuple[int, ...], seed: int) -> Floats:
    """Draw the share of right calls that the next person may have, shape (DRAWS,).

    Persons' shares follow a beta distribution. Its mean and ``(a + b) ** -.5``, which says how
    much persons differ, are taken as equally likely between 0 and 1 beforehand, and weighed by the
    calls that were seen.
    """
    rng = np.random.default_rng(seed)
    mean = expit(np.linspace(-7, 7, 113))[:, None]
    differ = (np.arange(40) + 0.5) / 40
    a, b = (mean / differ**2).ravel(), ((1 - mean) / differ**2).ravel()
    # The steps of the mean are even in log-odds, so each stands for as much as mean (1 - mean).
    weight = np.repeat(np.log(mean * (1 - mean)), len(differ)) - len(cells) * betaln(a, b)
    for right, total in zip(called, cells, strict=True):
        weight += betaln(a + right, b + total - right)
    chance = np.exp(weight - weight.max())
    at = rng.choice(len(a), DRAWS, p=chance / chance.sum())
    drawn: Floats = rng.beta(a[at], b[at])
    drawn.setflags(write=False)
    return drawn
