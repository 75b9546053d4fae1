"""Whether a model decides anything on a study's cells, and how much of it blur leaves.

A map has nothing to show where nothing is decided, and deletion and insertion nothing of what is
still decided once the whole picture is blurred.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blastscope.evaluation.confidence_intervals import Estimate, draw
from blastscope.evaluation.metrics import THRESHOLD
from blastscope.evaluation.weighted_metrics import FIGURES, WeightedMetrics
from blastscope.explanation.audit.means import FEWEST, Rows
from blastscope.explanation.audit.words import NAMES, figure, listed, told

CHANCE = 0.5


@dataclass(frozen=True)
class CallSummary:
    """What a model makes of the study's cells.

    Attributes:
        cells: how many there are.
        called_all: how many of them it calls ALL.
        auc: of its probabilities; None without ``FEWEST`` labelled cells of each class.
    """

    cells: int
    called_all: int
    auc: Estimate | None

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why there may be no decision for a map to show; empty where there is one."""
        found = []
        if self.called_all in (0, self.cells):
            found.append(f"calls every cell {NAMES['all' if self.called_all else 'hem']}")
        if self.auc is not None and not self.auc.low > CHANCE:
            found.append("does not clearly tell the classes apart")
        return tuple(found)

    @property
    def sentence(self) -> str:
        """The counts in words."""
        said = f"It calls {self.called_all:,} of the {self.cells:,} cells ALL"
        if self.auc is not None:
            said += f"; the AUC is {told(self.auc)}"
        if self.doubts:
            said += ". Where hardly anything is decided, a map has hardly anything to show"
        return f"{said}."


def decision(rows: Rows) -> CallSummary:
    """Count a model's calls, and judge its probabilities where labels are known."""
    called_all = int((rows.frame["called"] == "all").sum())
    labelled = rows.labelled
    is_all = labelled.is_all
    if min(is_all.sum(), (~is_all).sum()) < FEWEST:
        return CallSummary(rows.frame.height, called_all, None)
    p_all = labelled.column("p_all")
    drawn = draw(WeightedMetrics(is_all, p_all[:, None]).of, labelled.draws)
    (auc,) = drawn.of(lambda figures: figures[..., FIGURES.index("auc")]).estimates()
    return CallSummary(rows.frame.height, called_all, auc)


@dataclass(frozen=True)
class Blurred:
    """What is left of the calls with the whole picture blurred away.

    Attributes:
        cells: how many have been blurred.
        kept: share of them that are called as they were.
        p_called: by call, the mean probability of that call that is left.
    """

    cells: int
    kept: Estimate
    p_called: dict[str, float]

    @property
    def sentence(self) -> str:
        """The figures in words, and what they say of the curves."""
        left = [f"{figure(p)} for those called {NAMES[call]}" for call, p in self.p_called.items()]
        said = (
            f"With everything blurred away, {told(self.kept, 0, percent=True)} of the calls stay "
            f"as they are (mean probability of the call: {listed(left)})"
        )
        if not self.kept.value > 0:
            return f"{said}."
        return (
            f"{said}: what blur leaves, colour and silhouette, or a leaning to one class, is "
            "enough for those, and the curves say nothing of it."
        )


def blur_away(rows: Rows) -> Blurred | None:
    """Count the calls that outlast the blur; None without deletion curves.

    The curves end at the picture that is blurred throughout, whatever map ranked its pixels; they
    are of a single view.
    """
    curves = rows.lists("deletion_grad_cam")
    if np.isnan(curves).all():
        return None
    left = curves[:, -1]
    called_all = (rows.frame["called"] == "all").to_numpy()
    # at .5 itself a cell is called normal
    stays = (left > THRESHOLD) | (~called_all & (left == THRESHOLD))
    known = ~np.isnan(left)
    by_call = {"all": known & called_all, "hem": known & ~called_all}
    return Blurred(
        cells=int(known.sum()),
        kept=rows.estimate(np.where(known, stays, np.nan)),
        p_called={call: float(left[mine].mean()) for call, mine in by_call.items() if mine.any()},
    )
