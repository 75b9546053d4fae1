"""What the page of an error analysis shows, ready for its template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from blastscope.data.store import Store
from blastscope.data.traits import TRAITS
from blastscope.error_analysis.agreement import PairAgreement
from blastscope.error_analysis.analysis import ErrorAnalysis
from blastscope.error_analysis.causes import (
    FEWEST,
    Finding,
    FlagFinding,
    TraitFinding,
)
from blastscope.error_analysis.counts import CLASSES
from blastscope.error_analysis.sentences import notable, p_text, short_name, size_of
from blastscope.report.errors_galleries import Gallery, cell_pictures, make_galleries
from blastscope.report.errors_plots import MOST_SUBJECTS
from blastscope.report.html import svg_uri
from blastscope.report.text import LABELS, number


@dataclass(frozen=True)
class MissedRow:
    """Cells that ``k`` models miss, and what share of all missed cells they are."""

    who: str
    all_cells: int
    hem_cells: int
    share: float


@dataclass(frozen=True)
class ErrorsRow:
    """One model's errors of both classes: (ALL, normal, both) each, None for a lone model."""

    model: str
    errors: tuple[int, int, int]
    only_right: tuple[int, int, int] | None
    only_wrong: tuple[int, int, int] | None


@dataclass(frozen=True)
class FindingRow:
    """A test in words; ``notable`` marks what counts as found."""

    label: str
    truth: str
    of: str
    missed: str
    right: str
    effect: str
    within: str
    size: str
    p: str
    notable: bool


@dataclass(frozen=True)
class ErrorsView:
    """The one object that ``_errors.html`` reads."""

    part: str
    models: tuple[str, ...]
    cells: int
    missed: tuple[MissedRow, ...]
    missed_total: int
    model_rows: tuple[ErrorsRow, ...]
    pairs: tuple[PairAgreement, ...]
    sentences: tuple[str, ...]
    guess: str
    findings: tuple[FindingRow, ...]
    subjects: tuple[dict[str, object], ...]
    subjects_cut: str
    galleries: tuple[Gallery, ...]
    cell_pictures: Mapping[int, str]
    pictures: Mapping[str, str]
    trait_pictures: tuple[tuple[str, str], ...]
    measured: bool
    names: Mapping[str, str]
    fewest: int
    cell_pages: Mapping[int, str] = field(default_factory=dict)
    """Where the page of a cell is that says what each network looked at, by the cell's row."""


def errors_view(
    analysis: ErrorAnalysis,
    pictures: Mapping[str, Path],
    store: Store | None,
    cell_pages: Mapping[int, str] | None = None,
) -> ErrorsView:
    """Lay out an analysis for its template.

    Args:
        analysis: the figures.
        pictures: SVG files by name, as ``errors_figures.draw_errors`` returns them.
        store: the store that the analysis was given, for pictures of cells; None without.
        cell_pages: links to the cells' own pages, by row.
    """
    uris = {name: svg_uri(path) for name, path in pictures.items()}
    drawn = ((trait.name, uris.get(f"trait-{trait.column}")) for trait in TRAITS)
    galleries = make_galleries(analysis)
    subjects = analysis.causes.subjects
    shown = subjects.group_by("label", maintain_order=True).head(MOST_SUBJECTS)
    return ErrorsView(
        part=analysis.part,
        models=analysis.scores.models,
        cells=analysis.scores.cells.height,
        missed=_missed(analysis),
        missed_total=sum(analysis.counts.total[1:]),
        model_rows=tuple(_model_row(analysis, model) for model in analysis.scores.models),
        pairs=analysis.pairs,
        sentences=analysis.sentences,
        guess=analysis.guess,
        findings=tuple(_finding_row(finding) for finding in analysis.causes.findings),
        subjects=tuple(shown.to_dicts()),
        subjects_cut=_cut(subjects.height - shown.height),
        galleries=galleries,
        cell_pictures={} if store is None else cell_pictures(analysis, galleries, store),
        pictures=uris,
        trait_pictures=tuple((name, uri) for name, uri in drawn if uri),
        measured=analysis.traits is not None,
        names=LABELS,
        fewest=FEWEST,
        cell_pages=cell_pages or {},
    )


def _cut(more: int) -> str:
    if not more:
        return ""
    return f"The worst {MOST_SUBJECTS} of each class: errors.json has {more:,} more."


def _missed(analysis: ErrorAnalysis) -> tuple[MissedRow, ...]:
    models, total = len(analysis.scores.models), sum(analysis.counts.total[1:])
    rows = []
    for k in range(models, 0, -1):
        n_all, n_hem = (analysis.counts.missed_by[label][k] for label in CLASSES)
        who = f"all {models} models" if k == models else f"{k} model{'s' * (k > 1)}"
        rows.append(MissedRow(who, n_all, n_hem, (n_all + n_hem) / total if total else 0.0))
    return tuple(rows)


def _model_row(analysis: ErrorAnalysis, model: str) -> ErrorsRow:
    first, second = analysis.counts.of(model)
    errors = (first.errors, second.errors, first.errors + second.errors)
    if None in (first.only_right, second.only_right):
        return ErrorsRow(model, errors, None, None)
    right = (first.only_right or 0, second.only_right or 0)
    wrong = (first.only_wrong or 0, second.only_wrong or 0)
    return ErrorsRow(model, errors, (*right, sum(right)), (*wrong, sum(wrong)))


def _finding_row(finding: Finding) -> FindingRow:
    missed, right, effect, within = _told(finding)
    return FindingRow(
        finding.label,
        LABELS[finding.label],
        finding.trait.name if isinstance(finding, TraitFinding) else short_name(finding),
        missed,
        right,
        effect,
        within,
        size_of(finding),
        p_text(finding.corrected),
        notable(finding),
    )


def _told(finding: Finding) -> tuple[str, str, str, str]:
    """Say a finding's missed cells, right cells, effect with its interval, effect in subjects."""
    if isinstance(finding, TraitFinding):
        digits = finding.trait.digits
        found = finding.found
        effect = f"delta {found.delta:+.2f}"
        if found.low is not None and found.high is not None:
            effect += f" ({found.low:+.2f} to {found.high:+.2f})"
        within = "–"
        if finding.within is not None and finding.both > 1:
            within = f"{finding.within:+.2f} (of {finding.both})"
        return (
            number(finding.median_hard, digits),
            number(finding.median_right, digits),
            effect,
            within,
        )
    if isinstance(finding, FlagFinding):
        (hard, flagged), (hard_others, others) = finding.flagged, finding.others
        effect = f"{100 * finding.found.risk_difference:+.1f} points"
        if finding.found.odds_ratio is not None:
            effect += f", odds ratio {finding.found.odds_ratio:.2f}"
        missed = f"{flagged - hard:,}"
        return (
            f"{hard:,} of {hard + hard_others:,}",
            f"{missed} of {flagged - hard + others - hard_others:,}",
            effect,
            "–",
        )
    return "–", "–", f"V {finding.found.v:.2f}", "–"
