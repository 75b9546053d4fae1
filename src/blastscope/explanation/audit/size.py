"""The size question: how much of the decision goes with size.

ALL cells are larger on average, so a network could go far by size. Here every cell is given the
same size, and what that does to the decision is set beside what the size alone would tell.
Rescaling also changes how sharp a cell is. So each cell is also brought to the common size and
back to its own: what that takes is the sharpness, and only what the same size takes beyond it goes
with the size. Where pictures are cut to the cell there is no size in them to take.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from blastscope.data.crop import FIELD, Scale
from blastscope.evaluation.confidence_intervals import Estimate
from blastscope.evaluation.metrics import THRESHOLD
from blastscope.explanation.audit.calls import CHANCE
from blastscope.explanation.audit.means import Floats, Rows, means
from blastscope.explanation.audit.rescaled import RescaledMetrics, judge_rescaled
from blastscope.explanation.audit.words import change, figure, told
from blastscope.explanation.size import SCALES

HARDLY, MOST = 0.05, 0.5
"""A network that loses less than the first share of what its AUC has beyond chance hardly goes by
size; one that loses the second or more goes by it mostly."""
NARROW = 0.25
"""A loss that may be none passes for hardly any only where its interval ends below this."""

UNTOLD, NONE, PART, MAINLY = "cannot be told", "hardly any", "part of it", "most of it"
BY = {"keep": "size", "crop": "sharpness"}
"""What a loss at the same size goes with, by how the cells were prepared."""


@dataclass(frozen=True)
class SizeQuestion:
    """What a model makes of the size of a cell.

    Attributes:
        cells: how many were rescaled.
        scales: by how much.
        cut: share of the cells that the field cuts off, at each scale; zero where pictures are cut
            to the cell.
        p_all: the mean probability of ALL at each scale, by label; ``any`` is of all the cells.
        changed: share of the calls that another comes in place of, at the same size.
        changed_back: the same, there and back; None where that was not measured.
        judged: of the labelled cells; None where they are of one class.
        by: what a loss goes with: ``size`` or ``sharpness``.
        verdict: how much of the decision goes with it, in a few words.
        sentence: the answer, with its figures.
    """

    cells: int
    scales: tuple[float, ...]
    cut: tuple[float, ...]
    p_all: dict[str, tuple[float, ...]]
    changed: Estimate
    changed_back: Estimate | None
    judged: RescaledMetrics | None
    by: str
    verdict: str
    sentence: str


def ask_size(rows: Rows, scale: Scale) -> SizeQuestion | None:
    """Answer the size question for one model; None where no cell was rescaled.

    What a cell is called as it is, is taken at scale 1 of the same tables, so that both sides of
    each comparison were computed in one way.

    Args:
        rows: the model's cells.
        scale: how they were prepared. With ``crop``, what is lost at the same size is sharpness.

    Raises:
        ValueError: where the lists are not of ``SCALES``.
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
    verdict, sentence = _answer(changed, changed_back, judged, BY[scale])
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
        verdict=verdict,
        sentence=sentence,
    )


def _by_label(rows: Rows, p_scaled: Floats) -> dict[str, tuple[float, ...]]:
    labels = rows.frame["label"]
    found = {label: p_scaled[(labels == label).fill_null(False)] for label in ("all", "hem")}
    found["any"] = p_scaled
    return {
        label: tuple(float(p) for p in means(mine)) for label, mine in found.items() if len(mine)
    }


def _answer(
    changed: Estimate, changed_back: Estimate | None, judged: RescaledMetrics | None, by: str
) -> tuple[str, str]:
    """Return the verdict and the sentence."""
    start = f"Given the same size, {told(changed, 1, percent=True)} of the calls change"
    back = ""
    if changed_back is not None:
        back = (
            f"; rescaled there and back, {told(changed_back, 1, percent=True)} of the calls change"
        )
    if judged is None:
        return UNTOLD, (
            f"{start}{back}. How much of the decision goes with {by} cannot be told without "
            "labelled cells of both classes."
        )
    before, after = judged.as_is["auc"], judged.same_size["auc"]
    alone = f"The AUC of size alone (box side) is {told(judged.size_alone)}."
    if not before.low > CHANCE:
        return UNTOLD, (
            f"{start}{back}; but these cells are told apart no better than by chance (AUC "
            f"{told(before)}), so there is no decision to explain. {alone}"
        )
    moved = (
        f"{start} and the AUC goes from {figure(before.value)} to {figure(after.value)} "
        f"({change(judged.difference['auc'])})"
    )
    if judged.there_and_back is not None:
        back += f" and the AUC is {told(judged.there_and_back['auc'])}"
    verdict, why = _share(judged, by)
    return verdict, f"{moved}{back}: {why} {alone}"


def _share(judged: RescaledMetrics, by: str) -> tuple[str, str]:
    """Return the verdict and the part of the sentence that has it.

    Only what the same size takes beyond the way there and back is size; of pictures that are cut
    to the cell all of it is sharpness.
    """
    loss = judged.difference["auc"]
    if by == "size" and judged.beyond is not None:
        loss = judged.beyond["auc"]
    clear = loss.negated().above_zero
    if not clear and judged.lost.high > NARROW:
        return UNTOLD, (
            f"how much of the decision goes with {by} cannot be told from these cells, for of what "
            f"tells the classes apart up to {figure(judged.lost.high, 0, percent=True)} may."
        )
    if not clear or judged.lost.value < HARDLY:
        return NONE, f"hardly any of what tells the classes apart here goes with {by}."
    how = MAINLY if judged.lost.value >= MOST else PART
    share = figure(judged.lost.value, 0, percent=True)
    return how, f"{share} of what tells the classes apart beyond chance goes with {by} ({how})."
