"""The outcome of a comparison, and the JSON that others read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from blastscope.evaluation.confidence_intervals import Estimate
from blastscope.evaluation.metrics import THRESHOLD
from blastscope.evaluation.subjects import Overlap
from blastscope.io.files import without_nan

COMPARISON_FORMAT = "blastscope-comparison/1"


@dataclass(frozen=True)
class ModelPair:
    """Two models on the same cells.

    Attributes:
        first: the one model.
        second: the other.
        weighted_f1: that of the first less that of the second; the interval is paired.
        auc: likewise.
        only_first: cells that only the first calls right.
        only_second: cells that only the second calls right.
        mcnemar_p: of McNemar's exact test of the calls.
        mcnemar_p_holm: the same, corrected for the number of pairs.
        delong_p: of DeLong's test of the AUCs; NaN where it cannot be had.
        delong_p_holm: the same, corrected for the number of pairs.
    """

    first: str
    second: str
    weighted_f1: Estimate
    auc: Estimate
    only_first: int
    only_second: int
    mcnemar_p: float
    mcnemar_p_holm: float
    delong_p: float
    delong_p_holm: float

    @property
    def alike(self) -> bool:
        """Whether both call every cell alike."""
        return self.only_first == self.only_second == 0

    def led(self) -> ModelPair:
        """The same pair, the model of the higher weighted F1 first."""
        if not self.weighted_f1.value < 0:
            return self
        return replace(
            self,
            first=self.second,
            second=self.first,
            weighted_f1=self.weighted_f1.negated(),
            auc=self.auc.negated(),
            only_first=self.only_second,
            only_second=self.only_first,
        )


def by_lead(pairs: Sequence[ModelPair]) -> list[ModelPair]:
    """Put the better model first in every pair, and the largest lead in weighted F1 on top."""
    return sorted((pair.led() for pair in pairs), key=lambda pair: -pair.weighted_f1.value)


@dataclass(frozen=True)
class Comparison:
    """Several models on the same cells of one part.

    Attributes:
        part: the part whose cells were judged.
        models: their names, in the order given.
        checkpoints: ``sha256:...`` of what made each model's predictions, where known.
        cells: labelled cells.
        cells_all: those of them that are ALL.
        subjects: how many subjects are known; None for none.
        unlabelled: cells of the part that carry no label and are left out.
        protocol: how the cells were split, where all the models agree on it.
        synthetic: whether the cells are synthetic.
        overlap: whether the part's subjects are also in training.
        resampling: what was drawn for the intervals, and what is not in them.
        unit: what was drawn first, ``subject`` or ``cell``.
        fewest: subjects of the class with the fewest of them; None where cells were drawn.
        resamples: how many times it was drawn.
        seed: of the draws.
        estimates: by model, then by figure (``resampled.FIGURES``).
        counts: by model, ``tn``, ``fp``, ``fn`` and ``tp``.
        pairs: the models that were held against each other.
    """

    part: str
    models: tuple[str, ...]
    checkpoints: Mapping[str, str | None]
    cells: int
    cells_all: int
    subjects: int | None
    unlabelled: int
    protocol: str | None
    synthetic: bool
    overlap: Overlap
    resampling: str
    unit: str
    fewest: int | None
    resamples: int
    seed: int
    estimates: Mapping[str, Mapping[str, Estimate]]
    counts: Mapping[str, Mapping[str, int]]
    pairs: tuple[ModelPair, ...]

    def as_json(self) -> dict[str, Any]:
        """The content of ``comparison.json``; null for what is undefined."""
        content: dict[str, Any] = asdict(self)
        content["pairs"] = list(content["pairs"])
        for pair in content["pairs"]:
            for name in ("weighted_f1", "auc"):
                pair[f"{name}_difference"] = pair.pop(name)
        head = {"format": COMPARISON_FORMAT, "threshold": THRESHOLD}
        told: dict[str, Any] = without_nan({**head, **content})
        return told
