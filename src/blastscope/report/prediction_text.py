"""How cells were called, in words."""

from __future__ import annotations

from blastscope.decision.blast_share import told
from blastscope.decision.decision_file import DecisionFile
from blastscope.report.decision_text import METHODS


def how_decided(by: DecisionFile, brief: bool = False) -> str:
    """Say by which rule, threshold and calibration cells are called, and what that rests on.

    Args:
        by: the decision.
        brief: leave out where it is from and which cells it was fitted on.
    """
    point, made = by.decision.point, METHODS[by.decision.calibration.method]
    said = (
        f"ALL above p = {max(point.threshold, 0):.3f}, by the rule {point.rule.sentence} (where it "
        f"was chosen: sensitivity {point.sensitivity:.2f}, specificity {point.specificity:.2f}); "
        f"probabilities {made}."
    )
    return said if brief else f"{said} {by.sentence} ({by.path})"


def intervals_held(by: DecisionFile) -> str:
    """Say how often intervals of subjects' shares held them in simulations; empty if unknown."""
    reference = by.decision.reference
    return "" if reference is None else told(reference)
