"""Cut the folds of a cross-validation: which cells each network is tested on, which choose."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.data.names import ALL, HEM
from blastscope.data.split_table import Split
from blastscope.data.subject_groups import (
    GROUP,
    SubjectGroup,
    counted_as_one,
    group_subjects,
    shared_pixels,
)
from blastscope.errors import BlastscopeError, listing

By = Literal["subject", "image", "fold", "matched"]
WAYS: tuple[str, ...] = get_args(By)
CHOOSING = 5
"""One part in so many of what a fold does not test chooses the epoch."""
_FEWEST = 3
"""Subjects of each class from which validation takes whole ones: training keeps two of them."""

Folds = NDArray[np.intp]
"""For each cell, the fold that tests it."""


@dataclass(frozen=True)
class FoldCut:
    """How the folds of a cross-validation were cut.

    Attributes:
        by: what they keep together.
        folds: how many there are.
        asked: how many were asked for.
        scarce: the class with fewer subjects than ``asked``: in each fold one subject of it is left
            out. None if both have as many.
        names: of the data set's own folds.
        one_class: the numbers, from 1, of folds that test cells of one class only.
        whole: in how many folds whole subjects choose the epoch, rather than cells at random.
        kept_together: subjects that share pixel-identical cells and so are in one fold; by subject.
        shared_pixels: for each pair of the data set's own folds, ``0/2``, how many images are in
            both; pairs that share none are left out.
    """

    by: By
    folds: int
    asked: int
    scarce: str | None = None
    names: tuple[str, ...] = ()
    one_class: tuple[int, ...] = ()
    whole: int = 0
    kept_together: tuple[SubjectGroup, ...] = ()
    shared_pixels: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class FoldPlan:
    """The splits of a cross-validation, one a fold, each with the fold's cells as its test part."""

    splits: tuple[Split, ...]
    cut: FoldCut


def make_folds(cells: pl.DataFrame, by: str, folds: int = 5, seed: int = 24) -> FoldPlan:
    """Cut cells into folds, each tested by the others; every labelled cell is tested once.

    By subject the folds are scikit-learn's ``StratifiedGroupKFold``, and subjects that share
    pixel-identical cells count as one. If a class has fewer subjects than folds are asked for, one
    subject of that class is left out at a time, and the other class's subjects are dealt out so
    that the folds have about as many of its cells.

    Of the cells that a fold does not test, about a fifth choose the epoch: whole subjects if three
    of each class are left, so that training keeps two; otherwise cells at random.

    Args:
        cells: ``cell, subject, label, fold`` and, if it is known, ``pixel_hash`` (and others).
        by: ``subject``; ``image``, by cell, as the paper; ``fold``, the data set's own folds;
            ``matched``, by cell, with as many cells of each class in each part of each fold as by
            subject, so that beside it nothing differs but who is known.
        folds: how many; not for ``fold``, which has its own number.
        seed: the same seed and cells give the same folds, whatever the order of the rows.
    """
    if by not in WAYS:
        raise BlastscopeError(f"{by!r} is not a way to cut folds: choose {', '.join(WAYS)}.")
    if folds < 2:
        raise BlastscopeError(f"{folds} folds test nothing on others: ask for two or more.")
    if by == "matched":
        return _matched(cells, folds, seed)
    known = cells.filter(pl.col("label").is_not_null()).sort("cell")
    for label in (ALL, HEM):
        if label not in set(known["label"]):
            raise BlastscopeError(f"No cell is labelled {label}: a cross-validation needs both.")
    known, together = group_subjects(known)
    scarce: str | None = None
    names: tuple[str, ...] = ()
    if by == "image":
        tested = _by_image(known, folds, seed)
    else:
        _refuse_nameless(known, by)
        if by == "subject":
            tested, scarce = _by_subject(known, folds, seed, together)
        else:
            tested, names = _published(known)
    numbers = range(tested.max() + 1)
    chosen = [_choose(known, tested == k, by != "image", seed) for k in numbers]
    splits = tuple(
        _split(known, tested == k, choosing, by, seed) for k, (choosing, _) in enumerate(chosen)
    )
    labels = known["label"].to_numpy()
    one_class = tuple(k + 1 for k in numbers if len(set(labels[tested == k])) < 2)
    whole = sum(whole for _, whole in chosen)
    way: By = by  # type: ignore[assignment]  # one of WAYS
    kept = together if by == "subject" else ()
    shared = shared_pixels(known, "fold") if by == "fold" else {}
    cut = FoldCut(way, len(splits), folds, scarce, names, one_class, whole, kept, shared)
    return FoldPlan(splits, cut)


def _matched(cells: pl.DataFrame, folds: int, seed: int) -> FoldPlan:
    """Cut by subject, then let the cells of each class change places at random."""
    plan = make_folds(cells, "subject", folds, seed)
    rng = np.random.default_rng(seed)
    taken: dict[str, str] = {}
    for label in (ALL, HEM):
        names = cells.filter(pl.col("label") == label)["cell"].sort().to_list()
        taken |= dict(zip(names, rng.permutation(names).tolist(), strict=True))
    swapped = pl.col("cell").replace_strict(taken)
    tables = (split.table.with_columns(swapped).sort("cell") for split in plan.splits)
    splits = tuple(Split(table, "image", seed) for table in tables)
    return FoldPlan(splits, FoldCut("matched", len(splits), folds))


