"""The folds of a cross-validation: which cells each network is tested on, and which choose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.data.names import ALL, HEM
from blastscope.data.split_table import Split
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
class FoldPlan:
    """The splits of a cross-validation, one a fold.

    Attributes:
        splits: each with the fold's cells as its test part.
        sentences: how the folds were made, and what a reader has to know of it.
    """

    splits: tuple[Split, ...]
    sentences: tuple[str, ...]


def make_folds(cells: pl.DataFrame, by: str, folds: int = 5, seed: int = 24) -> FoldPlan:
    """Cut cells into folds, each tested by the others; every labelled cell is tested once.

    By subject the folds are scikit-learn's ``StratifiedGroupKFold``. Where a class has fewer
    subjects than folds are asked for, one subject of that class is left out at a time, and the
    other class's subjects are dealt out so that the folds hold about as many of its cells.

    Of the cells that a fold does not test, about a fifth choose the epoch: whole subjects where
    three of each class are left, so that training keeps two; cells at random where they are not.

    Args:
        cells: ``cell, subject, label, fold`` (and others).
        by: ``subject``; ``image``, by cell, as the paper; ``fold``, the data set's own folds;
            ``matched``, by cell, with as many cells of each class in each part of each fold as by
            subject, so that beside it nothing differs but who is known.
        folds: how many; not for ``fold``, which has its own number.
        seed: the same seed and cells give the same folds, whatever the order of the rows.

    Raises:
        BlastscopeError: if the cells cannot be cut so.
    """
    if by not in WAYS:
        raise BlastscopeError(f"{by!r} is no way to cut folds: choose {', '.join(WAYS)}.")
    if folds < 2:
        raise BlastscopeError(f"{folds} folds test nothing on others: give --folds 2 or more.")
    if by == "matched":
        return _matched(cells, folds, seed)
    known = cells.filter(pl.col("label").is_not_null()).sort("cell")
    for label in (ALL, HEM):
        if label not in set(known["label"]):
            raise BlastscopeError(f"No cell is labelled {label}: a cross-validation needs both.")
    if by == "image":
        tested, sentence = _by_image(known, folds, seed)
    else:
        _refuse_nameless(known, by)
        cut = _by_subject if by == "subject" else _published
        tested, sentence = cut(known, folds, seed)
    chosen = [_choose(known, tested == k, by != "image", seed) for k in range(tested.max() + 1)]
    splits = tuple(
        _split(known, tested == k, choosing, by, seed) for k, (choosing, _) in enumerate(chosen)
    )
    sentences = (sentence, *_one_sided(known, tested), _choosing([whole for _, whole in chosen]))
    return FoldPlan(splits, sentences)


def _matched(cells: pl.DataFrame, folds: int, seed: int) -> FoldPlan:
    """Cut by subject, then let the cells of each class change places at random."""
    plan = make_folds(cells, "subject", folds, seed)
    rng = np.random.default_rng(seed)
    taken: dict[str, str] = {}
    for label in (ALL, HEM):
        names = cells.filter(pl.col("label") == label)["cell"].sort().to_list()
        taken |= dict(zip(names, rng.permutation(names).tolist(), strict=True))
    splits = tuple(
        Split(
            split.table.with_columns(pl.col("cell").replace_strict(taken)).sort("cell"),
            "image",
            seed,
        )
        for split in plan.splits
    )
    return FoldPlan(
        splits,
        (
            f"{len(splits)} folds by cell, with as many cells of each class in each part as by "
            "subject: subjects are in training and test alike.",
        ),
    )


def _by_image(known: pl.DataFrame, folds: int, seed: int) -> tuple[Folds, str]:
    from sklearn.model_selection import StratifiedKFold

    few = int(known["label"].value_counts()["count"].min())  # type: ignore[arg-type]
    if few < folds:
        raise BlastscopeError(f"A class has {few} cells only: give fewer than {folds} --folds.")
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    tested = _numbered(splitter.split(known["label"], known["label"]), known.height)
    return tested, (
        f"{folds} folds by cell: subjects are in training and test alike, so these figures say "
        "nothing about unseen patients."
    )


def _by_subject(known: pl.DataFrame, folds: int, seed: int) -> tuple[Folds, str]:
    from sklearn.model_selection import StratifiedGroupKFold

    subjects = dict(known.group_by("label").agg(pl.col("subject").n_unique()).iter_rows())
    scarce = min(sorted(subjects), key=lambda label: subjects[label])
    if subjects[scarce] < 2:
        raise BlastscopeError(
            f"Only one subject has {_word(scarce)} cells: no other is left to train on. "
            "Cut by image, or add subjects."
        )
    if subjects[scarce] < folds:
        return _leave_one_out(known, scarce, seed), (
            f"Only {subjects[scarce]} subjects have {_word(scarce)} cells, fewer than the {folds} "
            f"folds asked for: in {subjects[scarce]} folds one of them is left out at a time, each "
            "with a share of the other class's subjects."
        )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    parts = splitter.split(known["label"], known["label"], known["subject"])
    return _numbered(parts, known.height), f"{folds} folds by subject: nobody is in two of them."


def _leave_one_out(known: pl.DataFrame, scarce: str, seed: int) -> Folds:
    """A fold for each subject of the scarce class; the others go to the emptiest fold, in turn."""
    single = known.filter(pl.col("label") == scarce)["subject"].unique().sort().to_list()
    fold_of = {subject: k for k, subject in enumerate(single)}
    others = known.filter(~pl.col("subject").is_in(single)).group_by("subject").len()
    order = others.sort("subject").sample(fraction=1, shuffle=True, seed=seed)
    filled = [0] * len(single)
    for subject, count in order.sort("len", descending=True, maintain_order=True).iter_rows():
        emptiest = filled.index(min(filled))
        fold_of[subject] = emptiest
        filled[emptiest] += count
    return np.array([fold_of[subject] for subject in known["subject"]], np.intp)


def _published(known: pl.DataFrame, folds: int, seed: int) -> tuple[Folds, str]:
    del folds, seed  # the data set has its own
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
    tested = np.array([names.index(name) for name in known["fold"]], np.intp)
    return tested, f"The data set's own folds, {listing(names)}: nobody is in two of them."


def _choose(
    known: pl.DataFrame, tested: NDArray[np.bool_], by_subject: bool, seed: int
) -> tuple[set[str], bool]:
    """Return the cells that choose the epoch, and whether they are whole subjects."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    rest = known.filter(~tested)
    subjects = rest.group_by("label").agg(pl.col("subject").n_unique())["subject"].to_list()
    if len(subjects) < 2:
        raise BlastscopeError(
            "A fold would leave cells of one class only to learn from: give another --seed, or "
            "more --folds."
        )
    is_all = (rest["label"] == ALL).to_numpy()
    fewest = int(min(is_all.sum(), (~is_all).sum()))
    if fewest < 2:
        raise BlastscopeError(
            "A fold would leave 1 cell of a class to learn and choose from: give more cells."
        )
    if by_subject and min(subjects) >= _FEWEST:
        cut = min(CHOOSING, fewest, *subjects)
        whole = StratifiedGroupKFold(cut, shuffle=True, random_state=seed)
        for learning, choosing in whole.split(is_all, is_all, rest["subject"]):
            if len(set(is_all[learning])) == len(set(is_all[choosing])) == 2:
                return set(rest[choosing]["cell"]), True
    cells = StratifiedKFold(min(CHOOSING, fewest), shuffle=True, random_state=seed)
    _, choosing = next(cells.split(is_all, is_all))
    return set(rest[choosing]["cell"]), False


