"""Compare several models on the labelled cells of one split part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np

from blastscope.evaluation.aligned_predictions import AlignedPredictions
from blastscope.evaluation.bootstrap import Resampling, SamplingUnits, resampling
from blastscope.evaluation.cell_measurements import CellMeasurements
from blastscope.evaluation.cell_pairs import ScoredCells, add_up_pairs
from blastscope.evaluation.confidence_intervals import BootstrapDraws, Estimate, draw
from blastscope.evaluation.equal_size import EqualSizeAuc, equal_size_auc, equal_size_differences
from blastscope.evaluation.metrics import EXCHANGED, THRESHOLD, Metrics, compute_metrics
from blastscope.evaluation.model_baselines import ModelBaseline, model_baselines
from blastscope.evaluation.next_subject import smallest_difference
from blastscope.evaluation.overlap import Overlap, members_overlap
from blastscope.evaluation.pair_tests import delong, holm, mcnemar
from blastscope.evaluation.shortcuts import scored_cells
from blastscope.evaluation.sources import Readings
from blastscope.evaluation.weighted_metrics import METRICS, WeightedMetrics
from blastscope.io.files import without_nan

COMPARISON_FORMAT = "blastscope-comparison/2"


@dataclass(frozen=True)
class ModelPair:
    """Two models compared on the same cells: the first minus the second, with paired intervals.

    Attributes:
        only_first: cells that only the first calls right.
        only_second: cells that only the second calls right.
        mcnemar_p: of McNemar's exact test of the calls.
        mcnemar_p_holm: the same, corrected for the number of pairs.
        delong_p: of DeLong's test of the AUCs; NaN if it is undefined.
        delong_p_holm: the same, corrected for the number of pairs.
        detectable: the smallest difference in AUC that so many normal subjects can show, from how
            the difference varies between them (paired t test, power 80 %), each ranked within its
            fold if there are folds; NaN if unknown.
        auc_equal_size: the difference in AUC at equal size, over pairs of cells that are of the
            same fold in both models; None if sizes are unknown or a class is missing.
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
    detectable: float = math.nan
    auc_equal_size: Estimate | None = None

    @property
    def alike(self) -> bool:
        """Whether both call every cell alike."""
        return self.only_first == self.only_second == 0

    def led(self) -> ModelPair:
        """Return the same pair, the model of the higher weighted F1 first."""
        if not self.weighted_f1.value < 0:
            return self
        return replace(
            self,
            first=self.second,
            second=self.first,
            weighted_f1=self.weighted_f1.negated(),
            auc=self.auc.negated(),
            auc_equal_size=self.auc_equal_size and self.auc_equal_size.negated(),
            only_first=self.only_second,
            only_second=self.only_first,
        )


_BY_MODEL = ("checkpoints", "protocols", "estimates", "counts", "equal_size", "baselines")


def by_lead(pairs: Sequence[ModelPair]) -> list[ModelPair]:
    """Put the better model first in every pair, and the largest lead in weighted F1 on top."""
    return sorted((pair.led() for pair in pairs), key=lambda pair: -pair.weighted_f1.value)


