"""Controls: what random weights reach, and what any rule reaches by chance.

A network that is not ahead of both has not been shown to have learnt anything of ALL: random
convolutions see what pixels say without training, and labels that are exchanged between subjects
show how far AUC strays from one half because subjects are few.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import fmean

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.data.crop import Pixels
from blastscope.data.folds import make_folds
from blastscope.data.names import ALL
from blastscope.data.store import open_store
from blastscope.data.subject_groups import GROUP, group_subjects
from blastscope.evaluation.baseline_rules import FITTED, BaselineRule, Logistic
from blastscope.evaluation.baselines import (
    Baselines,
    ByChance,
    judge_rule,
    tested_cells,
    unseen_metrics,
)
from blastscope.evaluation.cell_measurements import MeasuredCells
from blastscope.evaluation.spread import Spread

RANDOM_WEIGHTS = "random weights"
DRAWS = 20
"""How often labels are exchanged between subjects."""
KERNELS, SIDE, PENALTY = 48, 64, 100.0
"""Random kernels, the side of the image that they see, and the penalty of their regression."""
_REACH, _STRIDE = 7, 2
_KERNEL_SEED = 24
_PERCENTILE = 0.95

Floats = NDArray[np.float64]
_Rule = tuple[str, Callable[[], BaselineRule], Floats]


def add_controls(
    found: Baselines,
    measured: MeasuredCells,
    folds: int = 5,
    cuts: int = 5,
    seed: int = 24,
    draws: int = DRAWS,
) -> Baselines:
    """Add random weights to the baselines, and what AUC reaches by chance.

    Args:
        found: the baselines of the same cells, folds, cuts and seed.
        measured: the cells; without a store there are no pixels, and so no random weights.
        folds: how many folds by subject.
        cuts: how many times they are cut.
        seed: of the first cut, and of the first draw.
        draws: how often labels are exchanged.
    """
    cells = measured.cells.sort("cell")
    is_all = (cells["label"] == ALL).to_numpy()
    name = found.baselines[-1].name  # the rule that knows most
    rule, columns = FITTED[name]
    rules: list[_Rule] = [(name, rule, cells.select(columns).to_numpy().astype(np.float64))]
    added = found.baselines
    if measured.store is not None:
        store = open_store(measured.store)
        rows = store.cells.with_row_index("row").select("cell", "row")
        order = cells.select("cell").join(rows, on="cell", how="left", maintain_order="left")
        features = random_features(store.pixels, order["row"].to_numpy())
        rules.append((RANDOM_WEIGHTS, partial(Logistic, PENALTY), features))
        plans = [make_folds(cells, "subject", folds, seed + cut) for cut in range(cuts)]
        tested = [tested_cells(cells, plan) for plan in plans]
        added = (*added, judge_rule(*rules[-1], is_all, tested))
    return replace(found, baselines=added, by_chance=_by_chance(cells, rules, folds, seed, draws))


def random_kernels() -> NDArray[np.float32]:
    """Return the kernels, shape (kernels, 7, 7, 3): normal numbers, the same at every call."""
    rng = np.random.default_rng(_KERNEL_SEED)
    drawn = rng.standard_normal((KERNELS, _REACH, _REACH, 3), dtype=np.float64)
    found: NDArray[np.float32] = (drawn / np.sqrt(3 * _REACH**2)).astype(np.float32)
    return found


def random_features(pixels: Pixels, rows: NDArray[np.integer]) -> Floats:
    """Convolve cells with the random kernels, clip below zero, and pool over the whole image.

    Args:
        pixels: uint8, N × S × S × 3; they are resized to ``SIDE``.
        rows: which of them.

    Returns:
        The mean, standard deviation and maximum of each kernel: shape (rows, 3 × kernels).
    """
    weights = random_kernels().reshape(KERNELS, -1).T
    rim = _REACH // 2
    found = np.empty((len(rows), 3, KERNELS))
    for place, row in enumerate(rows):
        small = cv2.resize(pixels[row], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        framed = np.pad(small.astype(np.float32) / 255, ((rim, rim), (rim, rim), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(framed, (_REACH, _REACH), axis=(0, 1))
        every = windows[::_STRIDE, ::_STRIDE].transpose(0, 1, 3, 4, 2)
        active = np.maximum(every.reshape(-1, len(weights)) @ weights, 0)
        found[place] = active.mean(axis=0), active.std(axis=0), active.max(axis=0)
    return found.reshape(len(rows), -1)


def exchange_labels(cells: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Exchange the labels of whole subjects at random; each class keeps its number of subjects.

    Subjects that share pixel-identical cells count as one, as in folds. A subject with cells of
    both classes keeps them as they are. Labels may come out as they were, as in every permutation
    test.
    """
    grouped, _ = group_subjects(cells)
    labels = grouped.group_by(GROUP).agg(pl.col("label").unique()).sort(GROUP)
    pure = labels.filter(pl.col("label").list.len() == 1).with_columns(pl.col("label").list.first())
    drawn = np.random.default_rng(seed).permutation(pure["label"].to_list()).tolist()
    given = dict(zip(pure[GROUP].to_list(), drawn, strict=True))
    new = pl.col(GROUP).replace_strict(given, default=pl.col("label"), return_dtype=pl.String)
    return grouped.with_columns(label=new).drop(GROUP)


def _by_chance(
    cells: pl.DataFrame, rules: list[_Rule], folds: int, seed: int, draws: int
) -> tuple[ByChance, ...]:
    """Fit and judge rules on folds that are cut anew for the labels of each draw."""
    means: list[list[float]] = [[] for _ in rules]
    for draw in range(draws):
        exchanged = exchange_labels(cells, seed + draw)
        plan = make_folds(exchanged, "subject", folds, seed + draw)
        tested = tested_cells(exchanged, plan)
        is_all = (exchanged["label"] == ALL).to_numpy()
        for (_, rule, features), reached in zip(rules, means, strict=True):
            unseen = unseen_metrics(rule, features, is_all, tested)
            aucs = [float(auc) for one in unseen if (auc := one["auc"]) is not None]
            if aucs:
                reached.append(fmean(aucs))
    return tuple(
        ByChance(name, spread, float(np.quantile(reached, _PERCENTILE)), len(reached))
        for (name, _, _), reached in zip(rules, means, strict=True)
        if (spread := Spread.of(reached)) is not None
    )