def _split(
    known: pl.DataFrame, tested: NDArray[np.bool_], choosing: set[str], by: str, seed: int
) -> Split:
    parts = [
        "test" if test else "validation" if cell in choosing else "train"
        for cell, test in zip(known["cell"], tested.tolist(), strict=True)
    ]
    table = pl.DataFrame({"cell": known["cell"], "part": parts})
    return Split(table, "image" if by == "image" else "subject", seed)


def _numbered(parts: Iterable[tuple[Folds, Folds]], height: int) -> Folds:
    tested = np.empty(height, np.intp)
    for k, (_, rows) in enumerate(parts):
        tested[rows] = k
    return tested


def _one_sided(known: pl.DataFrame, tested: Folds) -> list[str]:
    labels = known["label"].to_numpy()
    single = [k + 1 for k in range(tested.max() + 1) if len(set(labels[tested == k])) < 2]
    if not single:
        return []
    return [f"Fold {listing([str(k) for k in single])}: cells of one class only, so no AUC there."]


def _choosing(whole: Sequence[bool]) -> str:
    if all(whole):
        return "Subjects of their own choose the epoch."
    told = "A fifth of the training subjects' cells, drawn at random, choose the epoch"
    return f"{told}{' in some folds' if any(whole) else ''}; nobody who is tested is among them."


def _refuse_nameless(known: pl.DataFrame, by: str) -> None:
    if known["subject"].null_count():
        cell = known.filter(pl.col("subject").is_null())["cell"][0]
        raise BlastscopeError(f"{cell} has no subject: folds by {by} need every cell's.")


def _word(label: str) -> str:
    return "ALL" if label == ALL else "normal"
