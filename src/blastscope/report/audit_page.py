"""Lay out an audit of explanations: its summary, its plots, and its section of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from blastscope.evaluation.confidence_intervals import Estimate
from blastscope.explanation.audit.curves import KINDS, MUST_BEAT
from blastscope.explanation.audit.regions import MOST, OffCell
from blastscope.explanation.audit.size import SizeQuestion
from blastscope.explanation.audit.summary import AuditSummary, ModelAudit, summarize
from blastscope.io.files import write_json
from blastscope.report import audit_text
from blastscope.report.audit_plots import AGREEMENT, draw_audit
from blastscope.report.html import svg_uri
from blastscope.report.text import DASH, LABELS, counted, interval, number, percent

if TYPE_CHECKING:
    from blastscope.explanation.audit.audit import Audit
    from blastscope.explanation.models import ExplainedModel

FORMAT = "blastscope-explanation-audit/2"
SUMMARY = "audit-summary.json"
ALT = {
    "regions": "Boxes: share of the attribution minus share of the image, by region and class",
    "deletion": "Mean probability of the called class while the image is blurred, by method",
    "insertion": "Mean probability of the called class while the image is restored, by method",
    "randomization": "Mean correlation with the trained map while the weights are randomized",
    "radius": "Mean attribution from the cell's centre to its outline, by class",
    "size": "Mean probability of ALL of rescaled cells, by class; hollow: many are cut off",
}
"""The plots of a model, in the order of the page, each with its description."""
TITLES = {"background": "Attribution on the background", "debris": "Attribution on debris"}


@dataclass(frozen=True)
class CellText:
    """A number or a verdict, with the small print below it."""

    value: str
    small: str = ""


_NONE = CellText(DASH)


@dataclass(frozen=True)
class HeadRow:
    """The row of a model in the headline table."""

    model: str
    passed: bool
    region: CellText
    deletion: CellText
    insertion: CellText
    randomized: CellText
    size: CellText


@dataclass(frozen=True)
class NamedCell:
    """A cell that is named; ``href`` is empty if it has no page."""

    cell: str
    href: str
    label: str
    truth: str
    called: str
    p_all: str
    share: str
    area: str
    ratio: str


@dataclass(frozen=True)
class OffCellPlace:
    """A region beside the cell; the cells are at most ``MOST`` of ``total``."""

    title: str
    sentence: str
    total: int
    cells: tuple[NamedCell, ...]


@dataclass(frozen=True)
class ModelView:
    """One model: its plots (description and data URI each), sentences and tables.

    Attributes:
        without: how many cells have no attribution; empty if all have one.
        regions: (method, region, share of the attribution, of the image, their ratio) each.
        areas: (method, deletion, insertion) each.
        against: Grad-CAM's differences: (kind, rival, difference, verdict) each.
        sizes: (name, unchanged, there and back, same size, same size minus unchanged, same size
            minus there and back) each; empty without labels.
    """

    model: str
    pictures: tuple[tuple[str, str], ...]
    sentences: tuple[str, ...]
    without: str
    regions: tuple[tuple[str, str, CellText, str, CellText], ...]
    areas: tuple[tuple[str, CellText, CellText], ...]
    against: tuple[tuple[str, str, CellText, str], ...]
    sizes: tuple[tuple[str, CellText, CellText, CellText, CellText, CellText], ...]
    places: tuple[OffCellPlace, ...]


@dataclass(frozen=True)
class AuditView:
    """The object that ``_audit.html`` reads."""

    cells: int
    part: str
    answer: str
    believed: bool
    rows: tuple[HeadRow, ...]
    models: tuple[ModelView, ...]
    agreement: str | None
    intervals: str
    most: int


def report_audit(
    explained_name: str,
    models: Sequence[ExplainedModel],
    audit: Audit,
    out: Path,
    *,
    part: str,
    synthetic: bool,
    pages: Mapping[str, str] | None = None,
) -> AuditView:
    """Sum up an audit and write ``audit-summary.json`` and ``figures/audit-*`` (SVG and PNG).

    Args:
        explained_name: what was explained: the ensemble's name, or the model's.
        models: the models, in the order of the audit.
        audit: its two tables.
        out: the folder to write to.
        part: of the split that was audited.
        synthetic: whether the cells, or the training cells of any model, are synthetic.
        pages: by cell, the address of its page as seen from the page that shows the section.

    Returns:
        What ``_audit.html`` shows, given to it as ``audit``.

    Raises:
        BlastscopeError: if the tables do not have the same cells for every model, or the folder
            cannot be written.
        ValueError: if the tables are of other models.
    """
    names = [model.name for model in models]
    if set(names) != set(audit.cells["model"]):
        raise ValueError(f"an audit of {sorted(set(audit.cells['model']))}, not {sorted(names)}")
    cells = pl.concat([audit.cells.filter(pl.col("model") == name) for name in names])
    scales = {model.name: model.settings.scale for model in models}
    summary = summarize(cells, audit.randomization, scales)
    pictures = draw_audit(summary, cells, out / "figures")
    content = {
        "format": FORMAT,
        "synthetic": synthetic,
        "explained": explained_name,
        "part": part,
        **summary.as_json(),
    }
    write_json(out / SUMMARY, content)
    return audit_view(summary, pictures, part, scales, pages or {})


def audit_view(
    summary: AuditSummary,
    pictures: Mapping[str, Path],
    part: str,
    scales: Mapping[str, str],
    pages: Mapping[str, str],
) -> AuditView:
    """Lay out an audit for its template.

    Args:
        summary: the audit.
        pictures: SVG files by name, as ``audit_plots.draw_audit`` returns them.
        part: of the split that was audited.
        scales: by model, how its cells were prepared: ``crop`` or ``keep``.
        pages: by cell, the address of its page, for those that have one.
    """
    uris = {name: svg_uri(path) for name, path in pictures.items()}
    models = []
    for place, model in enumerate(summary.models, 1):
        drawn = tuple(
            (alt, uris[f"{place}-{kind}"]) for kind, alt in ALT.items() if f"{place}-{kind}" in uris
        )
        models.append(_model_view(model, drawn, scales.get(model.model, ""), pages))
    return AuditView(
        cells=summary.cells,
        part=part,
        answer=audit_text.answer_text(summary),
        believed=len(summary.passed) == len(summary.models),
        rows=tuple(_head_row(model, model.model in summary.passed) for model in summary.models),
        models=tuple(models),
        agreement=uris.get(AGREEMENT),
        intervals=audit_text.intervals_text(summary),
        most=MOST,
    )


def _head_row(model: ModelAudit, passed: bool) -> HeadRow:
    cell = model.grad_cam.region("cell")
    ratio = _text(cell.ratio)
    small = f"of {percent(cell.area, 0)} of the image: ×{ratio.value}"
    small += f" ({ratio.small})" if ratio.small else ""
    if model.grad_cam.less_on_cell:
        small += ", less than its share"
    randomized = _NONE
    if model.randomized is not None:
        left, between = model.randomized.stages[-1], model.randomized.between
        levels = f"{number(left.correlation, 2)}; between cells {number(between.correlation, 2)}"
        if model.randomized.easy:
            levels += ", so easy to pass"
        randomized = CellText(audit_text.WEIGHTS[model.randomized.verdict], levels)
    return HeadRow(
        model=model.model,
        passed=passed,
        region=CellText(percent(cell.share.value, 0), small),
        deletion=_verdict(model, "deletion"),
        insertion=_verdict(model, "insertion"),
        randomized=randomized,
        size=_NONE if model.size is None else _size(model.size),
    )


def _verdict(model: ModelAudit, kind: str) -> CellText:
    """Name the rivals that Grad-CAM does not beat, or say that it beats both."""
    known = []
    for rival in MUST_BEAT:
        gain = model.gain(kind, rival)
        if gain is not None:
            value = _text(gain.difference, 3, sign=True)
            bounds = f" ({value.small})" if value.small else ""
            known.append(f"{audit_text.RANKERS[rival]} {value.value}{bounds}")
    if not known:
        return _NONE
    failed = audit_text.not_beaten_text(model, kind)
    return CellText(failed or "better than both", "; ".join(known))


def _size(size: SizeQuestion) -> CellText:
    verdict = audit_text.SIZES[size.verdict]
    if size.by != "size":
        verdict = f"the image has no size; {size.by}: {verdict}"
    changed = f"{percent(size.changed.value)} of calls change"
    if size.changed_back is not None:
        changed += f", there and back {percent(size.changed_back.value)}"
    judged = size.judged
    if judged is None:
        return CellText(verdict, changed)
    before, after = (number(m["auc"].value, 2) for m in (judged.as_is, judged.same_size))
    aucs = f"AUC {before} to {after}"
    if judged.there_and_back is not None:
        aucs += f", there and back {number(judged.there_and_back['auc'].value, 2)}"
    return CellText(
        verdict, f"{aucs}, of size alone {number(judged.size_alone.value, 2)}; {changed}"
    )


def _model_view(
    model: ModelAudit,
    drawn: tuple[tuple[str, str], ...],
    scale: str,
    pages: Mapping[str, str],
) -> ModelView:
    without = model.grad_cam.without
    return ModelView(
        model=model.model,
        pictures=drawn,
        sentences=audit_text.model_text(model, scale),
        without=f"{counted(without)} of {number(model.cells)} have no attribution for their call"
        if without
        else "",
        regions=tuple(
            (
                audit_text.RANKERS[shares.method],
                region.region,
                _text(region.share, 1, percent=True),
                percent(region.area),
                _text(region.ratio),
            )
            for shares in model.shares
            for region in shares.regions
        ),
        areas=_areas(model),
        against=tuple(
            (
                gain.kind,
                audit_text.name_in_sentence(gain.against),
                _text(gain.difference, 3, sign=True),
                audit_text.RIVAL_VERDICTS[gain.verdict].format(
                    audit_text.name_in_sentence(gain.against)
                ),
            )
            for gain in model.gains
        ),
        sizes=_sizes(model.size),
        places=tuple(_place(place, pages) for place in model.off_cell),
    )


def _text(
    estimate: Estimate, digits: int = 2, *, percent: bool = False, sign: bool = False
) -> CellText:
    return CellText(
        number(estimate.value, digits, percent=percent, sign=sign),
        interval(estimate, digits, percent=percent),
    )


def _areas(model: ModelAudit) -> tuple[tuple[str, CellText, CellText], ...]:
    rows = []
    for method, name in audit_text.RANKERS.items():
        both = [model.curve(kind, method) for kind in KINDS]
        if any(both):
            deletion, insertion = (
                _NONE if curve is None else _text(curve.area, 3) for curve in both
            )
            rows.append((name, deletion, insertion))
    return tuple(rows)


def _sizes(
    size: SizeQuestion | None,
) -> tuple[tuple[str, CellText, CellText, CellText, CellText, CellText], ...]:
    if size is None or size.judged is None:
        return ()
    judged = size.judged
    back, beyond = judged.there_and_back, judged.beyond
    rows = [
        (
            name,
            _text(judged.as_is[key]),
            _NONE if back is None else _text(back[key]),
            _text(judged.same_size[key]),
            _text(judged.difference[key], sign=True),
            _NONE if beyond is None else _text(beyond[key], sign=True),
        )
        for key, name in (("weighted_f1", "weighted F1"), ("auc", "AUC"))
    ]
    moved = _text(size.changed, 1, percent=True)
    moved_back = _NONE
    if size.changed_back is not None:
        moved_back = _text(size.changed_back, 1, percent=True)
    return (*rows, ("calls changed", _NONE, moved_back, moved, _NONE, _NONE))


def _place(place: OffCell, pages: Mapping[str, str]) -> OffCellPlace:
    cells = tuple(
        NamedCell(
            cell=one.cell,
            href=pages.get(one.cell, ""),
            label=one.label or "",
            truth=LABELS.get(one.label or "", "not known"),
            called=LABELS[one.called],
            p_all=number(one.p_all, 2),
            share=percent(one.share, 0),
            area=percent(one.area),
            ratio=number(one.ratio, 1),
        )
        for one in place.worst
    )
    return OffCellPlace(TITLES[place.place], audit_text.off_cell_text(place), place.total, cells)
