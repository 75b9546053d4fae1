"""Checking a data set: what it is, and everything in it that looks wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.data.contradictions import label_conflicts
from blastscope.data.images import large_in_turn
from blastscope.data.inspection import Inspection, inspect_cell
from blastscope.data.layouts import Believe, CellFile, Listing, Problem, list_cells
from blastscope.data.official_files import (
    OfficialComparison,
    OfficialFile,
    compare,
    is_original,
    match_names,
    read_digest,
)
from blastscope.errors import listing as join
from blastscope.parallel import in_order

MEANINGS = {
    "frame": "cells that touch the frame, and so may be cut off",
    "components": "cells in several pieces: debris or a second cell",
    "identical": "cells with pixels that another cell has too",
    "subject-case": "subjects written in lower case, read as upper case",
    "grey": "grey images, read as RGB: the stain's colour is lost",
    "alpha": "images with transparency, flattened on black",
    "alpha-ignored": "BMPs whose transparency is 0 everywhere, read as opaque",
    "cmyk": "CMYK images, converted to RGB",
    "palette": "palette images, converted to RGB",
    "ycbcr": "YCbCr images, converted to RGB",
    "lab": "CIELAB images, converted to RGB (from D50, as TIFF has it)",
    "hsv": "HSV images, converted to RGB",
    "frames": "files of several images, of which the first is read",
}
"""What each flag of the cell table means."""


@dataclass
class CheckReport:
    """What a data set is. ``usable`` is whether a model can be trained or run on it."""

    folders: list[str]
    cells: int = 0
    subjects: int = 0
    unlabelled: int = 0
    without_subject: int = 0
    per_class: dict[str, int] = field(default_factory=dict)
    subjects_per_class: dict[str, int] = field(default_factory=dict)
    per_fold: dict[str, dict[str, int]] = field(default_factory=dict)
    per_subject: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    formats: dict[str, int] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    suspicious: dict[str, list[str]] = field(default_factory=dict)
    """The files behind each flag of ``MEANINGS``."""
    identical: list[list[str]] = field(default_factory=list)
    """Groups of files with identical pixels."""
    official: OfficialComparison | None = None
    """How files that are called as in C-NMC 2019 differ from the published ones; None without."""
    unusable: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    synthetic: bool = False
    reasons: list[str] = field(default_factory=list)
    """Why the data set is not usable; empty if it is."""

    @property
    def usable(self) -> bool:
        """Whether a model can be trained or run on these cells as they are."""
        return not self.reasons

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain objects, ``usable`` included."""
        return {"usable": self.usable, **asdict(self)}


