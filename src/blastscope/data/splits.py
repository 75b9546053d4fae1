"""Split cells into train, validation and test by a named protocol, and write the split.

No protocol depends on the order of files on disk.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction
from math import isfinite, lcm
from pathlib import Path

import numpy as np
import polars as pl

from blastscope.data.cell_sources import read_cells
from blastscope.data.folds import stratified
from blastscope.data.names import ALL, HEM
from blastscope.data.paper_split import paper_split
from blastscope.data.split_table import Split, SplitReport, describe
from blastscope.data.subject_groups import GROUP, counted_as_one, group_subjects
from blastscope.errors import BlastscopeError
from blastscope.io.predictions import PARTS

FRACTIONS = (0.6, 0.2, 0.2)
SEED = 24
"""The seed of the paper's notebooks."""


def image_split(
    cells: pl.DataFrame, seed: int = SEED, fractions: Sequence[float] = FRACTIONS
) -> Split:
    """Split at random by image, as the paper did (Section 1.1): subjects end in several parts.

    The list is ALL cells, then normal ones, shuffled by Python's ``random`` under the seed and cut
    at whole numbers. Each class is sorted by name; the authors took the order of their disk. On the
    10,661 C-NMC cells the parts have the published sizes per class, not the same members. Test may
    have a share of 0, for a model that is trained on all cells and was judged before.

    Raises:
        BlastscopeError: if the fractions are wrong or a class is missing.
    """
    shares = check_fractions(fractions, without_test=True)
    labelled = _both_classes(cells)
    names = [
        cell
        for label in (ALL, HEM)
        for cell in labelled.filter(pl.col("label") == label)["cell"].sort().to_list()
    ]
    random.Random(seed).shuffle(names)
    train, validation = (int(len(names) * float(share)) for share in shares[:2])
    if shares[2] == 0:  # none is left over
        validation = len(names) - train
    ends = (0, train, train + validation, len(names))
    parts = {cell: part for k, part in enumerate(PARTS) for cell in names[ends[k] : ends[k + 1]]}
    return _split(parts, "image", seed, fractions)


def subject_split(
    cells: pl.DataFrame, seed: int = SEED, fractions: Sequence[float] = FRACTIONS
) -> Split:
    """Split so that no subject is in two parts, both classes in each.

    Subjects that share pixel-identical cells count as one. Scikit-learn's ``StratifiedGroupKFold``
    cuts the subjects into as many folds as the fractions need (five for .6 .2 .2); the parts are
    made of whole folds, those of validation and test chosen so that each holds both classes. If
    they leave a class to no training fold, single subjects make up the parts.

    Raises:
        BlastscopeError: if a cell has no subject, or a class too few subjects for three parts.
    """
    shares = check_fractions(fractions)
    labelled = _both_classes(cells)
    if labelled["subject"].null_count():
        cell = labelled.filter(pl.col("subject").is_null())["cell"][0]
        raise BlastscopeError(f"{cell} has no subject: a subject split needs every cell's.")
    labelled, together = group_subjects(labelled)
    by_class = dict(labelled.group_by("label").agg(pl.col(GROUP).n_unique()).iter_rows())
    few = min(by_class, key=lambda label: by_class[label])
    if by_class[few] < len(PARTS):
        have = "1 subject has" if by_class[few] == 1 else f"{by_class[few]} subjects have"
        raise BlastscopeError(
            f"Only {have} {few} cells{counted_as_one(together)}: a subject "
            "split needs three of each class, one for each part."
        )
    wanted = [int(share * _folds(shares)) for share in shares]
    is_all = (labelled["label"] == ALL).to_numpy()
    most = max(int(is_all.sum()), int((~is_all).sum()))
    folds = min(sum(wanted), labelled[GROUP].n_unique(), most)
    fold = stratified(is_all, folds, seed, labelled[GROUP].to_numpy())
    part_of = _assign_folds(fold, is_all, wanted, seed)
    if part_of is None:  # few subjects: whole folds are too coarse
        _, fold = np.unique(labelled[GROUP].to_numpy(), return_inverse=True)
        part_of = _assign_subjects(fold, is_all, shares, seed)
    parts = {cell: part_of[k] for cell, k in zip(labelled["cell"], fold.tolist(), strict=True)}
    return _split(parts, "subject", seed, fractions)


def official_split(cells: pl.DataFrame, seed: int = SEED) -> Split:
    """Train on the challenge's folds 0 to 2, test on its preliminary set: no subject is in both.

    Validation is a fifth of the training folds, by subject, and subjects of these folds that share
    pixel-identical cells are kept together. The preliminary set is tested whole, even if it has
    pixels of the training folds.
    """
    labelled = cells.filter(pl.col("label").is_not_null())
    test = labelled.filter(pl.col("fold") == "preliminary")
    rest = labelled.filter(pl.col("fold").is_in(["0", "1", "2"]))
    if not test.height or not rest.height:
        raise BlastscopeError(
            "The official split needs cells of fold_0 to fold_2 and of the labelled preliminary "
            "set: prepare both folders into one store."
        )
    inner = subject_split(rest, seed, (0.8, 0.1, 0.1))
    parts = dict(inner.table.with_columns(pl.col("part").replace("test", "validation")).iter_rows())
    parts |= dict.fromkeys(test["cell"].to_list(), "test")
    return _split(parts, "official", seed, (0.8, 0.2))


def check_fractions(fractions: Sequence[float], without_test: bool = False) -> list[Fraction]:
    """Return the shares of train, validation and test exactly; ``without_test``, test's may be 0.

    Raises:
        BlastscopeError: unless they are three, positive, and add up to 1.
    """
    finite = [share for share in fractions if isfinite(share)]
    shares = [Fraction(str(share)) for share in finite]
    positive = len(shares) == len(PARTS) and min(shares[:2]) > 0 <= shares[2]
    if not positive or sum(shares) != 1 or (shares[2] == 0 and not without_test):
        given = " ".join(map(str, fractions))
        raise BlastscopeError(f"Fractions {given} are not three positive shares that add up to 1.")
    return shares


