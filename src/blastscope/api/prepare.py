"""Prepare a store of cells, and split it into train, validation and test."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from blastscope.api.result import (
    AnyPath,
    FolderResult,
    Progress,
    TextTable,
    as_inputs,
    as_path,
    showing,
    synthetic_of,
)
from blastscope.data.preparation import Prepared
from blastscope.data.preparation import prepare as make_store
from blastscope.data.split_table import SplitReport
from blastscope.data.splits import make_split
from blastscope.data.stain_reference import stain_reference
from blastscope.data.store import StoreSettings, open_store
from blastscope.errors import listing
from blastscope.io.remote import local, refuse_url
from blastscope.report.data_text import together_text


@dataclass(frozen=True, eq=False, repr=False)
class StoreResult(FolderResult):
    """A store of prepared cells.

    Attributes:
        made: how many cells it has, and which files were left out.
        size: the side of a prepared cell, in pixels.
    """

    made: Prepared
    size: int
    synthetic = synthetic_of("made")

    def to_frame(self) -> pl.DataFrame:
        """Return the cell table (docs/formats.md)."""
        return open_store(self.place).cells

    def as_json(self) -> dict[str, Any]:
        """Return the counts."""
        return asdict(self.made) | {"path": self.written_to, "size": self.size}

    def answers(self) -> list[str]:
        """Say how many cells the store has."""
        made = self.made
        if made.already:
            return [
                f"{self.path}: the same {made.cells:,} cells with the same settings, already "
                "prepared."
            ]
        synthetic = " synthetic" if made.synthetic else ""
        left_out = f", {len(made.skipped)} left out" if made.skipped else ""
        return [
            f"{self.path}: {made.cells:,}{synthetic} cells at {self.size} × {self.size} "
            f"pixels{left_out}."
        ]

    def notes(self) -> list[str]:
        """Say which files were left out or flagged."""
        made = self.made
        if made.already:
            return [f"{text}." for text in made.notes]
        said = [f"{text}." for text in made.notes]
        said += [f"Left out: {problem.file} {problem.message}" for problem in made.skipped]
        if made.resumed:
            said.insert(0, f"Went on after {made.resumed:,} cells of an interrupted run.")
        said += [
            f"Flagged {flag}: {count:,} (docs/formats.md says what that means)."
            for flag, count in made.flags.items()
        ]
        if len(made.labels) == 1:
            said.append(
                f"All labelled cells are of the class {next(iter(made.labels))}: no model can "
                "learn it."
            )
        return said


def prepare(
    folders: AnyPath | Iterable[AnyPath],
    *,
    out: AnyPath,
    size: int = 224,
    scale: str = "crop",
    clahe: bool = False,
    contour: str = "union",
    colour_normalization: str = "none",
    reference: AnyPath | None = None,
    labels: AnyPath | None = None,
    believe: Literal["name", "folder", "table"] | None = None,
    skip_bad: bool = False,
    force: bool = False,
    progress: Progress = False,
) -> StoreResult:
    """Prepare cells: find each cell, crop it, resize it, and write a store.

    The same files and settings again change nothing; a preparation that was interrupted goes on.

    Args:
        folders: the folder, or folders, with the cell images; WebDataset tars; URLs of object
            stores, which are copied here first (docs/scale.md).
        out: the store's folder.
        size: the side of a prepared cell, in pixels.
        scale: ``crop`` stretches each cell to the size, as the paper does; ``keep`` takes the same
            field for every cell, so that absolute size survives.
        clahe: equalise the contrast (CLAHE).
        contour: ``union``, the box of all foreground, or ``first``, the paper's first contour.
        colour_normalization: give every cell the stain of a reference: ``reinhard``, ``macenko`` or
            ``gcti``. A cell that the method cannot normalize cannot be used.
        reference: the reference: an image, or a folder whose most typical image counts; by default
            a typical cell of C-NMC 2019.
        labels: a labels table (CSV), with file names and labels, subjects or both.
        believe: what to believe if a file's name, its folder and a table contradict each other;
            such files cannot be used without it.
        skip_bad: leave out files that cannot be used.
        force: replace a store of other files or settings.
        progress: show a progress bar; or a function to call with how much is done and of how much.

    Returns:
        The store; it can be given to every verb that takes a store.

    Raises:
        BlastscopeError: if files cannot be used (all are named at once), ``out`` is another kind of
            folder, or it cannot be written.
    """
    refuse_url(out, "cannot be a store, which is memory-mapped: give --out a local folder.")
    given = as_inputs(folders)
    stain = stain_reference(colour_normalization, as_path(reference))
    kind = {"scale": scale, "contour": contour}
    settings = StoreSettings(size=size, clahe=clahe, stain=stain, **kind)  # type: ignore[arg-type]
    with showing("Preparing", progress) as advance:
        made = make_store(
            [local(one) for one in given],
            Path(out),
            settings,
            labels=None if labels is None else local(labels),
            believe=believe,
            skip_bad=skip_bad,
            force=force,
            on_progress=advance,
            names=[str(one) for one in given],
        )
    return StoreResult(made, size, path=Path(out))


@dataclass(frozen=True, eq=False, repr=False)
class SplitResult(FolderResult):
    """A split: which cells train, which validate, which test.

    Attributes:
        found: cells and subjects of each part, and what the parts share.
    """

    found: SplitReport

    def to_frame(self) -> pl.DataFrame:
        """Return a row a cell with its part."""
        from blastscope.io.tables import read_parquet

        return read_parquet(self.place)

    def as_json(self) -> dict[str, Any]:
        """Return the counts, and what the parts share."""
        return {**asdict(self.found), "disjoint": self.found.disjoint, "path": self.written_to}

    def tables(self) -> list[TextTable]:
        """Return the cells and subjects of each part."""
        rows = []
        for part, cells in self.found.cells.items():
            by_class = (
                (c.get("all", 0), c.get("hem", 0)) for c in (cells, self.found.subjects[part])
            )
            (n_all, n_hem), subjects = by_class
            rows.append((part, n_all, n_hem, sum(cells.values()), *subjects))
        columns = ("part", "ALL cells", "normal cells", "cells", "ALL subjects", "normal subjects")
        return [TextTable.of(columns, rows)]

    def answers(self) -> list[str]:
        """Say which subjects and pixels are in two parts."""
        said = []
        for pair, shared in self.found.shared_subjects.items():
            names = f" ({listing(shared)})" if shared else ""
            said.append(f"{pair}: {len(shared)} subjects in both{names}")
        for pair, count in self.found.shared_pixels.items():
            first, second = pair.split("/")
            said.append(f"{pair}: {count} {second} cells with the pixels of a {first} cell")
        if self.found.kept_together:
            said.append(together_text(self.found.kept_together))
        return [*said, f"hash {self.found.hash}"]

    def notes(self) -> list[str]:
        """Say what is not known of the cells, and which are left out."""
        found, said = self.found, []
        if found.without_subject:
            said.append(
                f"{found.without_subject:,} cells have no subject: whether the parts share "
                "subjects is not known."
            )
        if found.without_pixels:
            said.append(f"{found.without_pixels:,} cells have no pixel hash to compare.")
        if found.left_out:
            said.append(f"{found.left_out:,} cells are in no part: they have no label or no fold.")
        return [*said, *(f"{line}." for line in found.notes)]


def split(
    source: AnyPath,
    protocol: str,
    *,
    seed: int = 24,
    fractions: tuple[float, float, float] | None = None,
    membership: AnyPath | None = None,
    out: AnyPath | None = None,
) -> SplitResult:
    """Split cells into train, validation and test, and write the split.

    Args:
        source: a store, a cell table, or a CSV with a column ``file`` of C-NMC names.
        protocol: ``image``, at random by image, as the paper; ``subject``, no subject in two parts;
            ``official``, train folds against the preliminary set; ``paper``, the published members.
        seed: the same seed and cells give the same split.
        fractions: shares of train, validation and test, for ``image`` and ``subject``; .6, .2 and
            .2 by default.
        membership: for ``paper``, the CSV of its training set's files.
        out: the file to write; ``STORE/splits/PROTOCOL-seedK.parquet`` by default.

    Returns:
        The split; it can be given to ``train``.

    Raises:
        BlastscopeError: if the cells cannot be split so, or the file is another split already.
    """
    path, found = make_split(
        Path(source), protocol, seed, fractions, as_path(membership), as_path(out)
    )
    return SplitResult(found, path=path)
