"""Estimate a subject's share of blasts, corrected for the classifier's own errors.

Rogan and Gladen, American Journal of Epidemiology 107:71-76, 1978: of the share ``q`` that is
called ALL, (q + specificity - 1) / (sensitivity + specificity - 1) are blasts.

How the next subject differs: the beta-binomial model of several subjects of Gelman et al., Bayesian
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
DRAWS = 4000


@dataclass(frozen=True)
class ShareCoverage:
    """How often 95 % intervals of a subject's share of blasts contained it in simulations.

    Attributes:
        subjects: known subjects of each class.
        alike: the lowest and highest percent of 1,000 simulated subjects.
        unlike: the same if one subject in ten was unlike the others.
    """

    subjects: int
    alike: tuple[int, int]
    unlike: tuple[int, int]


_SIMULATED = (
    ShareCoverage(1, (99, 100), (96, 100)),
    ShareCoverage(2, (99, 100), (96, 100)),
    ShareCoverage(3, (99, 100), (95, 99)),
    ShareCoverage(5, (98, 100), (93, 98)),
    ShareCoverage(10, (96, 99), (92, 97)),
    ShareCoverage(20, (96, 99), (92, 96)),
)
"""Simulated with 30 to 300 cells a subject. The shares of right calls follow a beta distribution
with mean .92 for blasts and .88 for others and standard deviation .05 or .1; for subjects unlike
the others they are uniform, .1 to .8. Shares of blasts: 0, 5, 20, 25, 50, 90 and 100 %."""
_OPEN_WIDTH = 0.94
"""An interval at least as wide leaves the share open: a share without information has 0.95."""
_LEAST_INFORMATIVE = 0.05
"""Of sensitivity + specificity - 1: below it the calls carry no information on the subject."""


@dataclass(frozen=True)
class Reference:
    """The right calls and the cells of each labelled subject, by class."""

    all_called: tuple[int, ...]
    all_cells: tuple[int, ...]
    hem_called: tuple[int, ...]
    hem_cells: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse counts that cannot be."""
        for called, cells in ((self.all_called, self.all_cells), (self.hem_called, self.hem_cells)):
            pairs = list(zip(called, cells, strict=True))
            if not pairs or not all(0 <= right <= total and total for right, total in pairs):
                raise ValueError("impossible counts by subject")

    @property
    def sensitivity(self) -> float:
        """The mean over subjects, each with the same weight."""
        return float(np.mean(np.array(self.all_called) / self.all_cells))

    @property
    def specificity(self) -> float:
        """The mean over subjects, each with the same weight."""
        return float(np.mean(np.array(self.hem_called) / self.hem_cells))

    @property
    def fewest(self) -> int:
        """Subjects of the class that has the fewest of them."""
        return min(len(self.all_cells), len(self.hem_cells))


def reference(is_all: Bools, called: Bools, subjects: Sequence[str | None]) -> Reference | None:
    """Count the right calls of each subject, of arrays of shape (n,).

    None if a class has no known subject.
    """
    counts: list[tuple[int, ...]] = []
    names = np.array(["" if subject is None else subject for subject in subjects])
    for truth in (True, False):
        here = (is_all == truth) & (names != "")
        found, place = np.unique(names[here], return_inverse=True)
        if not len(found):
            return None
        right = called[here] == truth
        counts += [
            tuple(np.bincount(place, right).astype(int).tolist()),
            tuple(np.bincount(place).tolist()),
        ]
    return Reference(*counts)


@dataclass(frozen=True)
class Share:
    """The share called ALL of a subject's cells; the share of blasts, with its 95 % interval."""

    called: float
    share: float
    low: float
    high: float

    @property
    def estimable(self) -> bool:
        """Whether the interval says anything: known subjects may differ too much for that."""
        return self.high - self.low < _OPEN_WIDTH

    @property
    def line(self) -> Literal["below", "above", "open", "not estimable"]:
        """On which side of the 20 to 25 % line the whole interval lies."""
        if not self.estimable:
            return "not estimable"
        return "below" if self.high < LINE[0] else "above" if self.low > LINE[1] else "open"


def blast_share(called: int, cells: int, known: Reference, seed: int = 24) -> Share:
    """Estimate a subject's share of blasts, with an interval for the next subject.

    Each draw takes a sensitivity and a specificity that the next subject may have, by how the known
    ones differ (``_next_subject``), and a share called ALL within what this subject's cells leave
    open (Jeffreys' prior). So the interval contains how subjects differ, and not only how well
    their mean is known: with few subjects it is wide. A draw in which the calls would carry no
    information leaves the share open between 0 and 1.

    Args:
        called: how many of the subject's cells are called ALL.
        cells: how many there are, one or more.
        known: the right calls of other subjects.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    sensitivity = _next_subject(known.all_called, known.all_cells, seed + 1)
    specificity = _next_subject(known.hem_called, known.hem_cells, seed + 2)
    share = rng.beta(called + 0.5, cells - called + 0.5, DRAWS)
    information = sensitivity + specificity - 1
    useful = information > _LEAST_INFORMATIVE
    drawn = np.where(
        useful, (share + specificity - 1) / np.where(useful, information, 1.0), rng.random(DRAWS)
    )
    low, high = np.quantile(np.clip(drawn, 0, 1), [0.025, 0.975])
    observed = called / cells
    point = corrected_share(observed, known.sensitivity, known.specificity)
    # The mean of subjects may lie outside the interval of their spread by a hair.
    return Share(observed, float(np.clip(point, low, high)), float(low), float(high))


def simulated_share_coverage(known: Reference) -> ShareCoverage:
    """Return the simulation with as many known subjects in each class, or the next fewer."""
    return [one for one in _SIMULATED if one.subjects <= known.fewest][-1]


def corrected_share(called: float, sensitivity: float, specificity: float) -> float:
    """Rogan and Gladen's estimate, within [0, 1]; one half if the calls carry no information."""
    information = sensitivity + specificity - 1
    if information <= _LEAST_INFORMATIVE:
        return 0.5
    return float(np.clip((called + specificity - 1) / information, 0, 1))


@lru_cache(maxsize=64)  # the same known subjects serve for many
def _next_subject(called: tuple[int, ...], cells: tuple[int, ...], seed: int) -> Floats:
    """Draw the share of right calls that the next subject may have, shape (DRAWS,).

    Subjects' shares follow a beta distribution. Its mean and ``(a + b) ** -.5``, which says how
    much subjects differ, are taken as equally likely between 0 and 1 beforehand, and weighed by the
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
