"""The verdict on an evaluated model: what a reader must know before any number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import polars as pl

from blastscope.data.names import HEM
from blastscope.evaluation.baseline_rules import ALWAYS_ALL, SIZE_ALONE
from blastscope.evaluation.bootstrap import SamplingUnits
from blastscope.evaluation.interval_coverage import FEW_SUBJECTS
from blastscope.evaluation.metrics import THRESHOLD, Metrics
from blastscope.evaluation.model_baselines import COMPARED, ModelBaseline
from blastscope.evaluation.overlap import Kind, Overlap
from blastscope.evaluation.shortcuts import Shortcuts

FOLLOWS_SIZE = 0.6
"""A probability whose rank correlation with size within the normal cells is above this follows it:
the model of 0.1.0, which ranked unseen subjects no better than size did, had .86."""

Baselines = Literal["ahead", "level", "behind", "one-class-cells"]
Calls = Literal["both", "all-only", "hem-only", "one-class-cells", "alike-in-folds"]
ONE_CALL: tuple[Calls, ...] = ("all-only", "hem-only", "alike-in-folds")
"""What a model calls that does not tell any two cells apart by its calls."""
Subjects = Literal["enough", "few", "too-few", "unknown"]
Calibration = Literal["calibrated", "miscalibrated", "not-judged"]
Size = Literal["beyond", "partly", "no-more", "not-measured"]
Level = Literal["good", "caution", "bad"]


_SIZE_LEVELS: dict[Size, Level] = {
    "beyond": "good",
    "partly": "caution",
    "no-more": "bad",
    "not-measured": "caution",
}


@dataclass(frozen=True)
class Verdict:
    """What an evaluation shows, in codes.

    Attributes:
        baselines: ``ahead`` if the paired 95 % interval of the lead in weighted F1 is above zero
            for every baseline; ``behind`` if the interval of weighted F1 or AUC is below zero for
            one of them; ``one-class-cells`` if the cells have only one class, of which one call for
            all of them is always right; otherwise ``level``.
        size: whether the model knows more than the size of a cell: ``no-more`` if the 95 % interval
            of AUC at equal size reaches one half, or what size itself has there; ``partly`` if it
            does not, but the AUC is not clearly above that of size, or p follows size within the
            normal cells; otherwise ``beyond``.
        tested_on: the kind of overlap of the tested subjects with training.
        calls: whether the model calls both classes; ``one-class-cells`` if the cells have only one;
            ``alike-in-folds`` if every network of a cross-validation calls all cells that it tests
            alike, one ALL and another normal.
        subjects: whether each class has enough subjects to take 95 % intervals literally;
            ``too-few`` with one or none, ``unknown`` if not every cell names its subject.
        calibration: whether the calibrated probabilities differ from the labels by more than
            chance: ``calibrated`` if their error is not above what chance shows in 95 of 100 draws.
            Of few subjects chance explains much.
        folds: of a cross-validation, those with tested cells of both classes; otherwise 0.
        folds_called_alike: how many of them have a network that calls all their cells alike.
    """

    baselines: Baselines
    compared: tuple[str, ...]
    closest: str
    size: Size
    tested_on: Kind
    calls: Calls
    subjects: Subjects
    subjects_all: int
    subjects_hem: int
    calibration: Calibration
    folds: int = 0
    folds_called_alike: int = 0

    @property
    def all_compared(self) -> bool:
        """Whether the model was compared with more than always-ALL."""
        return len(self.compared) > 1

    @property
    def levels(self) -> dict[str, Level]:
        """How good each finding is, by the name of its attribute."""
        ahead: Level = "good" if self.baselines == "ahead" and self.all_compared else "caution"
        calls: Level = "bad" if self.calls in ONE_CALL else "caution"
        unseen: Level = "bad" if self.tested_on == "training" else "caution"
        return {
            "baselines": "bad" if self.baselines == "behind" else ahead,
            "size": _SIZE_LEVELS[self.size],
            "tested_on": "good" if self.tested_on == "disjoint" else unseen,
            "calls": "good" if self.calls == "both" and not self.folds_called_alike else calls,
            "subjects": "good" if self.subjects == "enough" else "caution",
            "calibration": "good" if self.calibration == "calibrated" else "caution",
        }

    @property
    def level(self) -> Level:
        """``good`` only if the model is ahead of its baselines on unseen subjects."""
        levels = self.levels
        if "bad" in levels.values():
            return "bad"
        needed = [levels[name] for name in ("baselines", "tested_on", "calls")]
        return "good" if set(needed) == {"good"} else "caution"

    def as_json(self) -> dict[str, Any]:
        """The verdict as JSON."""
        return {"level": self.level, **asdict(self), "compared": list(self.compared)}


def verdict(
    metrics: Metrics,
    sampling: SamplingUnits,
    overlap: Overlap,
    baselines: Sequence[ModelBaseline],
    shortcuts: Shortcuts,
    calibration_error: tuple[float, float] | None,
    folds: tuple[int, int] = (0, 0),
) -> Verdict:
    """Judge an evaluation by its baselines, of which one is always-ALL.

    ``calibration_error``: that of the calibrated probabilities, and the largest one that chance
    explains; None if nothing was calibrated. ``folds``: as :func:`count_folds` returns it.
    """
    closest = min(baselines, key=lambda one: one.lead["weighted_f1"].value)
    counts = sampling.counts if sampling.unit == "subject" else {}
    n_all, n_hem = (counts.get(name, 0) + counts.get("mixed", 0) for name in ("all", "hem"))
    calls = _calls(metrics, folds)
    return Verdict(
        baselines="one-class-cells" if calls == "one-class-cells" else _against(baselines),
        compared=tuple(one.name for one in baselines),
        closest=closest.name,
        size=_beyond_size(shortcuts, baselines),
        tested_on=overlap.kind,
        calls=calls,
        subjects=_enough(min(n_all, n_hem)) if counts else "unknown",
        subjects_all=n_all,
        subjects_hem=n_hem,
        calibration=_calibration(calibration_error),
        folds=folds[0],
        folds_called_alike=folds[1],
    )


def count_folds(cells: pl.DataFrame) -> tuple[int, int]:
    """Count the folds that test cells of both classes, and those whose cells are called alike.

    Args:
        cells: ``fold``, ``label`` and ``p_all`` of labelled cells, each tested once.
    """
    folds = cells.group_by("fold").agg(
        labels=pl.col("label").n_unique(), calls=(pl.col("p_all") > THRESHOLD).n_unique()
    )
    both = folds.filter(pl.col("labels") == 2)
    return both.height, both.filter(pl.col("calls") == 1).height


def _against(baselines: Sequence[ModelBaseline]) -> Baselines:
    """Compare by intervals; AUC says nothing of always-ALL, which ranks no cells."""
    leads = [
        one.lead[name]
        for one in baselines
        for name in COMPARED
        if name != "auc" or one.name != ALWAYS_ALL
    ]
    if any(lead.known and lead.negated().above_zero for lead in leads):
        return "behind"
    ahead = all(one.lead["weighted_f1"].above_zero for one in baselines)
    return "ahead" if ahead else "level"


def _beyond_size(shortcuts: Shortcuts, baselines: Sequence[ModelBaseline]) -> Size:
    found = shortcuts.equal_size
    if found is None or not found.known:
        return "not-measured"
    if not found.beyond_size:
        return "no-more"
    leads = [one.lead["auc"] for one in baselines if one.name == SIZE_ALONE]
    ahead = all(lead.above_zero for lead in leads)
    follows = shortcuts.correlation("size", HEM) > FOLLOWS_SIZE
    return "partly" if follows or not ahead else "beyond"


def _calls(metrics: Metrics, folds: tuple[int, int]) -> Calls:
    tn, fp, fn, tp = (int(metrics[name] or 0) for name in ("tn", "fp", "fn", "tp"))
    if not (tp + fn and tn + fp):
        return "one-class-cells"
    if not tn + fn:
        return "all-only"
    if not tp + fp:
        return "hem-only"
    return "alike-in-folds" if folds[0] and folds[0] == folds[1] else "both"


def _enough(fewest: int) -> Subjects:
    if fewest < 2:
        return "too-few"
    return "few" if fewest <= FEW_SUBJECTS else "enough"


def _calibration(error: tuple[float, float] | None) -> Calibration:
    if error is None:
        return "not-judged"
    found, limit = error
    return "calibrated" if found <= limit else "miscalibrated"
