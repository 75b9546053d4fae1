"""A comparison made ready for a page: every figure already in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from blastscope.evaluation.comparison_result import Comparison, ModelPair, by_lead
from blastscope.evaluation.confidence_intervals import Estimate
from blastscope.evaluation.subjects import Overlap
from blastscope.report.comparison_text import headline, verdict
from blastscope.report.html import svg_uri
from blastscope.report.text import METRIC_NAMES, counted, interval, number, p_number, protocol_name

PAPER_FORM = {
    "precision_hem": "precision, normal",
    "precision_all": "precision, ALL",
    "recall_hem": "recall, normal (specificity)",
    "recall_all": "recall, ALL (sensitivity)",
    "weighted_f1": "weighted F1",
    "auc": "AUC",
}
"""The columns of the paper's tables of ensembles (3.4.2, 3.4.3.2), and AUC."""
_OTHERS = ("accuracy", "balanced_accuracy", "average_precision", "mcc")
WITHOUT_WIDTH = (
    "An interval without width is no certainty: where a model makes no error of a kind, or only "
    "such, no resample can show otherwise."
)
MOST_OPEN = 10
"""More pairs than this are folded away."""


@dataclass(frozen=True)
class MetricText:
    """A figure, and its interval in small print."""

    value: str
    interval: str


@dataclass(frozen=True)
class ComparisonRow:
    """A model's figures, a cell of the table each."""

    name: str
    best: bool
    figures: tuple[MetricText, ...]
    others: tuple[MetricText, ...]
    counts: tuple[str, ...]


@dataclass(frozen=True)
class PairRow:
    """Two models, the one ahead in weighted F1 first."""

    first: str
    second: str
    weighted_f1: MetricText
    auc: MetricText
    only_first: str
    only_second: str
    mcnemar: MetricText
    delong: MetricText
    verdict: str


@dataclass(frozen=True)
class ComparisonView:
    """What ``_comparison.html`` shows; the page gives it as ``comparison``."""

    title: str
    meta: str
    overlap: Overlap
    resampling: str
    unlabelled: str
    headline: str
    columns: tuple[str, ...]
    other_columns: tuple[str, ...]
    rows: tuple[ComparisonRow, ...]
    pairs: tuple[PairRow, ...]
    folded: bool
    certain: str
    synthetic: bool
    pictures: Mapping[str, str]


def comparison_view(comparison: Comparison, pictures: Mapping[str, Path]) -> ComparisonView:
    """Put a comparison into words.

    Args:
        comparison: the figures.
        pictures: SVG files by figure name (see ``comparison_figures.draw_comparison``).
    """
    best = max(figures["weighted_f1"].value for figures in comparison.estimates.values())
    return ComparisonView(
        title=f"{len(comparison.models)} models on the same {comparison.part} cells",
        meta=_meta(comparison),
        overlap=comparison.overlap,
        resampling=comparison.resampling,
        unlabelled=_unlabelled(comparison),
        headline=headline(comparison),
        columns=tuple(PAPER_FORM.values()),
        other_columns=tuple(METRIC_NAMES[name] for name in _OTHERS),
        rows=tuple(_model_row(comparison, model, best) for model in comparison.models),
        pairs=tuple(_pair_row(pair, comparison) for pair in by_lead(comparison.pairs)),
        folded=len(comparison.pairs) > MOST_OPEN,
        certain=WITHOUT_WIDTH if without_width(comparison) else "",
        synthetic=comparison.synthetic,
        pictures={name: svg_uri(path) for name, path in pictures.items()},
    )


def _meta(comparison: Comparison) -> str:
    normal = comparison.cells - comparison.cells_all
    subjects = "subjects not given"
    if comparison.subjects is not None:
        subjects = counted(comparison.subjects, "subject")
    cells = f"{comparison.cells:,} {comparison.part} cells"
    told = (
        f"{cells} ({comparison.cells_all:,} ALL, {normal:,} normal)",
        subjects,
        protocol_name(comparison.protocol),
        "ALL where p > 0.5",
    )
    return " · ".join(told)


def _unlabelled(comparison: Comparison) -> str:
    if not comparison.unlabelled:
        return ""
    total = comparison.unlabelled + comparison.cells
    return (
        f"Left out for want of a label: {comparison.unlabelled:,} of {total:,} "
        f"{comparison.part} cells."
    )


def without_width(comparison: Comparison) -> bool:
    """Whether some interval has no width, which a reader may take for certainty."""
    return any(
        figures[name].known and figures[name].low == figures[name].high
        for figures in comparison.estimates.values()
        for name in PAPER_FORM
    )


def _model_row(comparison: Comparison, model: str, best: float) -> ComparisonRow:
    found = comparison.estimates[model]
    counts = comparison.counts[model]
    return ComparisonRow(
        name=model,
        best=found["weighted_f1"].value == best,
        figures=tuple(_metric(found[name]) for name in PAPER_FORM),
        others=tuple(_metric(found[name]) for name in _OTHERS),
        counts=tuple(number(counts[name]) for name in ("tn", "fp", "fn", "tp")),
    )


def _metric(estimate: Estimate, digits: int = 3, *, sign: bool = False) -> MetricText:
    return MetricText(number(estimate.value, 4, sign=sign), interval(estimate, digits, sign=sign))


def _p_value(p: float, corrected: float, tests: int) -> MetricText:
    known = not math.isnan(p)
    return MetricText(p_number(corrected), f"{p_number(p)} alone" if known and tests > 1 else "")


def _pair_row(led: ModelPair, comparison: Comparison) -> PairRow:
    return PairRow(
        first=led.first,
        second=led.second,
        weighted_f1=_metric(led.weighted_f1, 4, sign=True),
        auc=_metric(led.auc, 4, sign=True),
        only_first=number(led.only_first),
        only_second=number(led.only_second),
        mcnemar=_p_value(led.mcnemar_p, led.mcnemar_p_holm, len(comparison.pairs)),
        delong=_p_value(led.delong_p, led.delong_p_holm, len(comparison.pairs)),
        verdict=verdict(led, comparison),
    )
