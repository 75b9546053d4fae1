"""From cells to the person: the share of blasts, corrected for the classifier's own errors.

Rogan and Gladen, American Journal of Epidemiology 107:71-76, 1978: of the share ``q`` that is
called ALL, (q + specificity - 1) / (sensitivity + specificity - 1) are blasts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from blastscope.decide.calibration import Bools

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
_LEAST_INFORMATIVE = 0.05
"""Of sensitivity + specificity - 1: below it the calls say nothing of the person."""

Counts = NDArray[np.int_]


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

    Each draw takes this person for one with the sensitivity of some known person and the
    specificity of another, both within what their cells leave open, and the share called ALL
    within what this person's cells leave open (Jeffreys' prior in all three). So the interval
    holds how persons differ, and not only how well their mean is known. A draw in which the
    calls would say nothing leaves the share open between 0 and 1.

    Args:
        called: how many of the person's cells are called ALL.
        cells: how many there are, one or more.
        known: what is known of other persons.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    sensitivity = _drawn(rng, known.all_called, known.all_cells)
    specificity = _drawn(rng, known.hem_called, known.hem_cells)
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


def corrected_share(called: float, sensitivity: float, specificity: float) -> float:
    """Rogan and Gladen's estimate, within [0, 1]; one half where the calls say nothing."""
    told = sensitivity + specificity - 1
    if told <= _LEAST_INFORMATIVE:
        return 0.5
    return float(np.clip((called + specificity - 1) / told, 0, 1))


def _drawn(
    rng: np.random.Generator, called: Sequence[int], cells: Sequence[int]
) -> NDArray[np.float64]:
    """Draw a person each time, and a share within what that person's cells leave open."""
    right, total = np.array(called), np.array(cells)
    who = rng.integers(0, len(total), DRAWS)
    found: NDArray[np.float64] = rng.beta(right[who] + 0.5, total[who] - right[who] + 0.5)
    return found
