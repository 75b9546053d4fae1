"""Figures by subject: patients differ more than cells do, and a mean hides it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.evaluation.metrics import THRESHOLD

_Z95 = 1.959963984540054  # the normal distribution's 97.5 % point


def wilson_interval(
    successes: NDArray[np.int_], trials: NDArray[np.int_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The 95 % score interval of a share (E. B. Wilson, JASA 22:209-212, 1927).

    Args:
        successes: counts, shape (n,).
        trials: counts above zero, shape (n,).

    Returns:
        The lower and the upper bounds, each of shape (n,), within [0, 1].
    """
    share = successes / trials
    scale = 1 + _Z95**2 / trials
    centre = (share + _Z95**2 / (2 * trials)) / scale
    half = _Z95 / scale * np.sqrt(share * (1 - share) / trials + (_Z95 / (2 * trials)) ** 2)
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def subject_table(cells: pl.DataFrame) -> pl.DataFrame:
    """Sum up the labelled cells of each known subject, the worst subject first.

    Args:
        cells: rows of one model and part of a prediction table.

    Returns:
        ``subject``, ``label`` ("mixed" where a subject has both), ``cells``, ``correct``,
        ``accuracy`` with its 95 % Wilson interval ``low`` to ``high``, and ``mean_p_all``.
        The interval treats a subject's cells as independent draws; it is a baseline on the doubt.
    """
    called = pl.when(pl.col("p_all") > THRESHOLD).then(pl.lit("all")).otherwise(pl.lit("hem"))
    table = (
        cells.filter(pl.col("subject").is_not_null() & pl.col("label").is_not_null())
        .group_by("subject")
        .agg(
            label=pl.when(pl.col("label").n_unique() > 1)
            .then(pl.lit("mixed"))
            .otherwise(pl.col("label").first()),
            cells=pl.len().cast(pl.Int64),
            correct=(called == pl.col("label")).sum().cast(pl.Int64),
            mean_p_all=pl.col("p_all").mean(),
        )
        .with_columns(accuracy=pl.col("correct") / pl.col("cells"))
    )
    low, high = wilson_interval(table["correct"].to_numpy(), table["cells"].to_numpy())
    return (
        table.with_columns(low=pl.Series(low), high=pl.Series(high))
        .sort("accuracy", "cells", "subject", descending=[False, True, False])
        .select("subject", "label", "cells", "correct", "accuracy", "low", "high", "mean_p_all")
    )


@dataclass(frozen=True)
class Overlap:
    """Whether the subjects of a part are also in training, and a sentence that says so."""

    kind: Literal["shared", "disjoint", "unknown", "training"]
    sentence: str


def part_overlap(table: pl.DataFrame, part: str, metadata: Mapping[str, Any]) -> Overlap:
    """Say whether the subjects of ``part`` are known to the network that is judged on them.

    Args:
        table: one model's rows of a prediction table, every part, labelled or not.
        part: the part that is reported.
        metadata: of the table. In a cross-validation each cell has a training of its own, which
            the table does not hold; ``out_of_fold`` says how folds were cut.
    """
    by = metadata.get("out_of_fold")
    if by is None:
        return subject_overlap(table, part)
    if by in ("image", "matched"):
        return Overlap(
            "shared",
            "Folds by cell: nearly every subject is also in the training of the network that "
            "tests it, so this figure says nothing about unseen patients.",
        )
    return Overlap(
        "disjoint", "Each cell was predicted by a network that had seen nothing of its subject."
    )


def subject_overlap(table: pl.DataFrame, part: str) -> Overlap:
    """Compare the subjects of ``part`` with those of the training part of the same table.

    Args:
        table: one model's rows of a prediction table, every part, labelled or not.
        part: the part that is reported.
    """
    if part == "train":
        return Overlap("training", "These are the training cells themselves: no test of anything.")
    here, training = (table.filter(pl.col("part") == name) for name in (part, "train"))
    subjects = set(here["subject"].drop_nulls())
    known = set(training["subject"].drop_nulls())
    shared = len(subjects & known)
    if shared:
        return Overlap("shared", _shared(shared, len(subjects), part))
    whether = f"Whether a {part} subject is also in training is unknown"
    if not subjects or (not known and training.height):
        return Overlap("unknown", f"{whether}: no subjects are given.")
    if training.is_empty():
        return Overlap("unknown", f"{whether}: the table holds no training cells.")
    nameless = here["subject"].null_count() + training["subject"].null_count()
    if nameless:
        return Overlap(
            "unknown", f"{whether}: not every cell names its subject ({nameless} do not)."
        )
    return Overlap("disjoint", f"No {part} subject is in training." + _choosing(table, part))


def _shared(shared: int, total: int, part: str) -> str:
    if shared < total:
        return (
            f"{shared} of the {total} {part} subjects {'is' if shared == 1 else 'are'} also in "
            "training: these figures are only in part about unseen patients."
        )
    who = f"The only {part} subject is" if total == 1 else f"All {total} {part} subjects are"
    return f"{who} also in training: this figure says nothing about unseen patients."


def _choosing(table: pl.DataFrame, part: str) -> str:
    """Say where test subjects are in the part that chose the epoch: a leak of its own."""
    if part != "test":
        return ""
    test, validation = (
        set(table.filter(pl.col("part") == name)["subject"].drop_nulls())
        for name in ("test", "validation")
    )
    shared = len(test & validation)
    return f" But {shared} of {len(test)} are in validation, which chooses." if shared else ""