@dataclass(frozen=True)
class Comparison:
    """Several models on the same cells of one part.

    Attributes:
        checkpoints: ``sha256:...`` of what made each model's predictions, if known.
        unlabelled: cells of the part that carry no label and are left out.
        protocol: how the cells were split, if all the models agree on it.
        protocols: by model, how its cells were split; None if its table does not say.
        overlap: whether the part's subjects are also in training.
        estimates: by model, then by metric (``weighted_metrics.METRICS``).
        readings: what was assumed and joined when the tables were read.
        counts: by model, ``tn``, ``fp``, ``fn`` and ``tp``.
        pooled: the models of a cross-validation, whose AUC, difference in AUC and DeLong's test
            pool the cells of several networks.
        equal_size: by model, AUC at equal size; None if a class is missing. Empty if sizes are
            unknown.
        baselines: by model, the rules without a network that were fitted on its training cells or
            other folds, with the model's lead over them, and always-ALL. Empty if sizes are
            unknown.
    """

    part: str
    models: tuple[str, ...]
    checkpoints: Mapping[str, str | None]
    cells: int
    cells_all: int
    subjects: int | None
    unlabelled: int
    protocol: str | None
    protocols: Mapping[str, str | None]
    synthetic: bool
    overlap: Overlap
    sampling: SamplingUnits
    seed: int
    estimates: Mapping[str, Mapping[str, Estimate]]
    counts: Mapping[str, Mapping[str, int]]
    pairs: tuple[ModelPair, ...]
    readings: Readings = field(default_factory=dict, kw_only=True)
    pooled: tuple[str, ...] = field(default=(), kw_only=True)
    equal_size: Mapping[str, EqualSizeAuc | None] = field(default_factory=dict, kw_only=True)
    baselines: Mapping[str, tuple[ModelBaseline, ...]] = field(default_factory=dict, kw_only=True)

    @property
    def exchanged(self) -> tuple[str, ...]:
        """The models whose AUC is so low that labels or the sign of p may be exchanged."""
        found = ((model, metrics["auc"].value) for model, metrics in self.estimates.items())
        return tuple(model for model, auc in found if auc < EXCHANGED)

    def of_models(self, models: Sequence[str]) -> Comparison:
        """Keep some of the models, and the pairs of two that are kept."""
        pairs = tuple(pair for pair in self.pairs if {pair.first, pair.second} <= set(models))
        kept: dict[str, Any] = {
            name: {model: of[model] for model in models if model in of}
            for name in _BY_MODEL
            for of in [getattr(self, name)]
        }
        pooled = tuple(model for model in self.pooled if model in models)
        return replace(self, models=tuple(models), pairs=pairs, pooled=pooled, **kept)

    def as_json(self) -> dict[str, Any]:
        """The content of ``comparison.json``; null for what is undefined."""
        content: dict[str, Any] = asdict(self)
        for pair in content["pairs"]:
            for name in ("weighted_f1", "auc", "auc_equal_size"):
                pair[f"{name}_difference"] = pair.pop(name)
        content["baselines"] = {
            model: {rule.name: rule.as_json() for rule in rules}
            for model, rules in self.baselines.items()
        }
        content["hints"] = {"exchanged": list(self.exchanged)} if self.exchanged else {}
        head = {"format": COMPARISON_FORMAT, "threshold": THRESHOLD}
        return without_nan({**head, **content})  # type: ignore[no-any-return]


def compare(
    scores: AlignedPredictions,
    part: str,
    resamples: int = 2000,
    seed: int = 24,
    pairs: Sequence[tuple[str, str]] | None = None,
    measured: CellMeasurements | None = None,
) -> Comparison:
    """Compute every metric of every model on ``part`` with its interval, and test pairs of models.

    Args:
        scores: the models, every part of them.
        pairs: the pairs to test, for whose number the tests are corrected; every two by default.
        measured: sizes and perhaps colours of all cells, for AUC at equal size and baselines.

    Raises:
        BlastscopeError: if the part is not there or has no labels, a model lacks some of its cells,
            cells were not measured or have another label or subject there, or ``resamples`` or
            ``seed`` is too low.
    """
    if measured is not None:
        measured.refuse_contradictions(scores.cells)
    here = scores.part(part)
    is_all, subjects = here.is_all, here.subjects
    draws = resampling(is_all, subjects, resamples, seed)
    metrics = [compute_metrics(is_all, p_all, subjects) for p_all in here.p_all.T]
    drawn = draw(WeightedMetrics(is_all, here.p_all).of, draws)
    every_pair = list(combinations(here.models, 2)) if pairs is None else pairs
    known = {subject for subject in subjects if subject is not None}
    found = _pairs(here, every_pair, drawn)
    equal_size: dict[str, EqualSizeAuc | None] = {}
    baselines: dict[str, tuple[ModelBaseline, ...]] = {}
    if measured is not None:
        found, equal_size = _at_equal_size(here, found, measured, draws)
        baselines = {
            one.name: model_baselines(
                measured, scores.table(one.name), part, one.metadata, resamples, seed
            )
            for one in here.members
        }
    return Comparison(
        part=part,
        models=here.models,
        checkpoints={one.name: one.metadata.get("checkpoint") for one in here.members},
        cells=len(is_all),
        cells_all=int(is_all.sum()),
        subjects=len(known) or None,
        unlabelled=int((scores.cells["part"] == part).sum()) - len(is_all),
        protocol=scores.protocol,
        protocols=scores.protocols,
        synthetic=scores.synthetic,
        overlap=members_overlap(scores, part),
        sampling=draws.sampling,
        seed=seed,
        estimates=_estimates(here.models, drawn),
        counts={name: _counts(found) for name, found in zip(here.models, metrics, strict=True)},
        pairs=found,
        readings=scores.readings,
        pooled=scores.pooled,
        equal_size=equal_size,
        baselines=baselines,
    )