def check(
    folders: Sequence[Path],
    labels: Path | None = None,
    believe: Believe | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Read every image of a data set and say what it is.

    BMP files that are called as in C-NMC 2019 are compared with the published ones.

    Args:
        folders: the data set's folders, in any layout of ``data.layouts``.
        labels: a labels table.
        believe: what to believe if a name, a folder and a table contradict each other.
        on_progress: called with the number of images read and their total.

    Raises:
        BlastscopeError: if there is nothing to check.
    """
    found = list_cells(folders, labels, believe)
    report = CheckReport([str(folder) for folder in folders], synthetic=found.synthetic)
    report.unusable.extend(found.problems)
    report.notes.extend(found.notes)
    known = _called_as_published(found, folders)
    digests: dict[str, int] = {}
    by_hash: dict[str, list[str]] = defaultdict(list)
    usable: dict[str, CellFile] = {}
    check_file = partial(_check_file, published=known)
    for number, (item, outcome, digest) in enumerate(in_order(check_file, found.cells), start=1):
        if digest is not None:
            digests[item.file] = digest
        if isinstance(outcome, Problem):
            report.unusable.append(outcome)
        else:
            usable[item.file] = item
            _note(report, item, outcome)
            by_hash[outcome.pixel_hash].append(item.file)
        if on_progress:
            on_progress(number, len(found.cells))
    report.identical = sorted(files for files in by_hash.values() if len(files) > 1)
    if report.identical:
        report.suspicious["identical"] = sorted(f for group in report.identical for f in group)
    for problem in _conflicts(usable, report.identical):
        report.unusable.append(problem)
        del usable[problem.file]
    report.official = compare(known, digests)
    _count(report, list(usable.values()))
    _judge(report)
    return report


def _conflicts(usable: Mapping[str, CellFile], identical: list[list[str]]) -> list[Problem]:
    rows = [
        (file, usable[file].label, str(k)) for k, group in enumerate(identical) for file in group
    ]
    columns = {"file": pl.String, "label": pl.String, "pixel_hash": pl.String}
    return label_conflicts(pl.DataFrame(rows, columns, orient="row"))


def _called_as_published(found: Listing, folders: Sequence[Path]) -> dict[str, OfficialFile]:
    """Return the files that have the name of a published one; synthetic cells have none."""
    if found.synthetic:
        return {}
    root = folders[0].resolve().name if len(folders) == 1 else ""
    return match_names((item.file for item in found.items), root)


@dataclass(frozen=True)
class _Checked:
    """An inspection without its pixels, so that a queue of them stays small."""

    pixel_hash: str
    size: str
    format: str
    mode: str
    flags: tuple[str, ...]


@large_in_turn()
def _check_file(
    item: CellFile, published: Mapping[str, OfficialFile]
) -> tuple[CellFile, _Checked | Problem, int | None]:
    """Inspect a file, and hash its content if a published BMP file has its name."""
    own = item.source is None  # a tar's entries are not files
    compared = own and item.file in published and is_original(item.file)
    digest = read_digest(item.path) if compared else None
    seen = inspect_cell(item)
    if not isinstance(seen, Inspection):
        return item, seen, digest
    size = f"{seen.pixels.shape[1]}×{seen.pixels.shape[0]}"
    checked = _Checked(seen.pixel_hash, size, seen.format, seen.mode, seen.flags)
    return item, checked, digest


def _note(report: CheckReport, item: CellFile, seen: _Checked) -> None:
    for counts, key in (
        (report.sizes, seen.size),
        (report.formats, seen.format),
        (report.modes, seen.mode),
    ):
        counts[key] = counts.get(key, 0) + 1
    for flag in seen.flags:
        report.suspicious.setdefault(flag, []).append(item.file)


def _count(report: CheckReport, cells: Sequence[CellFile]) -> None:
    report.cells = len(cells)
    labelled = [item for item in cells if item.label]
    report.unlabelled = len(cells) - len(labelled)
    report.without_subject = sum(item.subject is None for item in cells)
    report.per_class = dict(sorted(Counter(str(item.label) for item in labelled).items()))
    subjects = {item.subject for item in cells if item.subject}
    report.subjects = len(subjects)
    by_class = {(item.label, item.subject) for item in labelled if item.subject}
    report.subjects_per_class = dict(sorted(Counter(str(label) for label, _ in by_class).items()))
    report.per_subject = dict(sorted(Counter(i.subject for i in cells if i.subject).items()))
    folds: dict[str, Counter[str]] = defaultdict(Counter)
    for item in cells:
        folds[item.fold or "none"][item.label or "unlabelled"] += 1
    report.per_fold = {fold: dict(sorted(folds[fold].items())) for fold in sorted(folds)}


def _judge(report: CheckReport) -> None:
    if report.unusable:
        files = join([f"{p.file} {p.message}" for p in report.unusable], most=len(report.unusable))
        count = len(report.unusable)
        what = "file cannot be used" if count == 1 else "files cannot be used"
        remedy = "mend or remove, or leave out with prepare --skip-bad"
        kinds = Counter(problem.kind for problem in report.unusable)
        contradictions = kinds["label"] + kinds["subject"]
        if contradictions:
            remedy += (
                f"; for the {contradictions} that contradict themselves say with --believe what "
                "to trust"
            )
        report.reasons.append(f"{count} {what} ({files}): {remedy}.")
    if report.official and report.official.altered:
        altered = report.official.altered
        what = "file has" if len(altered) == 1 else "files have"
        report.reasons.append(
            f"{len(altered)} {what} the name of a C-NMC 2019 file and other content "
            f"({join(altered)}): get the published file again, or remove this one."
        )
    if report.without_subject and report.without_subject < report.cells:
        report.notes.append(
            f"{report.without_subject} of {report.cells} cells have no subject: they cannot be "
            "split by subject"
        )
    elif report.without_subject:
        report.notes.append("no subjects: these cells cannot be split by subject")
    if report.cells == 0:
        report.reasons.append("No image is left to use.")
    elif report.unlabelled == report.cells:
        report.notes.append("no labels: nothing can be trained on these cells or judged by them")
    elif len(report.per_class) == 1:
        only = next(iter(report.per_class))
        report.reasons.append(
            f"All labelled cells are of the class {only}: a model needs both, so add the other."
        )
