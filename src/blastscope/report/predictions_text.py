"""The text of a page of predictions: what the model learnt, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from blastscope.report.text import counted

if TYPE_CHECKING:
    from blastscope.prediction.predict import Predicted
    from blastscope.prediction.table import Altered

FEW_CELLS = 10
"""A subject with fewer has no share of blasts: a few cells are not a sample."""
NOT_ESTIMABLE = (
    "not estimable: known subjects differ so much under these calls that the share of blasts may "
    "be anything from 0 to 1."
)
TRANSDUCTIVE_SHARES = (
    "No share of blasts: how right calls are that were corrected by neighbours was not measured on "
    "known subjects. Threshold and referral were fitted to probabilities without a correction."
)
LINE_TEXT = (
    "20-25 % line: whether the whole interval lies below 20 % blasts, under which acute leukaemia "
    "is not usually diagnosed, above 25 %, or neither (open)."
)


def altered_text(found: Altered) -> list[str]:
    """Say how many images were not used as they are, if some were not."""
    said = []
    if found.several:
        said.append(
            "Files with several pictures, of which only the first was used: "
            f"{found.several:,}. Save each picture as a file of its own."
        )
    if found.transparent:
        said.append(f"Images whose transparent parts count as black: {found.transparent:,}.")
    return said


def training_subjects(found: Predicted) -> dict[str, int]:
    """Count the subjects of the training cells by class; empty if that is not recorded.

    Of an ensemble's networks, the one with the fewest subjects counts.
    """
    from blastscope.bundle.network import BundledNetwork

    networks = [run for run in found.members.runs if isinstance(run, BundledNetwork)]
    counts = [one.manifest.network.data.subjects for one in networks if one.manifest.network]
    return min(counts, key=lambda of: sum(of.values()), default={})


def limits(subjects: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return pairs of a heading and a sentence or two: what a reader must not conclude.

    Args:
        subjects: of the training cells, by class; empty if unknown.
    """
    few, many = (subjects.get(name) for name in ("hem", "all"))
    learnt = "lymphoblasts and normal white cells of the lymphoid line"
    if few is not None and many is not None:
        learnt = (
            f"lymphoblasts of {counted(many, 'subject')} with ALL and normal cells of the lymphoid "
            f"line of {counted(few, 'subject')}"
        )
    return [
        (
            "Two kinds of cells",
            f"It learnt {learnt}. Any other cell (a monocyte, a granulocyte, an erythroid "
            "precursor, a blast of another leukaemia) is still called one of the two, or is "
            "flagged as out of distribution.",
        ),
        (
            "Haematogones",
            "Haematogones and other normal precursors were not a class of their own in training. "
            "They can look like blasts, as they do under the microscope: expect false alarms after "
            "chemotherapy, after a transplantation and in children.",
        ),
        (
            "Marrow or blood",
            "It sees single cells. It does not know whether they are from marrow or blood, which "
            "treatment was given, or what the flow cytometry shows.",
        ),
        (
            "Another laboratory",
            "Another stain, camera or magnification changes the colour and the size of cells, and "
            "with them every probability of a batch, without each cell being flagged. Test it on "
            "cells of your own laboratory that an expert has named.",
        ),
        (
            "Not a count",
            "The share of cells called ALL is not a blast count: that needs all nucleated cells of "
            "unselected fields. Do not count a marrow with it.",
        ),
        (
            "Not an exclusion",
            "Cells that are called normal do not exclude leukaemia, and cells that are called ALL "
            "do not diagnose it.",
        ),
    ]
