"""Subjects that share pixel-identical cells, and so count as one if cells are split by subject.

In C-NMC 2019, 71 of subject 20's 76 cells are also subject 21's, so that a split by the subject's
name alone tests cells that were trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import polars as pl

from blastscope.errors import listing

GROUP = "group"
"""The column of the group's name: that of its first subject, or of the subject that is alone."""


@dataclass(frozen=True)
class SubjectGroup:
    """Several subjects that share pixel-identical cells.

    Attributes:
        subjects: their names, in order.
        identical: how many images stand under more than one of them.
    """

    subjects: tuple[str, ...]
    identical: int


def group_subjects(cells: pl.DataFrame) -> tuple[pl.DataFrame, tuple[SubjectGroup, ...]]:
    """Group subjects that are connected by pixel-identical cells, directly or through others.

    Args:
        cells: ``subject`` and, if it is known, ``pixel_hash``; without it each subject is a group.

    Returns:
        The cells with the column ``group``, and the groups of more than one subject.
    """
    if "pixel_hash" not in cells.columns:
        return cells.with_columns(pl.col("subject").alias(GROUP)), ()
    pairs = cells.select("subject", "pixel_hash").drop_nulls().unique()
    shared = pairs.filter(pl.len().over("pixel_hash") > 1)
    first = _first_subjects(shared.group_by("pixel_hash").agg("subject")["subject"].to_list())
    members: dict[str, list[str]] = {}
    for subject in sorted(first):
        members.setdefault(first[subject], []).append(subject)
    groups = tuple(
        SubjectGroup(
            tuple(members[name]),
            shared.filter(pl.col("subject").is_in(members[name]))["pixel_hash"].n_unique(),
        )
        for name in sorted(members)
    )
    named = pl.col("subject").replace(first) if first else pl.col("subject")
    return cells.with_columns(named.alias(GROUP)), groups


def shared_pixels(cells: pl.DataFrame, column: str) -> dict[str, int]:
    """Count the images that stand under two values of a column, for each pair: ``0/2``.

    Pairs that share nothing are left out, and cells whose pixel hash is not known do not count.
    """
    if "pixel_hash" not in cells.columns:
        return {}
    known = cells.select(column, "pixel_hash").drop_nulls()
    images = {
        str(name): set(rows["pixel_hash"])
        for (name,), rows in known.group_by(column, maintain_order=True)
    }
    pairs = combinations(sorted(images), 2)
    counts = {f"{a}/{b}": len(images[a] & images[b]) for a, b in pairs}
    return {pair: count for pair, count in counts.items() if count}


def counted_as_one(groups: Sequence[SubjectGroup]) -> str:
    """Say for an error which subjects count as one; empty if none do."""
    if not groups:
        return ""
    names = listing([", ".join(group.subjects) for group in groups])
    return f" (subjects that share pixel-identical cells count as one: {names})"


def _first_subjects(sharing: Iterable[list[str]]) -> dict[str, str]:
    """Return for each subject the first one that it is connected to; ``sharing`` connects."""
    parent: dict[str, str] = {}

    def first(subject: str) -> str:
        while parent.setdefault(subject, subject) != subject:
            subject = parent[subject]
        return subject

    for subjects in sharing:
        known = sorted({first(subject) for subject in subjects})
        parent.update(dict.fromkeys(known, known[0]))
    return {subject: first(subject) for subject in parent}
