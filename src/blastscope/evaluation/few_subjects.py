"""How often 95 % intervals from few subjects hold the truth, said in one way wherever one stands.

The shares were measured with the corrected intervals (:mod:`blastscope.evaluation.bca`) on
simulated data sets of persons unlike each other; docs/unseen-patients.md has the table.
"""

from __future__ import annotations

from collections.abc import Sequence

FEW_SUBJECTS = 9
"""With no more subjects in a class than this, 95 % intervals hold the truth less often."""
_HELD = {2: "47 to 62", 3: "70 to 85", 5: "87 to 94"}
"""By the subjects of each class: percent of 1,000 simulated data sets in which the intervals of
weighted F1, AUC, sensitivity and specificity held the truth."""


def held(subjects: int) -> str:
    """Say how often intervals from so few subjects hold the truth.

    Args:
        subjects: of the class that has the fewest, 2 to ``FEW_SUBJECTS``.
    """
    simulated = max(count for count in _HELD if count <= subjects)
    return (
        f"in simulations with {simulated} subjects of each class {_HELD[simulated]} % of such "
        "intervals held the truth, not 95 %"
    )


def few_sentence(counts: Sequence[tuple[int, str]]) -> str:
    """Say what few subjects mean for the intervals, after a space; nothing where there are many.

    Args:
        counts: of each class that is there, how many subjects it has and its name.
    """
    for n, name in counts:
        if n == 1:
            return (
                f" Only one subject is {name}, so its cells were drawn: how such persons differ is "
                "not in the intervals, which are too narrow for it."
            )
    few = [f"{n} {name}" for n, name in counts if n <= FEW_SUBJECTS]
    if not few:
        return ""
    return f" Subjects are few ({', '.join(few)}): {held(min(n for n, _ in counts))}."
