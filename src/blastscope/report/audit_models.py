"""One model's part of the section of an explanation study, ready for its template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from blastscope.data.crop import FIELD
from blastscope.evaluation.confidence_intervals import Estimate
from blastscope.explanation.audit.attributions import KINDS, RANKED, named
from blastscope.explanation.audit.off_cell import Elsewhere
from blastscope.explanation.audit.size import SizeQuestion
from blastscope.explanation.audit.summary import ModelAudit
from blastscope.explanation.audit.words import bounds_of, counted, figure, listed
from blastscope.report.audit_profiles import MANY_CUT
from blastscope.report.text import LABELS

SEES = {
    "crop": "Its pictures are cut to the cell, so all that is left of a cell's size is how sharp "
    "it is.",
    "keep": "It sees every cell through a field of the same width, and so the size itself.",
}
"""What a network sees of a cell's size, by how its cells were prepared."""
LEAST_CUT = 0.005
"""Shares of cut cells below this would be written as none."""
TITLES = {"background": "Looking at the background", "debris": "Looking at debris"}


@dataclass(frozen=True)
class CellText:
    """A figure, or a verdict, with what stands under it in small print."""

    value: str
    small: str = ""


@dataclass(frozen=True)
class NamedCell:
    """A cell that is named; ``href`` is empty where it has no page."""

    cell: str
    href: str
    label: str
    truth: str
    called: str
    p_all: str
    heat: str
    area: str
    ratio: str


@dataclass(frozen=True)
class OffCellPlace:
    """Where a model looks, other than at the cell; the cells are at most ``most`` of ``total``."""

    title: str
    sentence: str
    total: int
    cells: tuple[NamedCell, ...]


@dataclass(frozen=True)
class ModelView:
    """One model: its figures (description and data URI each), tables and sentences.

    Attributes:
        sentences: what was found.
        without: how many cells have no heat; empty where all have.
        regions: (method, region, share of the heat, of the picture, their ratio) each.
        areas: (method, deletion, insertion) each.
        against: Grad-CAM's differences: (kind, rival, difference, verdict) each.
        sizes: (name, as they are, there and back, at the same size, the last less the first, the
            last less the second) each; empty without labels.
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


def model_view(
    model: ModelAudit,
    drawn: tuple[tuple[str, str], ...],
    scale: str,
    pages: Mapping[str, str],
) -> ModelView:
    """Lay out one model.

    Args:
        model: its figures.
        drawn: its pictures: a description and a data URI each.
        scale: how its cells were prepared: ``crop`` or ``keep``.
        pages: by cell, the address of its page, for those that have one.
    """
    without = model.grad_cam.without
    return ModelView(
        model=model.model,
        pictures=drawn,
        sentences=_sentences(model, scale),
        without=f"{counted(without)} of {model.cells:,} without any evidence for their call"
        if without
        else "",
        regions=tuple(
            (
                RANKED[heat.method],
                region.region,
                _figure(region.heat, 1, percent=True),
                figure(region.area, 1, percent=True),
                _figure(region.ratio),
            )
            for heat in model.heat
            for region in heat.regions
        ),
        areas=_areas(model),
        against=tuple(
            (gain.kind, named(gain.against), _figure(gain.difference, 3, sign=True), gain.verdict)
            for gain in model.gains
        ),
        sizes=_sizes(model.size),
        places=tuple(_place(place, pages) for place in model.elsewhere),
    )


def _figure(
    estimate: Estimate, digits: int = 2, *, percent: bool = False, sign: bool = False
) -> CellText:
    return CellText(
        figure(estimate.value, digits, percent=percent, sign=sign),
        bounds_of(estimate, digits, percent=percent),
    )


def _sentences(model: ModelAudit, scale: str) -> tuple[str, ...]:
    found = (model.decision, model.blurred, model.randomised, model.by_radius, model.size)
    sentences = [part.sentence for part in found if part is not None]
    if model.size is not None:
        sentences.append(SEES[scale] + _cut(model.size))
    return tuple(sentences)


def _cut(size: SizeQuestion) -> str:
    """Say how many of the cells leave the field, scale by scale; nothing where none does."""
    shares = [
        f"{figure(share, 0, percent=True)} at ×{scale:g}"
        for scale, share in zip(size.scales, size.cut, strict=True)
        if share >= LEAST_CUT
    ]
    if not shares:
        return ""
    said = f" But that field, of {FIELD} source pixels, cuts off {listed(shares)} of the cells"
    if max(size.cut) > MANY_CUT:
        said += ": where the points are hollow, a cell is not only larger but cut"
    return f"{said}."


def _areas(model: ModelAudit) -> tuple[tuple[str, CellText, CellText], ...]:
    rows = []
    for method, name in RANKED.items():
        both = [model.curve(kind, method) for kind in KINDS]
        if any(both):
            deletion, insertion = (
                CellText("–") if curve is None else _figure(curve.area, 3) for curve in both
            )
            rows.append((name, deletion, insertion))
    return tuple(rows)


def _sizes(
    size: SizeQuestion | None,
) -> tuple[tuple[str, CellText, CellText, CellText, CellText, CellText], ...]:
    if size is None or size.judged is None:
        return ()
    judged, none = size.judged, CellText("–")
    back, beyond = judged.there_and_back, judged.beyond
    rows = [
        (
            name,
            _figure(judged.as_is[key]),
            none if back is None else _figure(back[key]),
            _figure(judged.same_size[key]),
            _figure(judged.difference[key], sign=True),
            none if beyond is None else _figure(beyond[key], sign=True),
        )
        for key, name in (("weighted_f1", "weighted F1"), ("auc", "AUC"))
    ]
    moved = _figure(size.changed, 1, percent=True)
    moved_back = none
    if size.changed_back is not None:
        moved_back = _figure(size.changed_back, 1, percent=True)
    return (*rows, ("calls changed", none, moved_back, moved, none, none))


def _place(place: Elsewhere, pages: Mapping[str, str]) -> OffCellPlace:
    cells = tuple(
        NamedCell(
            cell=look.cell,
            href=pages.get(look.cell, ""),
            label=look.label or "",
            truth=LABELS.get(look.label or "", "not known"),
            called=LABELS[look.called],
            p_all=figure(look.p_all),
            heat=figure(look.heat, 0, percent=True),
            area=figure(look.area, 1, percent=True),
            ratio=figure(look.ratio, 1),
        )
        for look in place.worst
    )
    return OffCellPlace(TITLES[place.place], place.sentence, place.total, cells)
