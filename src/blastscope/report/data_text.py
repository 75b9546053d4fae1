"""The English of checks, splits and folds: which subjects stay together, what a copy lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from blastscope.data.official_files import FolderPresence, OfficialComparison
from blastscope.data.subject_groups import SubjectGroup
from blastscope.errors import listing
from blastscope.report.text import counted, listed, number

FEW = 3
"""How many missing files are named."""
DATA_SET = "C-NMC 2019"


def together_text(groups: Sequence[SubjectGroup]) -> str:
    """Say which subjects a split keeps together, and how many identical cells they share."""
    named = [f"{listed(group.subjects)} ({number(group.identical)})" for group in groups]
    return (
        "Subjects that are kept together, because they share pixel-identical cells (how many): "
        f"{listing(named)}."
    )


def shared_folds_text(shared: Mapping[str, int]) -> str:
    """Say which of a data set's own folds have identical cells."""
    pairs = [
        f"{listed(pair.split('/'))} share {counted(count, 'identical cell')}"
        for pair, count in shared.items()
    ]
    return (
        f"Folds {listing(pairs)}, which are tested by networks that were trained on them: cut by "
        "subject to keep them in one fold."
    )


def official_text(found: OfficialComparison) -> list[str]:
    """Say how a copy of C-NMC 2019 differs from the published files."""
    told = []
    if found.not_bmp:
        files = counted(found.not_bmp, "file")
        told.append(
            f"{files} called as in {DATA_SET} but not BMP: their content cannot be compared with "
            "the published SHA-256."
        )
    if found.compared and not found.unchanged:
        told.append(
            f"{counted(found.compared, 'file')} called as in {DATA_SET}, and none has the "
            "published content: they were saved again, or are other cells."
        )
    elif found.compared:
        told += _compared(found)
    return told


def _compared(found: OfficialComparison) -> list[str]:
    changed = number(len(found.altered)) if found.altered else "none"
    count = len(found.doubled)
    doubled = f"; {counted(count, 'content')} under several names" if count else ""
    told = [
        f"Compared with the published SHA-256 of {DATA_SET}: {counted(found.compared, 'file')}, "
        f"{changed} altered{doubled}."
    ]
    for folder, presence in found.folders.items():
        told.append(f"{folder} of {DATA_SET}: {_presence(presence)}")
    return told


def _presence(found: FolderPresence) -> str:
    if not found.missing:
        return f"complete, {counted(found.expected, 'file')}."
    return (
        f"{number(len(found.missing))} of {counted(found.expected, 'file')} missing "
        f"({listing(found.missing, most=FEW)})."
    )
