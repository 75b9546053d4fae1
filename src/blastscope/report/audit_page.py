"""Write what an explanation study comes to: its figures, its pictures, and a section of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from blastscope.explanation.audit.summary import summarise
from blastscope.io.files import write_json
from blastscope.report.audit_plots import draw_audit
from blastscope.report.audit_sections import AuditView, audit_view

if TYPE_CHECKING:
    from blastscope.explanation.audit.audit import Audit
    from blastscope.explanation.models import ExplainedModel

FORMAT = "blastscope-explanation-study/1"
SUMMARY = "study-summary.json"


def report_audit(
    explained_name: str,
    models: Sequence[ExplainedModel],
    study: Audit,
    out: Path,
    *,
    part: str,
    synthetic: bool,
    pages: Mapping[str, str] | None = None,
) -> AuditView:
    """Sum up a study and write ``study-summary.json`` and ``figures/study-*`` (SVG and PNG).

    Args:
        explained_name: what was explained: the ensemble's name, or the model's.
        models: the models, in the study's order.
        study: its two tables.
        out: the folder to write to.
        part: of the split that was studied.
        synthetic: whether the cells, or those of any model's training, were drawn by a program.
        pages: by cell, the address of its page as seen from the page that shows the section.

    Returns:
        What ``_study.html`` shows, given to it as ``study``.

    Raises:
        BlastscopeError: where the tables do not hold the same cells for every model, or the folder
            cannot be written.
        ValueError: where the tables are of other models.
    """
    names = [model.name for model in models]
    if set(names) != set(study.cells["model"]):
        raise ValueError(f"a study of {sorted(set(study.cells['model']))}, not of {sorted(names)}")
    cells = pl.concat([study.cells.filter(pl.col("model") == name) for name in names])
    scales = {model.name: model.settings.scale for model in models}
    summary = summarise(cells, study.randomisation, scales)
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
