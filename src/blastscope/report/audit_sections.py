"""What the section of an explanation study shows, ready for its template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from blastscope.explanation.audit.attributions import MUST_BEAT, RANKED
from blastscope.explanation.audit.off_cell import MOST
from blastscope.explanation.audit.size import SizeQuestion
from blastscope.explanation.audit.summary import AuditSummary, ModelAudit
from blastscope.explanation.audit.words import figure, listed, told
from blastscope.report.audit_models import CellText, ModelView, model_view
from blastscope.report.audit_plots import AGREEMENT
from blastscope.report.html import svg_uri

ALT = {
    "heat": "Boxes: share of the heat less share of the picture, by region and class",
    "deletion": "Mean probability of the called class as the picture is blurred away, by method",
    "insertion": "Mean probability of the called class as the picture is brought back, by method",
    "randomisation": "Mean correlation with the trained map as the weights are scrambled",
    "radius": "Mean evidence from the cell's centre to its outline, by class",
    "size": "Mean probability of ALL as cells are rescaled, by class; hollow where many are cut",
}
"""The figures of a model, in the order of the page, each with its description."""


@dataclass(frozen=True)
class HeadRow:
    """A model's row of the headline table."""

    model: str
    heat: CellText
    deletion: CellText
    insertion: CellText
    randomised: CellText
    size: CellText


@dataclass(frozen=True)
class AuditView:
    """The one object that ``_study.html`` reads."""

    cells: int
    part: str
    answer: str
    rows: tuple[HeadRow, ...]
    models: tuple[ModelView, ...]
    agreement: str | None
    intervals: str
    most: int


def audit_view(
    summary: AuditSummary,
    pictures: Mapping[str, Path],
    part: str,
    scales: Mapping[str, str],
    pages: Mapping[str, str],
) -> AuditView:
    """Lay out a study for its template.

    Args:
        summary: the figures.
        pictures: SVG files by name, as ``study_figures.draw_study`` returns them.
        part: of the split that was studied.
        scales: by model, how its cells were prepared: ``crop`` or ``keep``.
        pages: by cell, the address of its page, for those that have one.
    """
    uris = {name: svg_uri(path) for name, path in pictures.items()}
    models = []
    for place, model in enumerate(summary.models, 1):
        drawn = tuple(
            (alt, uris[f"{place}-{kind}"]) for kind, alt in ALT.items() if f"{place}-{kind}" in uris
        )
        models.append(model_view(model, drawn, scales.get(model.model, ""), pages))
    return AuditView(
        cells=summary.cells,
        part=part,
        answer=summary.answer,
        rows=tuple(_head_row(model) for model in summary.models),
        models=tuple(models),
        agreement=uris.get(AGREEMENT),
        intervals=summary.intervals,
        most=MOST,
    )


def _head_row(model: ModelAudit) -> HeadRow:
    cell = model.grad_cam.region("cell")
    heat = f"of {figure(cell.area, 0, percent=True)} of the picture: ×{told(cell.ratio)}"
    if model.grad_cam.less_in_cell:
        heat += ", less than its share"
    randomised = CellText("–")
    if model.randomised is not None:
        left, between = model.randomised.stages[-1], model.randomised.between
        small = f"{figure(left.correlation)}; between cells {figure(between.correlation)}"
        if model.randomised.easy:
            small += ", so easy to pass"
        randomised = CellText(model.randomised.verdict, small)
    return HeadRow(
        model=model.model,
        heat=CellText(figure(cell.heat.value, 0, percent=True), heat),
        deletion=_verdict(model, "deletion"),
        insertion=_verdict(model, "insertion"),
        randomised=randomised,
        size=CellText("–") if model.size is None else _size(model.size),
    )


def _verdict(model: ModelAudit, kind: str) -> CellText:
    """Say what it does not beat, or that it beats both, with the differences."""
    gains = {rival: model.gain(kind, rival) for rival in MUST_BEAT}
    known = [
        f"{RANKED[rival]} {told(gain.difference, 3, sign=True)}"
        for rival, gain in gains.items()
        if gain is not None
    ]
    if not known:
        return CellText("–")
    return CellText(
        listed(model.failed(kind)) if model.failed(kind) else "better than both", "; ".join(known)
    )


def _size(size: SizeQuestion) -> CellText:
    verdict = size.verdict
    if size.by != "size":
        verdict = f"no size left in the picture; {size.by}: {size.verdict}"
    changed = f"{figure(size.changed.value, 1, percent=True)} of calls change"
    if size.changed_back is not None:
        changed += f", there and back {figure(size.changed_back.value, 1, percent=True)}"
    judged = size.judged
    if judged is None:
        return CellText(verdict, changed)
    aucs = f"AUC {figure(judged.as_is['auc'].value)} to {figure(judged.same_size['auc'].value)}"
    if judged.there_and_back is not None:
        aucs += f", there and back {figure(judged.there_and_back['auc'].value)}"
    alone = f"of size alone {figure(judged.size_alone.value)}"
    return CellText(verdict, f"{aucs}, {alone}; {changed}")
