"""Draw subjects and their cells anew, many times, the same draws for every model.

The bootstrap is Efron's (Annals of Statistics 7:1-26, 1979), in the two stages that clustered
data ask for (Davison and Hinkley, *Bootstrap Methods and their Application*, 1997, section 3.8).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from blastscope.errors import BlastscopeError

FEWEST_RESAMPLES = 100
"""Below this a 95 % interval hangs on two or three of the draws."""
_FEW_SUBJECTS = 2
_CHUNK = 2**20  # weights at a time: small enough that the passes over them stay near the cache
_STRATA = ("ALL", "normal", "mixed")

Groups = tuple[NDArray[np.intp], ...]
"""The cells (their rows) of each subject of a class."""


@dataclass(frozen=True)
class Resampling:
    """How often each cell is drawn, resample by resample.

    Within each class as many subjects are drawn, with replacement, as there are; then each drawn
    subject's cells are drawn anew, as many as it has, so that a class of one subject varies too.
    Where subjects are not known, each class counts as one subject: its cells are drawn.

    Attributes:
        cells: how many cells there are.
        strata: for each class the subjects, and for each subject its cells.
        resamples: how many times to draw.
        seed: the same seed draws the same; so figures of several models, and those of several
            calls, are paired.
        unit: what is drawn first.
        persons: whether differences between persons of every class are in the intervals.
        sentence: what was drawn, how many of each class, and what is not in the intervals.
    """

    cells: int
    strata: tuple[Groups, ...]
    resamples: int
    seed: int
    unit: Literal["subject", "cell"]
    persons: bool
    sentence: str

    def chunks(self) -> Iterator[NDArray[np.uint16]]:
        """Draw: integer weights of shape (some resamples, cells), ``resamples`` rows in all."""
        rng = np.random.default_rng(self.seed)
        most = max(1, _CHUNK // self.cells)
        for start in range(0, self.resamples, most):
            rows = min(most, self.resamples - start)
            weights = np.zeros((rows, self.cells), dtype=np.uint16)
            for groups in self.strata:
                chances = np.full(len(groups), 1 / len(groups))
                times = rng.multinomial(len(groups), chances, size=rows)
                for group, drawn in zip(groups, times.T, strict=True):
                    weights[:, group] = _draw_cells(rng, len(group), drawn)
            yield weights


def _draw_cells(rng: np.random.Generator, n: int, times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Draw ``n`` cells of ``n`` as often as each row says; how often each came, (rows, n)."""
    starts = np.repeat(np.arange(len(times)) * n, times * n)
    drawn = rng.integers(0, n, size=len(starts), dtype=np.uint32)
    return np.bincount(starts + drawn, minlength=len(times) * n).reshape(len(times), n)


def resampling(
    is_all: NDArray[np.bool_],
    subjects: Sequence[str | None],
    resamples: int = 2000,
    seed: int = 24,
) -> Resampling:
    """Plan the draws: by subject where every cell names one, by cell otherwise.

    Args:
        is_all: truth, shape (cells,).
        subjects: each cell's subject; None where unknown.
        resamples: how many times to draw, at least ``FEWEST_RESAMPLES``.
        seed: of the draws, not negative.

    Raises:
        BlastscopeError: where ``resamples`` is too low or ``seed`` below zero.
    """
    if resamples < FEWEST_RESAMPLES:
        raise BlastscopeError(
            f"{resamples} resamples make no interval: ask for {FEWEST_RESAMPLES} or more."
        )
    if seed < 0:
        raise BlastscopeError(f"The seed {seed} is below zero: give 0 or more.")
    nameless = sum(subject is None for subject in subjects)
    if nameless:
        strata: list[Groups] = [(np.flatnonzero(is_all),), (np.flatnonzero(~is_all),)]
        sentence = _sentence_of_cells(resamples, is_all, nameless)
    else:
        strata = _by_class(is_all, subjects)
        sentence = _sentence_of_subjects(resamples, [len(groups) for groups in strata])
    drawn = tuple(groups for groups in strata if groups and groups[0].size)
    return Resampling(
        cells=len(is_all),
        strata=drawn,
        resamples=resamples,
        seed=seed,
        unit="cell" if nameless else "subject",
        persons=not nameless and all(len(groups) > _FEW_SUBJECTS for groups in drawn),
        sentence=sentence,
    )


def _by_class(is_all: NDArray[np.bool_], subjects: Sequence[str | None]) -> list[Groups]:
    """Part the subjects into those of ALL cells, of normal cells and of both."""
    _, places = np.unique(np.array(subjects, dtype=str), return_inverse=True)
    strata: list[list[NDArray[np.intp]]] = [[], [], []]
    for place in range(int(places.max()) + 1):
        group = np.flatnonzero(places == place)
        truth = is_all[group]
        strata[0 if truth.all() else 2 if truth.any() else 1].append(group)
    return [tuple(groups) for groups in strata]


def percentile_interval(
    values: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The 2.5 % and the 97.5 % point of the resamples: Efron's percentile interval.

    Args:
        values: shape (resamples, ...). Resamples for which a figure is undefined are left out of
            its interval.

    Returns:
        The lower and the upper bounds, of the shape of one resample; NaN where all are undefined.
    """
    flat = values.reshape(len(values), -1)
    bounds = np.full((2, flat.shape[1]), np.nan)
    for column, figures in enumerate(flat.T):
        known = figures[~np.isnan(figures)]
        if known.size:
            bounds[:, column] = np.quantile(known, [0.025, 0.975])
    low, high = bounds.reshape(2, *values.shape[1:])
    return low, high


def _sentence_of_cells(resamples: int, is_all: NDArray[np.bool_], nameless: int) -> str:
    n, n_all = len(is_all), int(is_all.sum())
    why = "no cell names its subject"
    if nameless < n:
        why = f"{nameless:,} of the {n:,} cells {'names' if nameless == 1 else 'name'} no subject"
    return (
        f"{resamples:,} resamples of the cells of each class ({n_all:,} ALL, {n - n_all:,} "
        f"normal), because {why}: how persons differ is not in these intervals, which are too "
        "narrow for it."
    )


def _sentence_of_subjects(resamples: int, counts: Sequence[int]) -> str:
    told = [f"{n} {name}" for n, name in zip(counts, _STRATA, strict=True) if n]
    sentence = (
        f"{resamples:,} resamples of the subjects of each class ({', '.join(told)}), and of the "
        "cells of every subject drawn."
    )
    for n, name in zip(counts, _STRATA, strict=True):
        if n == 1:
            sentence += f" Only one subject is {name}: how such persons differ is not in the"
        elif n == _FEW_SUBJECTS:
            sentence += f" Only two subjects are {name}: how such persons differ is hardly in the"
        if 0 < n <= _FEW_SUBJECTS:
            sentence += " intervals, which are too narrow for it."
    return sentence
