"""Hold several models against each other on the labelled cells of one part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from blastscope.evaluation.aligned_predictions import AlignedPredictions
from blastscope.evaluation.bootstrap import resampling
from blastscope.evaluation.comparison_result import Comparison, ModelPair
from blastscope.evaluation.confidence_intervals import BootstrapDraws, Estimate, draw
from blastscope.evaluation.metrics import THRESHOLD, Metrics, compute_metrics
from blastscope.evaluation.overlaps import members_overlap
from blastscope.evaluation.pair_tests import delong, holm, mcnemar
from blastscope.evaluation.weighted_metrics import FIGURES, WeightedMetrics

__all__ = ["Comparison", "compare"]


def compare(
    scores: AlignedPredictions,
    part: str,
    resamples: int = 2000,
    seed: int = 24,
    pairs: Sequence[tuple[str, str]] | None = None,
) -> Comparison:
    """Compute every figure of every model with its interval, and test pairs of models.

    Args:
        scores: the models, every part of them.
        part: the part to judge on.
        resamples: how many times to draw subjects and cells for the intervals.
        seed: of the draws.
        pairs: which models to hold against each other; every two without it. The tests are
            corrected for the number of these.

    Raises:
        BlastscopeError: where the part is not there or has no labels, a model lacks some of its
            cells, or ``resamples`` or ``seed`` is too low.
    """
    here = scores.part(part)
    is_all, subjects = here.is_all, here.subjects
    draws = resampling(is_all, subjects, resamples, seed)
    metrics = [compute_metrics(is_all, p_all, subjects) for p_all in here.p_all.T]
    drawn = draw(WeightedMetrics(is_all, here.p_all).of, draws)
    every_pair = list(combinations(here.models, 2)) if pairs is None else pairs
    known = {subject for subject in subjects if subject is not None}
    return Comparison(
        part=part,
        models=here.models,
        checkpoints={member.name: _checkpoint(member.metadata) for member in here.members},
        cells=len(is_all),
        cells_all=int(is_all.sum()),
        subjects=len(known) or None,
        unlabelled=int((scores.cells["part"] == part).sum()) - len(is_all),
        protocol=scores.protocol,
        synthetic=scores.synthetic,
        overlap=members_overlap(scores, part),
        resampling=draws.sentence,
        unit=draws.unit,
        fewest=draws.fewest,
        resamples=resamples,
        seed=seed,
        estimates=_estimates(here.models, drawn),
        counts={name: _counts(found) for name, found in zip(here.models, metrics, strict=True)},
        pairs=_pairs(here, every_pair, drawn),
    )


def _checkpoint(metadata: Mapping[str, object]) -> str | None:
    found = metadata.get("checkpoint")
    return None if found is None else str(found)


def _counts(metrics: Metrics) -> dict[str, int]:
    return {name: int(metrics[name] or 0) for name in ("tn", "fp", "fn", "tp")}


def _estimates(models: Sequence[str], drawn: BootstrapDraws) -> dict[str, dict[str, Estimate]]:
    found = iter(drawn.estimates())  # model by model, and of each model figure by figure
    return {model: {name: next(found) for name in FIGURES} for model in models}


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
    shown = [FIGURES.index("weighted_f1"), FIGURES.index("auc")]
    apart = drawn.of(lambda figures: figures[:, a, shown] - figures[:, b, shown])
    weighted_f1, auc = apart.estimates()
    right = (here.p_all > THRESHOLD) == here.is_all[:, None]
    only_first = int((right[:, a] & ~right[:, b]).sum())
    only_second = int((right[:, b] & ~right[:, a]).sum())
    p_calls = mcnemar(only_first, only_second)
    _, p_ranks = delong(here.is_all, here.p_all[:, a], here.p_all[:, b])
    return ModelPair(
        first, second, weighted_f1, auc, only_first, only_second, p_calls, p_calls, p_ranks, p_ranks
    )  # fmt: skip
