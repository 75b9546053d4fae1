"""The split table: the part of each cell, and a report on what that means."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.data.subject_groups import SubjectGroup, group_subjects
from blastscope.errors import BlastscopeError
from blastscope.io.predictions import PARTS
from blastscope.io.tables import TableFormat, read_table, write_table

SPLIT = TableFormat("split", 1, {"cell": pl.String(), "part": pl.String()})
USES = "uses"
"""An optional column, of the ``paper`` protocol only: how often the balanced training set holds
the cell, 0 (left out), 1, or 2 (once as it is and once as an augmented copy)."""


@dataclass(frozen=True)
class Split:
    """A split and how it was made."""

    table: pl.DataFrame
    """Columns ``cell``, ``part`` and perhaps ``uses``, sorted by cell."""
    protocol: str
    seed: int
    fractions: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """``sha256:<hex>`` over the rows: the split's identity."""
        columns = [name for name in ("cell", "part", USES) if name in self.table.columns]
        lines = (repr(row) for row in self.table.select(columns).sort("cell").iter_rows())
        return "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def write(self, path: Path) -> None:
        """Write the split as Parquet.

        Raises:
            BlastscopeError: if another split is there, or the folder cannot be written.
        """
        if path.exists() and _hash_at(path) != self.hash:
            raise BlastscopeError(
                f"{path} is there already and not this split: choose another name or remove it."
            )
        note: dict[str, Any] = asdict(self)
        del note["table"]
        write_table(self.table.sort("cell"), path, SPLIT, {**note, "hash": self.hash})


def _hash_at(path: Path) -> str:
    try:
        return read_split(path).hash
    except BlastscopeError:
        return ""


def read_split(path: Path) -> Split:
    """Read a split and check that it is the one that was written.

    Raises:
        BlastscopeError: if it is missing, has a part of another name, a cell twice, or rows that
            its hash does not fit.
    """
    table, note = read_table(path, SPLIT)
    strange = set(table["part"].unique()) - set(PARTS)
    if strange:
        raise BlastscopeError(f"{path} has parts {sorted(map(str, strange))}: they are {PARTS}.")
    if table["cell"].is_duplicated().any():
        twice = table.filter(table["cell"].is_duplicated())["cell"][0]
        raise BlastscopeError(f"{path} has the cell {twice} twice: a cell is in one part.")
    try:
        split = Split(
            table.sort("cell"),
            str(note.get("protocol", "own")),
            int(note.get("seed", 0)),
            tuple(note.get("fractions", ())),
            tuple(note.get("notes", ())),
        )
    except (TypeError, ValueError) as error:
        raise BlastscopeError(f"{path} has odd metadata ({error}): split again.") from error
    if note.get("hash", split.hash) != split.hash:
        raise BlastscopeError(f"{path} has rows that its hash does not fit: make the split again.")
    return split


@dataclass
class SplitReport:
    """What a split is: cells and subjects per part and class, and what parts share."""

    protocol: str
    seed: int
    hash: str
    cells: dict[str, dict[str, int]] = field(default_factory=dict)
    subjects: dict[str, dict[str, int]] = field(default_factory=dict)
    shared_subjects: dict[str, list[str]] = field(default_factory=dict)
    """For each pair of parts, ``train/test``, the subjects in both."""
    shared_pixels: dict[str, int] = field(default_factory=dict)
    """For each pair of parts, how many cells of the second show pixels of the first."""
    left_out: int = 0
    without_pixels: int = 0
    """Cells without a pixel hash."""
    without_subject: int = 0
    """Cells whose subject is not known: what the parts share is not known for them."""
    kept_together: tuple[SubjectGroup, ...] = ()
    """Subjects that share pixel-identical cells and so are in one part; by subject only."""
    notes: tuple[str, ...] = ()

    @property
    def disjoint(self) -> bool:
        """Whether it is known that no subject is in two parts."""
        return not self.without_subject and not any(self.shared_subjects.values())


def describe(split: Split, cells: pl.DataFrame) -> SplitReport:
    """Count what a split holds; ``cells`` is the cell table that it was made of."""
    joined = cells.join(split.table, on="cell", how="inner")
    report = SplitReport(split.protocol, split.seed, split.hash, notes=split.notes)
    report.left_out = cells.height - joined.height
    report.without_pixels = joined["pixel_hash"].null_count()
    report.without_subject = joined["subject"].null_count()
    for part in PARTS:
        rows = joined.filter(pl.col("part") == part)
        counts = rows.group_by("label").len().sort("label")
        report.cells[part] = {str(label): int(n) for label, n in counts.iter_rows()}
        known = rows.filter(pl.col("subject").is_not_null())
        subjects = known.group_by("label").agg(pl.col("subject").n_unique()).sort("label")
        report.subjects[part] = {str(label): int(n) for label, n in subjects.iter_rows()}
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        a, b = (joined.filter(pl.col("part") == part) for part in (first, second))
        shared = set(a["subject"].drop_nulls()) & set(b["subject"].drop_nulls())
        report.shared_subjects[f"{first}/{second}"] = sorted(shared)
        hashes = a["pixel_hash"].drop_nulls().unique()
        report.shared_pixels[f"{first}/{second}"] = b.filter(
            pl.col("pixel_hash").is_in(hashes.implode())
        ).height
    report.kept_together = _kept_together(split.protocol, joined)
    return report


def _kept_together(protocol: str, cells: pl.DataFrame) -> tuple[SubjectGroup, ...]:
    """Return the groups of subjects that a split by subject keeps in one part."""
    if protocol not in ("subject", "official"):
        return ()
    if protocol == "official":  # its test part is given
        cells = cells.filter(pl.col("part") != "test")
    parts_of = dict(cells.group_by("subject").agg(pl.col("part").unique()).iter_rows())
    return tuple(
        group
        for group in group_subjects(cells)[1]
        if len({part for subject in group.subjects for part in parts_of[subject]}) == 1
    )
