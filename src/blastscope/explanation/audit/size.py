"""Answer the size question: how much of the decision depends on the size of a cell?

ALL cells are larger on average, so size alone tells many cells apart. Here every cell is given the
same size, and the effect on the decision is compared with what size alone would tell. Rescaling
also changes how sharp a cell is. So each cell is also rescaled to the common size and back to its
own: that changes only the sharpness, and only a loss beyond it is due to size. Images that are cut
to the cell have no size in them; their loss is due to sharpness.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.special import expit

from blastscope.data.crop import FIELD, Scale
from blastscope.evaluation.confidence_intervals import Estimate, draw
from blastscope.evaluation.metrics import THRESHOLD
from blastscope.evaluation.weighted_metrics import METRICS, WeightedMetrics
from blastscope.explanation.audit.rows import CHANCE, FEWEST, Floats, Rows, means
from blastscope.explanation.tables import SCALES

HARDLY, MOST = 0.05, 0.5
"""A network hardly depends on size if it loses less than the first share of its AUC beyond chance,
and mostly if it loses the second share or more."""
NARROW = 0.25
"""A loss that may be zero counts as hardly any only if its interval ends below this."""
BY = {"keep": "size", "crop": "sharpness"}
"""What a loss at the same size is due to, by how the cells were prepared."""
SHOWN = ("weighted_f1", "auc")
Metrics = dict[str, Estimate]


class SizeVerdict(StrEnum):
    """How much of the decision depends on size (or on sharpness)."""

    HARDLY = "hardly"
    PART = "part"
    MOSTLY = "mostly"
    ONE_CLASS = "undecided-one-class"
    """Undecided: too few labelled cells of one of the classes."""
    NO_DECISION = "undecided-no-decision"
    """Undecided: the model does not tell the classes apart."""
    WIDE_INTERVAL = "undecided-wide-interval"
    """Undecided: the interval of the loss is too wide."""


@dataclass(frozen=True)
class SizeQuestion:
    """What a model makes of the size of a cell."""

    cells: int  # how many were rescaled
    scales: tuple[float, ...]  # by how much
    # Share of the cells that the field cuts off, at each scale; zero if images are cut to the cell.
    cut: tuple[float, ...]
    # The mean probability of ALL at each scale, by label; ``any`` is of all cells.
    p_all: dict[str, tuple[float, ...]]
    changed: Estimate  # share of the calls that change at the same size
    changed_back: Estimate | None  # the same, there and back; None if that was not measured
    judged: RescaledMetrics | None  # of the labelled cells; None if they are of one class
    by: str  # what a loss is due to: ``size`` or ``sharpness``
    verdict: SizeVerdict  # how much of the decision depends on it


def ask_size(rows: Rows, scale: Scale) -> SizeQuestion | None:
    """Answer the size question for one model; None if no cell was rescaled.

    The call of an unchanged cell is taken at scale 1 of the same tables, so that both sides of each
    comparison were computed in the same way. If cells were prepared with ``crop``, a loss at the
    same size is due to sharpness.

    Raises:
        ValueError: if the lists are not of ``SCALES``.
    """
    p_scaled = expit(rows.lists("logits_scaled"))
    known = ~np.isnan(p_scaled).all(axis=1) if p_scaled.size else np.zeros(len(p_scaled), np.bool_)
    known &= ~np.isnan(rows.column("p_same_size"))
    if not known.any():
        return None
    if p_scaled.shape[1] != len(SCALES):
        raise ValueError(f"{p_scaled.shape[1]} scales, but {len(SCALES)} in SCALES")
    mine = Rows(rows.frame.filter(known), rows.seed)
    p_scaled = p_scaled[known]
    seen = [p_scaled[:, SCALES.index(1)], mine.column("p_same_size")]
    if mine.frame["p_there_and_back"].null_count() == 0:
        seen.append(mine.column("p_there_and_back"))
    calls = np.column_stack(seen) > THRESHOLD
    changed, *back = mine.estimates((calls[:, 1:] != calls[:, :1]).astype(np.float64))
    changed_back = back[0] if back else None
    judged = judge_rescaled(mine, np.column_stack(seen), scale)
    sides = mine.column("side")[:, None] * np.array(SCALES)
    return SizeQuestion(
        cells=len(calls),
        scales=tuple(float(scale) for scale in SCALES),
        cut=tuple(float(share) for share in ((sides > FIELD) & (scale == "keep")).mean(axis=0)),
        p_all=_by_label(mine, p_scaled),
        changed=changed,
        changed_back=changed_back,
        judged=judged,
        by=BY[scale],
        verdict=_judge(judged, BY[scale]),
    )


def _by_label(rows: Rows, p_scaled: Floats) -> dict[str, tuple[float, ...]]:
    labels = rows.frame["label"]
    found = {label: p_scaled[(labels == label).fill_null(False)] for label in ("all", "hem")}
    found["any"] = p_scaled
    return {
        label: tuple(float(p) for p in means(mine)) for label, mine in found.items() if len(mine)
    }


def _judge(judged: RescaledMetrics | None, by: str) -> SizeVerdict:
    """Judge how much of the decision depends on size.

    Only a loss beyond that of there and back is due to size; of images that are cut to the cell,
    all of it is due to sharpness.
    """
    if judged is None:
        return SizeVerdict.ONE_CLASS
    if not judged.as_is["auc"].low > CHANCE:
        return SizeVerdict.NO_DECISION
    loss = judged.difference["auc"]
    if by == "size" and judged.beyond is not None:
        loss = judged.beyond["auc"]
    clear = loss.negated().above_zero
    if not clear and judged.lost.high > NARROW:
        return SizeVerdict.WIDE_INTERVAL
    if not clear or judged.lost.value < HARDLY:
        return SizeVerdict.HARDLY
    return SizeVerdict.MOSTLY if judged.lost.value >= MOST else SizeVerdict.PART


@dataclass(frozen=True)
class RescaledMetrics:
    """How well a model tells labelled cells apart, unchanged and rescaled."""

    cells: int  # how many are labelled
    as_is: Metrics  # ``weighted_f1`` and ``auc``
    same_size: Metrics  # the same metrics, with every cell at the same size
    # The same metrics, with every cell rescaled to that size and back; None if it was not measured.
    there_and_back: Metrics | None
    difference: Metrics  # same size minus as is; the intervals are paired
    beyond: Metrics | None  # same size minus there and back; None if that was not measured
    # AUC of the longer side of the box; below 0.5 if the smaller cells are ALL.
    size_alone: Estimate
    # The share of the AUC beyond chance that is lost to ``SizeQuestion.by``; NaN if the AUC is not
    # beyond chance.
    lost: Estimate


def judge_rescaled(rows: Rows, seen: Floats, scale: Scale) -> RescaledMetrics | None:
    """Compare the metrics of the labelled cells, all under the same resamples.

    ``seen`` are their probabilities as they are, at the same size and perhaps there and back,
    (cells, 2 or 3). The loss of ``crop`` is counted from the unchanged cells, that of ``keep`` from
    there and back, if that was measured. None without ``FEWEST`` labelled cells of each class.
    """
    labelled = rows.labelled
    is_all = labelled.is_all
    if min(is_all.sum(), (~is_all).sum()) < FEWEST:
        return None
    mine = seen[rows.frame["label"].is_not_null().to_numpy()]
    scores = np.column_stack([mine, labelled.column("side")])
    columns = [METRICS.index(name) for name in SHOWN]
    every = draw(WeightedMetrics(is_all, scores).of, labelled.draws)
    drawn = every.of(lambda metrics: metrics[..., columns])

    def shown(of: Callable[[Floats], Floats]) -> Metrics:
        return dict(zip(SHOWN, drawn.of(of).estimates(), strict=True))

    control = seen.shape[1] > 2
    auc = SHOWN.index("auc")
    before = 2 if control and scale == "keep" else 0
    (lost,) = drawn.of(lambda metrics: _lost(metrics[..., auc], before)).estimates()
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
    """Return the share of the AUC beyond chance that is lost at the same size, shape (rows, 1)."""
    beyond = auc[:, :1] - CHANCE
    lost = np.full(beyond.shape, np.nan)
    np.divide(auc[:, before, None] - auc[:, 1:2], beyond, out=lost, where=beyond > 0)
    return lost
