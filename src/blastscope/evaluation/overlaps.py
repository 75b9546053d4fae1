"""Whether any of several models knows the subjects, or an ensemble the cells, that judge it."""

from __future__ import annotations

import numpy as np

from blastscope.errors import listing
from blastscope.evaluation.aligned_predictions import AlignedPredictions
from blastscope.evaluation.subjects import Overlap, subject_overlap


def members_overlap(scores: AlignedPredictions, part: str) -> Overlap:
    """Hold the subjects of ``part`` against the training cells that each model tells of.

    What holds of one table need not hold of another: a table without training cells leaves open
    what its model was trained on, whatever its neighbours say.

    Args:
        scores: the models, every part of them.
        part: the part that is reported.
    """
    found = {}
    for column, member in enumerate(scores.members):
        if not member.metadata.get("derived"):  # made of its neighbours, it knows what they know
            known = scores.take(~np.isnan(scores.p_all[:, column])).cells
            found[member.name] = subject_overlap(known, part)
    overlap = _worst(found, part)
    fitted = scores.fitted_on(part)
    if not fitted:
        return overlap
    sentence = (
        f"The weights of {listing(fitted)} were fitted on these very {part} cells: no test of them."
    )
    return Overlap("training", f"{sentence} {overlap.sentence}")


def _worst(found: dict[str, Overlap], part: str) -> Overlap:
    """Return what every model's is, or the one that a reader must not miss."""
    for kind in ("training", "shared"):
        those = {name: overlap for name, overlap in found.items() if overlap.kind == kind}
        if those:
            sentence = next(iter(those.values())).sentence
            who = "" if len(those) == len(found) else f" (So of {listing(list(those))}.)"
            return Overlap(kind, sentence + who)
    unknown = [name for name, overlap in found.items() if overlap.kind == "unknown"]
    if not unknown or len(unknown) == len(found):
        return next(iter(found.values()))
    return Overlap(
        "unknown",
        f"No {part} subject is in training of the others, but whether that is so of "
        f"{listing(unknown)} is unknown: no training cells, or not their subjects, are given.",
    )
