"""How well labelled cells are told apart: as they are, at the same size, and there and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from blastscope.data.crop import Scale
from blastscope.evaluation.confidence_intervals import Estimate, draw
from blastscope.evaluation.weighted_metrics import FIGURES, WeightedMetrics
from blastscope.explanation.audit.calls import CHANCE
from blastscope.explanation.audit.means import FEWEST, Floats, Rows

SHOWN = ("weighted_f1", "auc")
Figures = dict[str, Estimate]


@dataclass(frozen=True)
class RescaledMetrics:
    """How well labelled cells are told apart, as they are and rescaled.

    Attributes:
        cells: how many are labelled.
        as_is: ``weighted_f1`` and ``auc``.
        same_size: the same, every cell being given the same size.
        there_and_back: the same, every cell being given that size and then its own again; None
            where that was not measured.
        difference: same size less as is; the intervals are paired.
        beyond: same size less there and back, where that was measured.
        size_alone: AUC of the box's longer side; below 0.5 the smaller cells are ALL.
        lost: share of what the AUC has beyond chance that goes with what ``SizeQuestion.by`` says;
            NaN where it has nothing beyond chance.
    """

    cells: int
    as_is: Figures
    same_size: Figures
    there_and_back: Figures | None
    difference: Figures
    beyond: Figures | None
    size_alone: Estimate
    lost: Estimate


def judge_rescaled(rows: Rows, seen: Floats, scale: Scale) -> RescaledMetrics | None:
    """Set the labelled cells' figures beside each other, all of them under the same resamples.

    Args:
        rows: the cells.
        seen: their probabilities as they are, at the same size and perhaps there and back:
            (cells, 2 or 3).
        scale: how they were prepared: what ``crop`` loses at the same size it loses whole, what
            ``keep`` loses is counted from there and back, where that was measured.

    Returns:
        None without ``FEWEST`` labelled cells of each class.
    """
    labelled = rows.labelled
    is_all = labelled.is_all
    if min(is_all.sum(), (~is_all).sum()) < FEWEST:
        return None
    mine = seen[rows.frame["label"].is_not_null().to_numpy()]
    scores = np.column_stack([mine, labelled.column("side")])
    places = [FIGURES.index(name) for name in SHOWN]
    every = draw(WeightedMetrics(is_all, scores).of, labelled.draws)
    drawn = every.of(lambda figures: figures[..., places])

    def shown(of: Callable[[Floats], Floats]) -> Figures:
        return dict(zip(SHOWN, drawn.of(of).estimates(), strict=True))

    control = seen.shape[1] > 2
    auc = SHOWN.index("auc")
    before = 2 if control and scale == "keep" else 0
    (lost,) = drawn.of(lambda figures: _lost(figures[..., auc], before)).estimates()
    return RescaledMetrics(
        cells=len(is_all),
        as_is=shown(lambda found: found[:, 0]),
        same_size=shown(lambda found: found[:, 1]),
        there_and_back=shown(lambda found: found[:, 2]) if control else None,
        difference=shown(lambda found: found[:, 1] - found[:, 0]),
        beyond=shown(lambda found: found[:, 1] - found[:, 2]) if control else None,
        size_alone=shown(lambda found: found[:, -1])["auc"],
        lost=lost,
    )


def _lost(auc: Floats, before: int) -> Floats:
    """Return the share beyond chance that is lost at the same size, shape (rows, 1).

    Args:
        auc: shape (rows, scores): as is, same size and perhaps there and back.
        before: of which of them it is lost.
    """
    beyond = auc[:, :1] - CHANCE
    lost = np.full(beyond.shape, np.nan)
    np.divide(auc[:, before, None] - auc[:, 1:2], beyond, out=lost, where=beyond > 0)
    return lost
