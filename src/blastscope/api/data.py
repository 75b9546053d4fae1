"""Get data and look at it: check a folder of cells, draw synthetic ones, fetch C-NMC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import polars as pl

from blastscope.api.result import (
    AnyPath,
    FolderResult,
    Progress,
    Result,
    TextTable,
    as_path,
    as_paths,
    showing,
    synthetic_of,
)
from blastscope.data.check import MEANINGS, CheckReport
from blastscope.data.check import check as check_cells
from blastscope.data.fetch import CITATION, fetch_cnmc
from blastscope.data.synthetic import write_synthetic
from blastscope.data.synthetic_fields import write_synthetic_fields
from blastscope.errors import listing
from blastscope.report.data_text import DATA_SET, official_text
from blastscope.report.text import LABELS


@dataclass(frozen=True, eq=False, repr=False)
class CheckResult(Result):
    """What a data set is, and everything in it that looks wrong.

    Attributes:
        found: the counts, the suspicious files, and why the data set is not usable.
    """

    found: CheckReport
    synthetic = synthetic_of("found")

    @property
    def usable(self) -> bool:
        """Whether a model can be trained or run on these cells as they are."""
        return self.found.usable

    def to_frame(self) -> pl.DataFrame:
        """Return the number of cells of each subject."""
        schema = {"subject": pl.String, "cells": pl.Int64}
        return pl.DataFrame(list(self.found.per_subject.items()), schema=schema, orient="row")

    def as_json(self) -> dict[str, Any]:
        """Return everything that was counted."""
        return self.found.as_json()

    def tables(self) -> list[TextTable]:
        """Return the cells by class, fold and subject, and the suspicious and unusable files."""
        found = self.found
        tables = [
            TextTable.of(
                ("class", "cells", "subjects"),
                [
                    (LABELS[c], n, found.subjects_per_class.get(c))
                    for c, n in found.per_class.items()
                ],
            ),
            TextTable.of(
                ("fold", "ALL", "normal", "unlabelled"),
                [
                    (fold, *(counts.get(key, 0) for key in ("all", "hem", "unlabelled")))
                    for fold, counts in found.per_fold.items()
                ],
            ),
        ]
        if found.per_subject:
            tables.append(TextTable.of(("subject", "cells"), found.per_subject.items()))
        for flag, files in sorted(found.suspicious.items()):
            meaning = MEANINGS[flag]
            rows = found.identical if flag == "identical" else [[file] for file in files]
            name = f"{meaning[0].upper()}{meaning[1:]} ({len(files):,})"
            tables.append(TextTable.of((name,), [(" = ".join(row),) for row in rows]))
        if found.unusable:
            rows = [[problem.file, problem.message] for problem in found.unusable]
            tables.append(TextTable.of((f"Cannot be used ({len(rows):,})", ""), rows))
        return [*tables, *self._official_tables()]

    def _official_tables(self) -> list[TextTable]:
        """Return the files that differ from the published ones, and those with one content."""
        found = self.found.official
        tables = []
        if found and found.altered:
            name = f"The name of a {DATA_SET} file and other content ({len(found.altered):,})"
            tables.append(TextTable.of((name,), [(file,) for file in found.altered]))
        if found and found.doubled:
            name = f"One content under several names of {DATA_SET} ({len(found.doubled):,})"
            tables.append(TextTable.of((name,), [(" = ".join(row),) for row in found.doubled]))
        return tables

    def answers(self) -> list[str]:
        """Say how many cells there are, of which kinds, and whether they can be used."""
        found = self.found
        synthetic = " synthetic" if found.synthetic else ""
        return [
            f"{found.cells:,}{synthetic} cells, {found.subjects} subjects in "
            f"{', '.join(found.folders)}",
            *(f"{name}: {_counts(counts)}" for name, counts in (
                ("Sizes", found.sizes), ("Formats", found.formats), ("Modes", found.modes))),
            *(official_text(found.official) if found.official else ()),
            *(f"Note: {line}" for line in found.notes),
            "Usable." if found.usable else "Not usable as it is.",
        ]  # fmt: skip


def _counts(counts: Mapping[str, int]) -> str:
    most = sorted(counts.items(), key=lambda pair: -pair[1])
    return listing([f"{name} ({number:,})" for name, number in most])


def check(
    folders: AnyPath | Iterable[AnyPath],
    labels: AnyPath | None = None,
    *,
    believe: Literal["name", "folder", "table"] | None = None,
    progress: Progress = False,
) -> CheckResult:
    """Check a data set: classes, subjects, folds, and everything suspicious.

    Args:
        folders: the folder, or folders, with the cell images.
        labels: a labels table (CSV), with file names and labels, subjects or both.
        believe: what to believe if a file's name, its folder and a table contradict each other;
            such files cannot be used without it.
        progress: show a progress bar; or a function to call with how much is done and of how much.

    Returns:
        What the data set is; ``usable`` says whether a model can be trained on it.

    Raises:
        BlastscopeError: if a folder or the labels cannot be read.
    """
    with showing("Reading", progress) as advance:
        found = check_cells(as_paths(folders), as_path(labels), believe, advance)
    return CheckResult(found)


@dataclass(frozen=True, eq=False, repr=False)
class CellsResult(FolderResult):
    """A folder of cell images that was written.

    Attributes:
        told: what was written, in sentences.
        counts: of drawn images: how many ``cells`` or ``fields``, of how many ``subjects``, and
            the ``seed``.
    """

    told: tuple[str, ...]
    counts: Mapping[str, int] = field(default_factory=dict)

    def to_frame(self) -> pl.DataFrame:
        """Return the files."""
        files = sorted(path for path in self.place.rglob("*") if path.suffix != ".txt")
        names = [path.relative_to(self.place).as_posix() for path in files if path.is_file()]
        return pl.DataFrame({"file": names})

    def as_json(self) -> dict[str, Any]:
        """Return the folder and what it holds."""
        return {"path": self.written_to, **self.counts}

    def answers(self) -> list[str]:
        """Say what was written."""
        return list(self.told)


def synthesize(
    out: AnyPath,
    cells: int = 1500,
    subjects: int = 24,
    *,
    seed: int = 24,
    progress: Progress = False,
) -> CellsResult:
    """Draw synthetic cells in the layout, names and format of the C-NMC data.

    Args:
        out: a folder that does not exist yet.
        cells: how many cells.
        subjects: how many subjects they are of.
        seed: the same seed draws the same cells.
        progress: show a progress bar; or a function to call with how much is done and of how much.

    Returns:
        The folder.

    Raises:
        BlastscopeError: if the folder exists or cannot be written, or there are fewer cells than
            subjects.
    """
    folder = Path(out)
    with showing("Drawing", progress) as advance:
        write_synthetic(
            folder, cells, subjects, seed,
            None if advance is None else lambda done: advance(done, cells),
        )  # fmt: skip
    told = f"{folder}: {cells:,} synthetic cells of {subjects} synthetic subjects, seed {seed}."
    counts = {"cells": cells, "subjects": subjects, "seed": seed}
    return CellsResult((told,), counts, path=folder)


def synthesize_fields(
    out: AnyPath,
    fields: int = 20,
    subjects: int = 4,
    *,
    seed: int = 24,
    progress: Progress = False,
) -> CellsResult:
    """Draw synthetic fields of blood smears, with the exact truth beside them.

    White cells of both classes, touching pairs, cells that the frame cuts, red cells, platelets,
    vignette and a gradient of the stain; docs/formats.md has the layout.

    Args:
        out: a folder that does not exist yet.
        fields: how many fields.
        subjects: how many subjects they are of, at most one a field.
        seed: the same seed draws the same fields.
        progress: show a progress bar; or a function to call with how much is done and of how much.

    Returns:
        The folder.

    Raises:
        BlastscopeError: if the folder exists or cannot be written, or a number is out of its range.
    """
    folder = Path(out)
    with showing("Drawing", progress) as advance:
        write_synthetic_fields(
            folder, fields, subjects, seed,
            None if advance is None else lambda done: advance(done, fields),
        )  # fmt: skip
    drawn = min(subjects, fields)  # each subject has a field
    told = f"{folder}: {fields:,} synthetic fields of {drawn} synthetic subjects, seed {seed}."
    counts = {"fields": fields, "subjects": drawn, "seed": seed}
    return CellsResult((told,), counts, path=folder)


def fetch(out: AnyPath) -> CellsResult:
    """Fetch C-NMC 2019 (CC BY 3.0) from its Kaggle mirror.

    Args:
        out: a folder that does not exist yet, or is empty.

    Returns:
        The folder with the training folds.

    Raises:
        BlastscopeError: if kagglehub is not installed, Kaggle cannot be reached or refuses, or the
            folder is not empty or cannot be written.
    """
    place = fetch_cnmc(Path(out))
    return CellsResult((f"{place}: now run blastscope check {place}", CITATION), path=place)
