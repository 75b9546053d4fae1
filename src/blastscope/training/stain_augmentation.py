"""Stain augmentation: training cells with the colours of other training cells, in every epoch.

``rand-stain`` is RandStainNA (Shen et al., MICCAI 2022, arXiv 2206.12694) in CIELAB: each cell gets
a mean and a standard deviation that are drawn from their distribution over the training cells.
``stain-exchange`` gives each cell those of a cell of another subject, who may be of the other
class, so that colour tells neither subject nor class. Both change the pixels of the cell only, and
rotate it by quarter turns or mirror it; ``rand-stain-rescaled`` and ``stain-exchange-rescaled``
also give it another size, as ``rescaled`` does. They are for cells whose network does not undo
them: ``input.colour_normalization: per-cell`` would.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blastscope.data.crop import Pixels
from blastscope.errors import BlastscopeError
from blastscope.models.dihedral import VIEWS, dihedral_views
from blastscope.recipes.strengths import Strengths
from blastscope.stain.reinhard import LEAST_DEVIATION, to_lab, to_rgb
from blastscope.training.augmentation import (
    BLACK,
    RESCALED,
    RowsAugmentation,
    pixel_augmentation,
    rescaled,
)
from blastscope.training.class_balance import Rows
from blastscope.training.dataset import TrainingData

Floats: TypeAlias = NDArray[np.float32]
Codes: TypeAlias = NDArray[np.int64]

NAMES = ("rand-stain", "rand-stain-rescaled", "stain-exchange", "stain-exchange-rescaled")
_CHUNK = 256


@dataclass(frozen=True)
class StainsOfCells:
    """The colours of the training cells.

    Attributes:
        mean: mean L*, a*, b* of the cell of each row of the store, (rows, 3); 0 for other cells.
        deviation: their standard deviations, likewise; 1 for other cells.
        subject: the number of each row's subject, (rows,); -1 for other cells.
        of_subject: the rows of each subject, one after the other, subject by subject.
        first: where each subject's rows begin in ``of_subject``, (subjects,).
        count: how many rows each subject has, (subjects,).
    """

    mean: Floats
    deviation: Floats
    subject: Codes
    of_subject: Codes
    first: Codes
    count: Codes

    @classmethod
    def measured(cls, pixels: Pixels, rows: Rows, subjects: list[str | None]) -> StainsOfCells:
        """Measure training cells.

        Args:
            pixels: those of the store, uint8, (rows, S, S, 3), RGB, cells on black.
            rows: the rows of the training cells.
            subjects: the subject of each row of the store; cells without one count as one.
        """
        mean = np.zeros((len(pixels), 3), np.float32)
        deviation = np.ones((len(pixels), 3), np.float32)
        rows = np.unique(rows)
        for first in range(0, len(rows), _CHUNK):
            some = rows[first : first + _CHUNK]
            mean[some], deviation[some] = _measured(pixels[some])
        names = np.array([subjects[row] or "" for row in rows])
        codes = np.unique(names, return_inverse=True)[1]
        subject = np.full(len(pixels), -1)
        subject[rows] = codes
        count = np.bincount(codes)
        order = rows[np.argsort(codes, kind="stable")]
        return cls(mean, deviation, subject, order, np.cumsum(count) - count, count)

    def other_subjects_rows(self, rows: Rows, rng: np.random.Generator) -> Codes:
        """Draw for each row a cell of another subject: the subject first, then its cell."""
        drawn = rng.integers(0, len(self.count) - 1, len(rows))
        drawn += drawn >= self.subject[rows]
        within = np.floor(rng.random(len(rows)) * self.count[drawn]).astype(np.int64)
        return np.asarray(self.of_subject[self.first[drawn] + within])


def _measured(cells: Pixels) -> tuple[Floats, Floats]:
    """Return mean and deviation of each cell's L*, a*, b*, (N, 3) each."""
    means, deviations = [], []
    for cell in cells:
        lab = to_lab(cell[_inside(cell)]) if _inside(cell).any() else np.zeros((1, 3), np.float32)
        means.append(lab.mean(axis=0, dtype=np.float64))
        deviations.append(lab.std(axis=0, dtype=np.float64))
    return np.asarray(means, np.float32), np.asarray(deviations, np.float32)


