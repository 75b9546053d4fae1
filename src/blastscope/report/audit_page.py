"""Lay out an audit of explanations: its summary, its plots, and its section of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from blastscope.evaluation.confidence_intervals import Estimate
from blastscope.explanation.audit.curves import MUST_BEAT
from blastscope.explanation.audit.size import SizeQuestion
from blastscope.explanation.audit.summary import AuditSummary, ModelAudit, summarize
from blastscope.io.files import write_json
from blastscope.report import audit_text
from blastscope.report.audit_plots import AGREEMENT, draw_audit
from blastscope.report.html import svg_uri
from blastscope.report.text import DASH, interval, number, percent

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


@dataclass(frozen=True)
class CellText:
    """A number or a verdict, with the small print below it."""

    value: str
    small: str = ""


_NONE = CellText(DASH)


@dataclass(frozen=True)
class HeadRow:
    """The row of a model in the headline table: the result of each test, by the test's name."""

    model: str
    passed: bool
    results: Mapping[str, CellText]


@dataclass(frozen=True)
class AuditView:
    """The object that ``_audit.html`` reads.

    Attributes:
        summary: the audit.
        part: of the split that was audited.
        rows: the headline table, a row for each model.
        plots: for each model, the description and data URI of each of its plots.
        agreement: the plot of the agreement of the models, a data URI; None for one model.
        scales: by model, how its cells were prepared: ``crop`` or ``keep``.
        pages: by cell, the address of its page, for those that have one.
    """

    summary: AuditSummary
    part: str
    rows: tuple[HeadRow, ...]
    plots: tuple[tuple[tuple[str, str], ...], ...]
    agreement: str | None
    scales: Mapping[str, str]
    pages: Mapping[str, str]
    text = audit_text

    @property
    def cells(self) -> int:
        """Return the number of cells."""
        return self.summary.cells

    @property
    def answers(self) -> list[str]:
        """Say which explanations can be believed, the most important sentence first."""
        return audit_text.answer_sentences(self.summary)

    @property
    def intervals(self) -> str:
        """Say what the intervals were drawn from."""
        return audit_text.intervals_text(self.summary)


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
    uris = {name: svg_uri(path) for name, path in pictures.items()}
    plots = [
        tuple((alt, uris[name]) for kind, alt in ALT.items() if (name := f"{place}-{kind}") in uris)
        for place in range(1, len(models) + 1)
    ]
    rows = tuple(_head_row(model, model.model in summary.passed) for model in summary.models)
    agreement = uris.get(AGREEMENT)
    return AuditView(summary, part, rows, tuple(plots), agreement, scales, pages or {})


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
    results = {
        "attribution on the cell": CellText(percent(cell.share.value, 0), small),
        "deletion": _verdict(model, "deletion"),
        "insertion": _verdict(model, "insertion"),
        "weights randomized": randomized,
        "depends on size": _NONE if model.size is None else _size(model.size),
    }
    return HeadRow(model.model, passed, results)


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


def _text(estimate: Estimate, digits: int = 2, *, sign: bool = False) -> CellText:
    return CellText(number(estimate.value, digits, sign=sign), interval(estimate, digits))
