"""Draw subjects, with all their cells, many times, the same draws for every model.

The bootstrap is Efron's (Annals of Statistics 7:1-26, 1979). The subject is what is drawn, because
the cells of one subject are not independent of each other.
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
MOST_RESAMPLES = 100_000
"""Above this the metrics of all resamples would fill the memory, and the bounds hardly move."""
_CHUNK = 2**20  # weights at a time: small enough that the passes over them stay near the cache
STRATA = ("all", "hem", "mixed")
"""The classes of subjects: those of ALL cells, of normal cells and of both."""

Groups = tuple[NDArray[np.intp], ...]
"""The cells (their rows) of each subject of a class."""


@dataclass(frozen=True)
class SamplingUnits:
    """What is drawn for intervals.

    Attributes:
        unit: ``subject`` if every cell names its subject, otherwise ``cell``.
        counts: units of each of the ``STRATA`` that is there.
        unnamed: cells that name no subject.
    """

    unit: Literal["subject", "cell"]
    resamples: int
    counts: dict[str, int]
    unnamed: int
    cells: int

    @property
    def fewest(self) -> int | None:
        """Subjects of the class that has the fewest of them; None if cells are drawn."""
        return min(self.counts.values()) if self.unit == "subject" else None


@dataclass(frozen=True)
class Resampling:
    """How often each cell is drawn, resample by resample.

    Within each class as many subjects are drawn, with replacement, as there are, each with all its
    cells. A class of one subject would not vary at all: its cells are drawn instead. If subjects
    are not known, cells are drawn within each class.

    Attributes:
        strata: for each class the subjects, and for each subject its cells.
        seed: the same seed draws the same, so the metrics of several models or calls are paired.
        sampling: what is drawn, and how many of each class.
    """

    cells: int
    strata: tuple[Groups, ...]
    resamples: int
    seed: int
    sampling: SamplingUnits

    @property
    def units(self) -> int:
        """Drawn units of the stratum that has the fewest: its subjects, or the cells of a lone one.

        A stratum of one cell does not vary, and is not counted.
        """
        counts = (len(groups) if len(groups) > 1 else len(groups[0]) for groups in self.strata)
        return min((count for count in counts if count > 1), default=1)

    def chunks(self) -> Iterator[NDArray[np.uint16]]:
        """Draw: integer weights of shape (some resamples, cells), ``resamples`` rows in all."""
        rng = np.random.default_rng(self.seed)
        most = max(1, _CHUNK // self.cells)
        flat = [_flattened(groups) for groups in self.strata]
        for start in range(0, self.resamples, most):
            rows = min(most, self.resamples - start)
            weights = np.zeros((rows, self.cells), dtype=np.uint16)
            for groups, (members, owners) in zip(self.strata, flat, strict=True):
                chances = np.full(len(groups), 1 / len(groups))
                times = rng.multinomial(len(groups), chances, size=rows)
                alone = len(groups) == 1
                weights[:, members] = (
                    _draw_cells(rng, len(members), rows) if alone else times[:, owners]
                )
            yield weights


def _flattened(groups: Groups) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the cells of all groups, and for each the number of its group."""
    return np.concatenate(groups), np.repeat(np.arange(len(groups)), list(map(len, groups)))


def _draw_cells(rng: np.random.Generator, n: int, rows: int) -> NDArray[np.int64]:
    """Draw ``n`` cells of ``n``; how often each came, shape (rows, n)."""
    starts = np.repeat(np.arange(rows) * n, n)
    drawn = rng.integers(0, n, size=len(starts), dtype=np.uint32)
    return np.bincount(starts + drawn, minlength=rows * n).reshape(rows, n)


def resampling(
    is_all: NDArray[np.bool_], subjects: Sequence[str | None], resamples: int = 2000, seed: int = 24
) -> Resampling:
    """Plan the draws: by subject if every cell names one, otherwise by cell.

    ``is_all`` and ``subjects`` (None if unknown) have shape (cells,).

    Raises:
        BlastscopeError: if ``resamples`` is out of range or ``seed`` below zero.
    """
    if not FEWEST_RESAMPLES <= resamples <= MOST_RESAMPLES:
        raise BlastscopeError(
            f"{resamples} resamples make no interval: ask for {FEWEST_RESAMPLES} to "
            f"{MOST_RESAMPLES}."
        )
    if seed < 0:
        raise BlastscopeError(f"The seed {seed} is below zero: give 0 or more.")
    nameless = sum(subject is None for subject in subjects)
    if nameless:
        strata: list[Groups] = [(np.flatnonzero(is_all),), (np.flatnonzero(~is_all),)]
        counts = [len(groups[0]) for groups in strata]
    else:
        strata = _by_class(is_all, subjects)
        counts = [len(groups) for groups in strata]
    drawn = tuple(groups for groups in strata if groups and groups[0].size)
    return Resampling(
        cells=len(is_all),
        strata=drawn,
        resamples=resamples,
        seed=seed,
        sampling=SamplingUnits(
            unit="cell" if nameless else "subject",
            resamples=resamples,
            counts={name: n for name, n in zip(STRATA, counts, strict=False) if n},
            unnamed=nameless,
            cells=len(is_all),
        ),
    )


def _by_class(is_all: NDArray[np.bool_], subjects: Sequence[str | None]) -> list[Groups]:
    """Group the subjects: those of ALL cells, of normal cells and of both."""
    _, places = np.unique(np.array(subjects, dtype=str), return_inverse=True)
    strata: list[list[NDArray[np.intp]]] = [[], [], []]
    for place in range(int(places.max()) + 1):
        group = np.flatnonzero(places == place)
        truth = is_all[group]
        strata[0 if truth.all() else 2 if truth.any() else 1].append(group)
    return [tuple(groups) for groups in strata]
