"""How often 95 % intervals from few subjects contain the true value: what simulations showed.

The shares were measured with the corrected intervals (:mod:`blastscope.evaluation.bca`) on
simulated data sets of subjects unlike each other; docs/unseen-patients.md has the table.
"""

from __future__ import annotations

from dataclasses import dataclass

FEW_SUBJECTS = 9
"""With no more subjects in a class than this, 95 % intervals contain the true value less often."""


@dataclass(frozen=True)
class SimulatedCoverage:
    """How often intervals contained the true value.

    Attributes:
        subjects: of each class, in the simulated data sets.
        low: percent of 1,000 data sets, the lowest of weighted F1, AUC, sensitivity, specificity.
        high: the highest of these.
    """

    subjects: int
    low: int
    high: int


_SIMULATED = (
    SimulatedCoverage(2, 47, 62),
    SimulatedCoverage(3, 70, 85),
    SimulatedCoverage(5, 87, 94),
)


def simulated_coverage(subjects: int) -> SimulatedCoverage:
    """Return the simulation with as many subjects of the scarcer class, or the next fewer."""
    return [one for one in _SIMULATED if one.subjects <= subjects][-1]
