"""Making a split: the protocol by name, its report, the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blastscope.errors import BlastscopeError
from blastscope.splits.membership import paper_split
from blastscope.splits.parts import Split, SplitReport, describe
from blastscope.splits.protocols import FRACTIONS, image_split, official_split, subject_split
from blastscope.splits.source import read_cells

PROTOCOLS = ("image", "subject", "official", "paper")


def make_split(
    source: Path,
    protocol: str,
    seed: int = 24,
    fractions: Sequence[float] | None = None,
    membership: Path | None = None,
    out: Path | None = None,
) -> tuple[Path, SplitReport]:
    """Split the cells of a store, a cell table or a list of names, and write the split.

    Args:
        source: a store, a cell table, or a CSV with a column ``file``.
        protocol: ``image``, ``subject``, ``official`` or ``paper``.
        seed: the same seed and cells give the same split, whatever the order on disk.
        fractions: shares of train, validation and test, for ``image`` and ``subject``;
            .6 .2 .2 without.
        membership: for ``paper``, the CSV of its final training set's files.
        out: the Parquet file; in the store's folder ``splits`` by default.

    Returns:
        The file and what is in it.

    Raises:
        BlastscopeError: where the cells cannot be split so, a subject split has a subject in two
            parts, or the file is another split already.
    """
    _refuse_unused(protocol, fractions, membership)
    cells = read_cells(source)
    if protocol == "image":
        split = image_split(cells, seed, fractions or FRACTIONS)
    elif protocol == "subject":
        split = subject_split(cells, seed, fractions or FRACTIONS)
    elif protocol == "official":
        split = official_split(cells, seed)
    elif protocol == "paper":
        if membership is None:
            raise BlastscopeError(
                "The paper protocol needs --membership FILE, a CSV file,augmented_copy_of of the "
                "published training set."
            )
        split = paper_split(cells, membership, seed)
    else:
        raise BlastscopeError(f"{protocol!r} is no protocol: choose {', '.join(PROTOCOLS)}.")
    report = describe(split, cells)
    refuse_overlap(report)
    without_test = fractions is not None and fractions[-1] == 0  # only by image
    empty = [
        part
        for part, counts in report.cells.items()
        if not counts and not (without_test and part == "test")
    ]
    if empty:
        raise BlastscopeError(
            f"{source} has too few cells: the {' and '.join(empty)} part would be empty."
        )
    path = out or _default_path(source, split)
    split.write(path)
    return path, report


def _refuse_unused(
    protocol: str, fractions: Sequence[float] | None, membership: Path | None
) -> None:
    if fractions is not None and protocol in ("official", "paper"):
        raise BlastscopeError(f"The {protocol} split has its own sizes: leave out --fractions.")
    if membership is not None and protocol != "paper":
        raise BlastscopeError("--membership is for the paper protocol: leave it out.")


def refuse_overlap(report: SplitReport) -> None:
    """Refuse a split that calls itself subject-disjoint and is not.

    Raises:
        BlastscopeError: where a ``subject`` or ``official`` split has a subject in two parts.
    """
    if report.protocol not in ("subject", "official") or report.disjoint:
        return
    if report.without_subject:
        raise BlastscopeError(
            f"{report.without_subject} cells have no subject: a {report.protocol} split needs "
            "every cell's, for example from a labels table with Patient_ID."
        )
    pair, shared = next((pair, names) for pair, names in report.shared_subjects.items() if names)
    raise BlastscopeError(
        f"The {report.protocol} split has subjects in both {pair} ({', '.join(shared)}): the same "
        "subject must not stand under two labels or folds."
    )


def _default_path(source: Path, split: Split) -> Path:
    if not source.is_dir():
        raise BlastscopeError(f"{source} is a file: say with --out where the split is to go.")
    return source / "splits" / f"{split.protocol}-seed{split.seed}.parquet"
