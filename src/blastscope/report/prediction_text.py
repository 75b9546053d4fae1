"""The text of how new cells were called."""

from __future__ import annotations

from blastscope.decision.decision_file import DecisionFile
from blastscope.report.decision_text import (
    fitted_on_text,
    operating_point_text,
    share_coverage_text,
)


def how_decided(by: DecisionFile, brief: bool = False) -> str:
    """Write the rule, threshold and calibration by which cells are called.

    Args:
        by: the decision.
        brief: leave out its file and which cells it was fitted on.
    """
    text = operating_point_text(by.decision)
    return text if brief else f"{text} {fitted_on_text(by.fitted_on)} ({by.path})"


def intervals_held(by: DecisionFile) -> str:
    """Write how often intervals of subjects' shares contained them in simulations, if known."""
    reference = by.decision.reference
    return "" if reference is None else share_coverage_text(reference)