def _folds(shares: Sequence[Fraction]) -> int:
    """Return the fewest equal folds that make up the shares, at most 20."""
    denominator = lcm(*(share.denominator for share in shares))
    if denominator > 20:
        raise BlastscopeError("Fractions of a subject split must be multiples of .05.")
    return denominator


def _assign_folds(
    fold: np.ndarray, is_all: np.ndarray, wanted: Sequence[int], seed: int
) -> dict[int, str] | None:
    """Give whole folds to test, then to validation, then to train; None if train lacks a class.

    Folds with both classes go first, and a part that still lacks a class takes one fold more than
    its share.
    """
    order = np.random.default_rng(seed).permutation(fold.max() + 1).tolist()
    classes = {k: set(is_all[fold == k].tolist()) for k in order}
    left = sorted(order, key=lambda k: -len(classes[k]))  # stable: folds with both classes first
    part_of: dict[int, str] = {}
    for part, count in (("test", wanted[2]), ("validation", wanted[1])):
        taken: list[int] = []
        while left and (len(taken) < count or _classes(taken, classes) < 2):
            taken.append(left.pop(0))
        part_of |= dict.fromkeys(taken, part)
    part_of |= dict.fromkeys(left, "train")
    return part_of if _classes(left, classes) == 2 else None


def _assign_subjects(
    group: np.ndarray, is_all: np.ndarray, shares: Sequence[Fraction], seed: int
) -> dict[int, str]:
    """Give numbered subjects to the parts, if no choice of whole folds has both classes in each.

    Test and validation first take both classes, subjects with both of them before others, and then
    what their shares lack, as long as training keeps both classes. Three subjects of each class
    are always enough.
    """
    order = np.random.default_rng(seed).permutation(group.max() + 1).tolist()
    classes = {k: set(is_all[group == k].tolist()) for k in order}
    left = sorted(order, key=lambda k: -len(classes[k]))
    taken: dict[str, list[int]] = {"test": [], "validation": []}
    for own in taken.values():
        while _classes(own, classes) < 2:
            has = set().union(*(classes[k] for k in own))
            own.append(next(k for k in left if classes[k] - has))
            left.remove(own[-1])
    for own, share in zip(taken.values(), (shares[2], shares[1]), strict=True):
        for k in list(left):
            rest = [one for one in left if one != k]
            if len(own) < round(share * len(order)) and _classes(rest, classes) == 2:
                own.append(k)
                left = rest
    parts = {k: part for part, own in taken.items() for k in own}
    return parts | dict.fromkeys(left, "train")


def _classes(folds: Sequence[int], classes: dict[int, set[bool]]) -> int:
    return len(set().union(*(classes[k] for k in folds)))


def _both_classes(cells: pl.DataFrame) -> pl.DataFrame:
    labelled = cells.filter(pl.col("label").is_not_null()).sort("cell")
    have = sorted(labelled["label"].unique().to_list())
    if have != [ALL, HEM]:
        what = f"only cells labelled {have[0]}" if have else "no labelled cells"
        raise BlastscopeError(f"There are {what}: a split needs both all and hem.")
    return labelled


def _split(parts: dict[str, str], protocol: str, seed: int, fractions: Sequence[float]) -> Split:
    table = pl.DataFrame({"cell": list(parts), "part": list(parts.values())}).sort("cell")
    return Split(table, protocol, seed, tuple(fractions))


PROTOCOLS = ("image", "subject", "official", "paper")


def make_split(
    source: Path,
    protocol: str,
    seed: int = 24,
    fractions: Sequence[float] | None = None,
    membership: Path | None = None,
    out: Path | None = None,
) -> tuple[Path, SplitReport]:
    """Split cells as :func:`blastscope.split` does, and write the split.

    Raises:
        BlastscopeError: if the cells cannot be split so, a subject split has a subject in two
            parts, or the file is another split already.
    """
    _refuse_unused(protocol, fractions, membership)
    cells = read_cells(source)
    if protocol in ("image", "subject"):
        cut = image_split if protocol == "image" else subject_split
        split = cut(cells, seed, fractions or FRACTIONS)
    elif protocol == "official":
        split = official_split(cells, seed)
    elif protocol == "paper":
        if membership is None:
            raise BlastscopeError(
                "The paper protocol needs the files of the published training set: give a CSV "
                "with the columns file and augmented_copy_of as `membership` (--membership)."
            )
        split = paper_split(cells, membership, seed)
    else:
        raise BlastscopeError(f"{protocol!r} is not a protocol: choose {', '.join(PROTOCOLS)}.")
    report = describe(split, cells)
    refuse_overlap(report)
    without_test = fractions is not None and fractions[-1] == 0  # only by image
    empty = [part for part, counts in report.cells.items() if not counts]
    if empty and not (without_test and empty == ["test"]):
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
        raise BlastscopeError(f"The {protocol} split has its own sizes: leave the fractions out.")
    if membership is not None and protocol != "paper":
        raise BlastscopeError("The `membership` is for the paper protocol: leave it out.")


def refuse_overlap(report: SplitReport) -> None:
    """Refuse a split that calls itself subject-disjoint and is not.

    Raises:
        BlastscopeError: if a ``subject`` or ``official`` split has a subject in two parts.
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
        raise BlastscopeError(f"{source} is a file: name the file of the split (`out`).")
    return source / "splits" / f"{split.protocol}-seed{split.seed}.parquet"
