"""Whether the subjects that a model is tested on are also in its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import polars as pl

from blastscope.evaluation.aligned_predictions import AlignedPredictions

Kind = Literal["disjoint", "unknown", "chosen", "shared", "training"]
Reason = Literal[
    "subjects",
    "training-part",
    "out-of-fold",
    "folds-by-cell",
    "no-subjects",
    "no-training-cells",
    "unnamed-cells",
]
CUT_BY_CELL = ("image", "matched")
"""The ways to cut folds that leave a tested cell's subject in training."""


@dataclass(frozen=True)
class Overlap:
    """Whether subjects of a split part are also in training, and how that is known.

    Attributes:
        kind: ``disjoint`` (unseen subjects), ``shared`` (some or all are in training), ``chosen``
            (none is, but the cells are for validation and may have chosen the epoch), ``training``
            (the model, or an ensemble's weights, were fitted on these very cells) or ``unknown``.
        reason: ``subjects`` if subjects were compared; otherwise what stands in for that, or what
            is missing.
        in_validation: how many test subjects are in validation, which chose the epoch.
        unnamed: cells of both parts that name no subject.
        models: the models that this applies to; empty if it applies to all.
        fitted: the ensembles with weights that were fitted on the cells of the part.
    """

    kind: Kind
    reason: Reason
    part: str
    subjects: int = 0
    shared: int = 0
    in_validation: int = 0
    unnamed: int = 0
    models: tuple[str, ...] = ()
    fitted: tuple[str, ...] = ()


def part_overlap(table: pl.DataFrame, part: str, metadata: Mapping[str, Any]) -> Overlap:
    """Return whether the subjects of ``part`` are known to the network that is judged on them.

    Args:
        table: one model's rows of a prediction table, every part, labelled or not.
        metadata: of the table. In a cross-validation each cell has a training of its own, which the
            table does not hold; ``out_of_fold`` is how folds were cut. ``fitted_on`` lists the
            parts that an ensemble's weights were fitted on.
    """
    overlap = _of_model(table, part, metadata.get("out_of_fold"))
    if part in metadata.get("fitted_on", ()):
        return replace(overlap, kind="training", fitted=(str(table["model"][0]),))
    return overlap


def _of_model(table: pl.DataFrame, part: str, by: object) -> Overlap:
    """Go by how the folds of a cross-validation were cut, or by the subjects if there are none."""
    if by is None:
        return subject_overlap(table, part)
    if by in CUT_BY_CELL:
        return Overlap("shared", "folds-by-cell", part)
    return Overlap("disjoint", "out-of-fold", part)


def subject_overlap(table: pl.DataFrame, part: str) -> Overlap:
    """Compare the subjects of ``part`` with those of the training part of one model's table."""
    if part == "train":
        return Overlap("training", "training-part", part)
    here, training = (table.filter(pl.col("part") == name) for name in (part, "train"))
    subjects, known = (set(rows["subject"].drop_nulls()) for rows in (here, training))
    found = Overlap("shared", "subjects", part, len(subjects), len(subjects & known))
    if found.shared:
        return found
    if not subjects or (not known and training.height):
        return replace(found, kind="unknown", reason="no-subjects")
    if training.is_empty():
        return replace(found, kind="unknown", reason="no-training-cells")
    unnamed = here["subject"].null_count() + training["subject"].null_count()
    if unnamed:
        return replace(found, kind="unknown", reason="unnamed-cells", unnamed=unnamed)
    validation = table.filter(pl.col("part") == "validation")["subject"].drop_nulls()
    if part == "validation":
        return replace(found, kind="chosen")
    chosen = len(subjects & set(validation))
    return replace(found, kind="disjoint", in_validation=chosen)


def members_overlap(scores: AlignedPredictions, part: str) -> Overlap:
    """Compare the subjects of ``part`` with the training cells of each model; return the worst.

    A table without training cells leaves open what its model was trained on, whatever the other
    tables hold, unless it is of a cross-validation.
    """
    found = {}
    for column, member in enumerate(scores.members):
        if not member.derived:  # made of the other models, it knows what they know
            known = scores.take(~np.isnan(scores.p_all[:, column])).cells
            found[member.name] = _of_model(known, part, member.out_of_fold)
    overlap = _worst(found)
    fitted = scores.fitted_on(part)
    return replace(overlap, kind="training", fitted=tuple(fitted)) if fitted else overlap


def _worst(found: Mapping[str, Overlap]) -> Overlap:
    """Return what holds for every model, or what a reader must not miss of some."""
    kinds: tuple[Kind, ...] = ("training", "shared", "unknown", "chosen")
    for kind in kinds:
        models = [name for name, overlap in found.items() if overlap.kind == kind]
        if models:
            some = () if len(models) == len(found) else tuple(models)
            return replace(found[models[0]], models=some)
    # All are disjoint. What holds of folds holds of a single training too, but not the reverse.
    seen = [name for name, overlap in found.items() if overlap.in_validation]
    if seen:
        return replace(found[seen[0]], models=() if len(seen) == len(found) else tuple(seen))
    return max(found.values(), key=lambda overlap: overlap.reason == "out-of-fold")
