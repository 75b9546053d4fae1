"""The English of splits and folds: which subjects stay together, what folds share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from blastscope.data.subject_groups import SubjectGroup
from blastscope.errors import listing
from blastscope.report.text import number


def together_text(groups: Sequence[SubjectGroup]) -> str:
    """Say which subjects a split keeps together, and how many identical cells they share."""
    named = [f"{_and(group.subjects)} ({number(group.identical)})" for group in groups]
    return (
        "Subjects that are kept together, because they share pixel-identical cells (how many): "
        f"{listing(named)}."
    )


def shared_folds_text(shared: Mapping[str, int]) -> str:
    """Say which of a data set's own folds have identical cells."""
    pairs = [
        f"{_and(pair.split('/'))} share {number(count)} identical {_plural('cell', count)}"
        for pair, count in shared.items()
    ]
    return (
        f"Folds {listing(pairs)}, which are tested by networks that were trained on them: cut by "
        "subject to keep them in one fold."
    )


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def _and(names: Sequence[str]) -> str:
    """Join names: ``20 and 21``; ``51, 75 and 78``."""
    return f"{', '.join(names[:-1])} and {names[-1]}"