def stratified(y: Any, folds: int, seed: int, groups: Any = None) -> Folds:
    """Return the fold that tests each cell, as scikit-learn deals them out; whole groups if given.

    ``y``, the classes, and ``groups`` have shape (cells,).
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    tested = np.empty(len(y), np.intp)
    for k, (_, rows) in enumerate(kind(folds, shuffle=True, random_state=seed).split(y, y, groups)):
        tested[rows] = k
    return tested


def whole_folds(
    is_all: NDArray[np.bool_], subjects: NDArray[np.str_], folds: int, seed: int
) -> Folds | None:
    """Number folds of whole subjects; None if one of them leaves cells of one class to the rest."""
    dealt = stratified(is_all, folds, seed, subjects)
    _, fold = np.unique(dealt, return_inverse=True)  # a fold of whole subjects may be empty
    left = (is_all[fold != number] for number in range(fold.max() + 1))
    return fold if all(len(set(rest)) == 2 for rest in left) else None


def _by_image(known: pl.DataFrame, folds: int, seed: int) -> Folds:
    few = int(known["label"].value_counts()["count"].min())  # type: ignore[arg-type]
    if few < folds:
        raise BlastscopeError(f"A class has {few} cells only: ask for fewer than {folds} folds.")
    return stratified(known["label"], folds, seed)


def _by_subject(
    known: pl.DataFrame, folds: int, seed: int, together: tuple[SubjectGroup, ...]
) -> tuple[Folds, str | None]:
    """Return the folds, and the class of which one subject is left out at a time, if any."""
    subjects = dict(known.group_by("label").agg(pl.col(GROUP).n_unique()).iter_rows())
    scarce = min(sorted(subjects), key=lambda label: subjects[label])
    if subjects[scarce] < 2:
        raise BlastscopeError(
            f"Only one subject has {'ALL' if scarce == ALL else 'normal'} cells"
            f"{counted_as_one(together)}: no other is left to train on. Cut by image, or add "
            "subjects."
        )
    if subjects[scarce] < folds:
        return _leave_one_out(known, scarce, seed), scarce
    return stratified(known["label"], folds, seed, known[GROUP]), None


def _leave_one_out(known: pl.DataFrame, scarce: str, seed: int) -> Folds:
    """A fold for each subject of the scarce class; the others go to the emptiest fold, in turn."""
    single = known.filter(pl.col("label") == scarce)[GROUP].unique().sort().to_list()
    fold_of = {subject: k for k, subject in enumerate(single)}
    others = known.filter(~pl.col(GROUP).is_in(single)).group_by(GROUP).len()
    order = others.sort(GROUP).sample(fraction=1, shuffle=True, seed=seed)
    filled = [0] * len(single)
    for subject, count in order.sort("len", descending=True, maintain_order=True).iter_rows():
        emptiest = filled.index(min(filled))
        fold_of[subject] = emptiest
        filled[emptiest] += count
    return np.array([fold_of[subject] for subject in known[GROUP]], np.intp)


def _published(known: pl.DataFrame) -> tuple[Folds, tuple[str, ...]]:
    """Return the data set's own folds, and their names."""
    names = known["fold"].unique().sort().to_list()
    if None in names or len(names) < 2:
        raise BlastscopeError(
            f"The cells name {len(set(names) - {None})} fold(s), and not each names one: the "
            "published folds need the folders fold_0, fold_1 and fold_2 in one store."
        )
    shared = known.group_by("subject").agg(pl.col("fold").n_unique()).filter(pl.col("fold") > 1)
    if shared.height:
        raise BlastscopeError(
            f"{listing(sorted(shared['subject']))} are in more than one of the data set's folds: "
            "cut by subject."
        )
    return np.array([names.index(name) for name in known["fold"]], np.intp), tuple(names)


def _choose(
    known: pl.DataFrame, tested: NDArray[np.bool_], by_subject: bool, seed: int
) -> tuple[set[str], bool]:
    """Return the cells that choose the epoch, and whether they are whole subjects."""
    rest = known.filter(~tested)
    subjects = rest.group_by("label").agg(pl.col(GROUP).n_unique())[GROUP].to_list()
    if len(subjects) < 2:
        raise BlastscopeError(
            "A fold would leave cells of one class only to learn from: choose another seed, or "
            "more folds."
        )
    is_all = (rest["label"] == ALL).to_numpy()
    fewest = int(min(is_all.sum(), (~is_all).sum()))
    if fewest < 2:
        raise BlastscopeError(
            "A fold would leave 1 cell of a class to learn and choose from: give more cells."
        )
    if by_subject and min(subjects) >= _FEWEST:
        cut = min(CHOOSING, fewest, *subjects)
        fold = stratified(is_all, cut, seed, rest[GROUP])
        for k in range(cut):
            if len(set(is_all[fold != k])) == len(set(is_all[fold == k])) == 2:
                return set(rest.filter(fold == k)["cell"]), True
    fold = stratified(is_all, min(CHOOSING, fewest), seed)
    return set(rest.filter(fold == 0)["cell"]), False


def _split(
    known: pl.DataFrame, tested: NDArray[np.bool_], choosing: set[str], by: str, seed: int
) -> Split:
    parts = [
        "test" if test else "validation" if cell in choosing else "train"
        for cell, test in zip(known["cell"], tested.tolist(), strict=True)
    ]
    table = pl.DataFrame({"cell": known["cell"], "part": parts})
    return Split(table, "image" if by == "image" else "subject", seed)


def _refuse_nameless(known: pl.DataFrame, by: str) -> None:
    if known["subject"].null_count():
        cell = known.filter(pl.col("subject").is_null())["cell"][0]
        raise BlastscopeError(f"{cell} has no subject: folds by {by} need every cell's.")