def _inside(cells: Any) -> Any:
    return cells.max(axis=-1) > BLACK


def stain_augmentation(name: str, stains: StainsOfCells) -> RowsAugmentation:
    """Return one of ``NAMES``: it changes cells (N, 3, S, S), uint8, given their rows.

    Raises:
        BlastscopeError: for ``stain-exchange``, if all training cells are of one subject.
    """
    exchange = name.startswith("stain-exchange")
    if exchange and len(stains.count) < 2:
        raise BlastscopeError(
            f"{name} needs training cells of two named subjects or more: name the subjects, or "
            "choose rand-stain."
        )
    draw = _exchanged if exchange else _random
    distribution = _distribution(stains)

    def augment(pixels: Tensor, rng: np.random.Generator, rows: Rows) -> Tensor:
        mean, deviation = draw(stains, distribution, rows, rng)
        changed = recoloured(pixels, stains.mean[rows], stains.deviation[rows], mean, deviation)
        if name.endswith(RESCALED):
            return rescaled(changed, rng)
        operations = rng.integers(0, VIEWS, len(rows), dtype=np.uint8)
        return dihedral_views(changed, torch.from_numpy(operations))

    return augment


def _distribution(stains: StainsOfCells) -> tuple[Floats, Floats]:
    """Return the mean and the standard deviation over subjects' cells of the six statistics.

    Every subject counts the same, however many cells it has; (6,) each.
    """
    rows = stains.of_subject
    values = np.concatenate([stains.mean[rows], stains.deviation[rows]], axis=1)
    share = np.repeat(1 / stains.count, stains.count)[:, None] / len(stains.count)
    centre = (values * share).sum(axis=0)
    spread = np.sqrt((np.square(values - centre) * share).sum(axis=0))
    return centre.astype(np.float32), spread.astype(np.float32)


def _random(
    stains: StainsOfCells,
    distribution: tuple[Floats, Floats],
    rows: Rows,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    centre, spread = distribution
    drawn = rng.normal(centre, spread, (len(rows), 6)).astype(np.float32)
    return drawn[:, :3], drawn[:, 3:]


def _exchanged(
    stains: StainsOfCells,
    distribution: tuple[Floats, Floats],
    rows: Rows,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    others = stains.other_subjects_rows(rows, rng)
    return stains.mean[others], stains.deviation[others]


def recoloured(
    pixels: Tensor, mean: Floats, deviation: Floats, to_mean: Floats, to_deviation: Floats
) -> Tensor:
    """Give cells (N, 3, S, S), uint8, another mean and deviation of L*, a*, b*, (N, 3) each.

    Black stays black. It is Reinhard's transfer (:mod:`blastscope.stain.reinhard`).
    """
    cells = np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy())
    inside = _inside(cells)
    index = np.repeat(np.arange(len(cells)), inside.sum(axis=(1, 2)))
    scale = np.maximum(to_deviation, LEAST_DEVIATION) / np.maximum(deviation, LEAST_DEVIATION)
    shift = (to_mean - mean * scale).astype(np.float32)
    changed = to_rgb(to_lab(cells[inside]) * scale.astype(np.float32)[index] + shift[index])
    cells[inside] = np.rint(changed).clip(0, 255).astype(np.uint8)
    return torch.from_numpy(cells).permute(0, 3, 1, 2)


def augmentation_for(setting: str | Strengths, inputs: TrainingData) -> RowsAugmentation | None:
    """Return a recipe's ``training.augmentation``, fitted to the training cells if it has to be.

    Raises:
        BlastscopeError: if the name is not registered, or the training cells do not fit it.
    """
    if isinstance(setting, str) and setting in NAMES:
        subjects = inputs.store.cells["subject"].to_list()
        stains = StainsOfCells.measured(inputs.store.pixels, inputs.training.rows, subjects)
        return stain_augmentation(setting, stains)
    plain = pixel_augmentation(setting)
    if plain is None:
        return None
    return lambda pixels, rng, rows: plain(pixels, rng)