def _at_equal_size(
    here: AlignedPredictions,
    pairs: tuple[ModelPair, ...],
    measured: CellMeasurements,
    draws: Resampling,
) -> tuple[tuple[ModelPair, ...], dict[str, EqualSizeAuc | None]]:
    """Compute AUC at equal size of each model, and of each pair the difference."""
    models = [scored_cells(here.table(one.name), one.metadata, measured) for one in here.members]
    if not models[0].both_classes:
        return pairs, dict.fromkeys(here.models)
    found: dict[str, EqualSizeAuc | None] = {
        name: equal_size_auc(cells, here.subjects, draws.resamples, draws.seed)
        for name, cells in zip(here.models, models, strict=True)
    }
    places = [(here.models.index(one.first), here.models.index(one.second)) for one in pairs]
    apart = equal_size_differences(models, places, draws)
    changed = (
        replace(pair, auc_equal_size=difference)
        for pair, difference in zip(pairs, apart, strict=True)
    )
    return tuple(changed), found


def _counts(metrics: Metrics) -> dict[str, int]:
    return {name: int(metrics[name] or 0) for name in ("tn", "fp", "fn", "tp")}


def _estimates(models: Sequence[str], drawn: BootstrapDraws) -> dict[str, dict[str, Estimate]]:
    found = iter(drawn.estimates())  # model by model, and of each model metric by metric
    return {model: {name: next(found) for name in METRICS} for model in models}


def _pairs(
    here: AlignedPredictions, names: Sequence[tuple[str, str]], drawn: BootstrapDraws
) -> tuple[ModelPair, ...]:
    found = [_pair(here, first, second, drawn) for first, second in names]
    of_calls = holm([pair.mcnemar_p for pair in found])
    of_ranks = holm([pair.delong_p for pair in found])
    return tuple(
        replace(pair, mcnemar_p_holm=calls, delong_p_holm=ranks)
        for pair, calls, ranks in zip(found, of_calls, of_ranks, strict=True)
    )


def _pair(here: AlignedPredictions, first: str, second: str, drawn: BootstrapDraws) -> ModelPair:
    """Hold two models against each other; the p-values are not corrected yet."""
    a, b = here.models.index(first), here.models.index(second)
    shown = [METRICS.index("weighted_f1"), METRICS.index("auc")]
    apart = drawn.of(lambda metrics: metrics[:, a, shown] - metrics[:, b, shown])
    weighted_f1, auc = apart.estimates()
    right = (here.p_all > THRESHOLD) == here.is_all[:, None]
    only_first = int((right[:, a] & ~right[:, b]).sum())
    only_second = int((right[:, b] & ~right[:, a]).sum())
    p_calls = mcnemar(only_first, only_second)
    _, p_ranks = delong(here.is_all, here.p_all[:, a], here.p_all[:, b])
    return ModelPair(
        first, second, weighted_f1, auc, only_first, only_second, p_calls, p_calls, p_ranks,
        p_ranks, _detectable(here, a, b),
    )  # fmt: skip


def _detectable(here: AlignedPredictions, first: int, second: int) -> float:
    """Return the smallest difference in AUC that the normal subjects can show between two."""
    if None in here.subjects or here.is_all.all() or not here.is_all.any():
        return math.nan
    _, codes = np.unique(np.array(here.subjects, dtype=str), return_inverse=True)
    aucs = []
    for model in (first, second):
        fold = None if here.fold is None else here.fold[:, model]
        sums = add_up_pairs(ScoredCells(here.is_all, here.p_all[:, model], fold=fold), codes)
        aucs.append(sums.auc_by_unit(np.ones((1, len(sums.pairs))))[0])
    apart = aucs[0] - aucs[1]
    apart = apart[~np.isnan(apart)]
    if len(apart) < 2:
        return math.nan
    return smallest_difference(float(apart.std(ddof=1)), len(apart))
