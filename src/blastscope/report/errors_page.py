"""Lay out an error analysis: its tables, its galleries of cells, and its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from blastscope.data.crop import resize
from blastscope.data.store import Store
from blastscope.data.traits import TRAITS
from blastscope.error_analysis.analysis import ErrorAnalysis, Pick
from blastscope.error_analysis.causes import FEWEST, Finding, TraitFinding
from blastscope.error_analysis.counts import CLASSES, PairAgreement
from blastscope.report import errors_text
from blastscope.report.errors_plots import MOST_SUBJECTS
from blastscope.report.evaluation_text import overlap_text
from blastscope.report.html import picture_uri, render, svg_uri
from blastscope.report.text import LABELS, counted, number, p_number

MOST = 24
"""Cells that a gallery shows; ``cells.csv`` has all of them."""
SIDE = 96
"""Side of a cell's picture, in pixels."""
RESCUED = "Right in one model only"


@dataclass(frozen=True)
class MissedRow:
    """The cells that ``who`` misses, and their share of all missed cells."""

    who: str
    all_cells: int
    hem_cells: int
    share: float


@dataclass(frozen=True)
class ErrorsRow:
    """The errors of one model: (ALL, normal, both) each; None if there is no other model."""

    model: str
    errors: tuple[int, int, int]
    only_right: tuple[int, int, int] | None
    only_wrong: tuple[int, int, int] | None


@dataclass(frozen=True)
class FindingRow:
    """One test, as it is written into the table."""

    label: str
    of: str
    missed: str
    right: str
    effect: str
    within: str
    size: str
    p: str
    notable: bool


@dataclass(frozen=True)
class GalleryCell:
    """One cell of a gallery; ``anchor`` is empty if an earlier gallery has shown the cell."""

    anchor: str
    row: int
    cell: str
    label: str
    detail: str


@dataclass(frozen=True)
class Gallery:
    """Cells of one kind, the first ``MOST`` of ``total``."""

    title: str
    note: str
    total: int
    cells: tuple[GalleryCell, ...]


@dataclass(frozen=True)
class ErrorsView:
    """The object that ``_errors.html`` reads; ``cell_pages`` are addresses by a cell's row."""

    part: str
    models: tuple[str, ...]
    cells: int
    verdict: str
    missed: tuple[MissedRow, ...]
    missed_text: str
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
    names: Mapping[str, str]
    fewest: int
    cell_pages: Mapping[int, str]


def errors_html(
    analysis: ErrorAnalysis,
    pictures: Mapping[str, Path],
    store: Store | None,
    cell_pages: Mapping[int, str],
) -> str:
    """Render the self-contained page of an error analysis; arguments as :func:`errors_view`."""
    models = analysis.scores.models
    unlabelled = errors_text.unlabelled_text(analysis)
    cautions = [(analysis.overlap.kind, overlap_text(analysis.overlap))]
    return render(
        "errors.html",
        title=f"Errors of {models[0] if len(models) == 1 else f'{len(models)} models'} on "
        f"{analysis.part} cells",
        synthetic=analysis.synthetic,
        protocol=analysis.scores.protocol,
        cautions=[*cautions, *([("unlabelled", unlabelled)] if unlabelled else [])],
        errors=errors_view(analysis, pictures, store, cell_pages),
    )


def errors_view(
    analysis: ErrorAnalysis,
    pictures: Mapping[str, Path],
    store: Store | None,
    cell_pages: Mapping[int, str] | None = None,
) -> ErrorsView:
    """Lay out an error analysis for its template.

    Args:
        analysis: the analysis.
        pictures: SVG files by name, as ``errors_plots.draw_errors`` returns them.
        store: the store of the analysis, for pictures of cells; None without one.
        cell_pages: addresses of the pages of single cells, by row.
    """
    uris = {name: svg_uri(path) for name, path in pictures.items()}
    drawn = ((trait.name, uris.get(f"trait-{trait.column}")) for trait in TRAITS)
    galleries = make_galleries(analysis)
    subjects = analysis.causes.subjects
    shown = subjects.group_by("label", maintain_order=True).head(MOST_SUBJECTS)
    more = subjects.height - shown.height
    return ErrorsView(
        part=analysis.part,
        models=analysis.scores.models,
        cells=analysis.scores.cells.height,
        verdict=errors_text.verdict_text(analysis),
        missed=_missed(analysis),
        missed_text=errors_text.missed_text(analysis.causes),
        model_rows=tuple(_model_row(analysis, model) for model in analysis.scores.models),
        pairs=analysis.pairs,
        sentences=errors_text.causes_text(analysis.causes),
        guess=errors_text.guess_text(analysis.guess, analysis.causes),
        findings=tuple(_finding_row(finding) for finding in analysis.causes.findings),
        subjects=tuple(shown.to_dicts()),
        subjects_cut=f"The {MOST_SUBJECTS} subjects of each class with the highest shares: "
        f"errors.json has {number(more)} more."
        if more
        else "",
        galleries=galleries,
        cell_pictures=cell_pictures(analysis, galleries, store) if store else {},
        pictures=uris,
        trait_pictures=tuple((name, uri) for name, uri in drawn if uri),
        names=LABELS,
        fewest=FEWEST,
        cell_pages=cell_pages or {},
    )


def _missed(analysis: ErrorAnalysis) -> tuple[MissedRow, ...]:
    models, total = len(analysis.scores.models), sum(analysis.counts.total[1:])
    rows = []
    for k in range(models, 0, -1):
        n_all, n_hem = (analysis.counts.missed_by[label][k] for label in CLASSES)
        who = f"all {models} models" if k == models else counted(k, "model")
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
    trait = isinstance(finding, TraitFinding) and finding.trait.name
    return FindingRow(
        finding.label,
        trait or errors_text.finding_name(finding),
        *errors_text.finding_cells(finding),
        finding.size,
        p_number(finding.corrected),
        finding.notable,
    )


def make_galleries(analysis: ErrorAnalysis) -> tuple[Gallery, ...]:
    """Make the galleries that have any cells.

    Where a cell is first shown on the page, it has the HTML id ``cell-<row>``, ``row`` being its
    row among the cells of the analysis.
    """
    models, missed = analysis.scores.models, analysis.missed_by_all
    several = len(models) > 1
    order = f"p(ALL) of {', '.join(models)}, in this order." if several else "With p(ALL)."
    kinds: list[tuple[str, str, Sequence[Pick], int]] = []
    if several:  # with one model this is the gallery of its most confident errors
        note = f"The most confident error first. {order}"
        kinds.append((f"Missed by all {len(models)} models", note, missed, len(missed)))
        note = f"Every other model misses these cells. {order}"
        kinds.append((RESCUED, note, analysis.rescued, len(analysis.rescued)))
    for model, confident in analysis.most_confident.items():
        errors = sum(row.errors for row in analysis.counts.of(model))
        note = f"The most confident error first. {order}"
        kinds.append((f"Most confident errors of {model}", note, confident, errors))
    seen: set[int] = set()
    galleries = []
    for title, note, picks, total in kinds:
        cells = []
        for pick in picks[:MOST]:
            anchor = "" if pick.row in seen else f"cell-{pick.row}"
            cells.append(_cell(analysis, pick, anchor, rescued=title == RESCUED))
            seen.add(pick.row)
        if cells:
            galleries.append(Gallery(title, note, total, tuple(cells)))
    return tuple(galleries)


def _cell(analysis: ErrorAnalysis, pick: Pick, anchor: str, *, rescued: bool) -> GalleryCell:
    cell, label = analysis.scores.cells.select("cell", "label").row(pick.row)
    detail = "p " + " · ".join(number(float(p), 2) for p in analysis.scores.p_all[pick.row])
    return GalleryCell(
        anchor, pick.row, cell, label, f"{detail}, right: {pick.model}" if rescued else detail
    )


def cell_pictures(
    analysis: ErrorAnalysis, galleries: Sequence[Gallery], store: Store
) -> dict[int, str]:
    """Make a data URI of each cell that any gallery shows, by the cell's row.

    A cell that several galleries show has one picture, which keeps the page small.
    """
    places = {cell: place for place, cell in enumerate(store.cells["cell"])}
    names = analysis.scores.cells["cell"]
    rows = {shown.row for gallery in galleries for shown in gallery.cells}
    return {
        row: picture_uri(resize(store.pixels[places[names[row]]], SIDE)) for row in sorted(rows)
    }
