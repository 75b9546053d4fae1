"""Analyse the errors of models: counts, causes, pictures and one page, written to a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blastscope.error_analysis.analysis import ErrorAnalysis, analyse
from blastscope.evaluate.scores import open_scores
from blastscope.files import replacing, write_json, write_text
from blastscope.prepare.store import open_store
from blastscope.report.errors_figures import draw_errors
from blastscope.report.errors_sections import errors_view
from blastscope.report.folder import refuse_others_folder
from blastscope.report.page import render


def analyse_errors(
    given: Sequence[str | Path], out: Path, part: str = "test", store: Path | None = None
) -> ErrorAnalysis:
    """Analyse what one or several models get wrong on the same cells.

    Writes ``errors.json``, ``cells.csv`` (a row a cell), ``figures/`` and a self-contained
    ``report.html``. Files of these names are derived and rewritten; nothing else is touched.

    Args:
        given: runs, ensembles or prediction tables, each perhaps as ``NAME=PATH``.
        out: the folder to write to.
        part: ``train``, ``validation`` or ``test``.
        store: the store of these cells, to measure and show them; None to do without.

    Raises:
        BlastscopeError: where the predictions, the part or the store cannot be used together, or
            ``out`` holds another kind of report, or cannot be written.
    """
    refuse_others_folder(out, "errors.json")
    scores = open_scores(given)
    opened = None if store is None else open_store(store)
    analysis = analyse(scores, part, opened)
    view = errors_view(analysis, draw_errors(analysis, out / "figures"), opened)
    write_json(out / "errors.json", analysis.as_json())
    with replacing(out / "cells.csv") as beside:
        analysis.cells.write_csv(beside)
    models = analysis.scores.models
    who = models[0] if len(models) == 1 else f"{len(models)} models"
    page = render(
        "errors.html",
        title=f"Errors of {who} on {part} cells",
        synthetic=analysis.synthetic,
        protocol=analysis.scores.protocol,
        cautions=_cautions(analysis),
        errors=view,
    )
    write_text(out / "report.html", page)
    return analysis


def _cautions(analysis: ErrorAnalysis) -> list[tuple[str, str]]:
    """What bounds these figures: (kind of callout, sentence) each."""
    cautions: list[tuple[str, str]] = [(analysis.overlap.kind, analysis.overlap.sentence)]
    if analysis.unlabelled:
        every = analysis.unlabelled + analysis.scores.cells.height
        left = f"{analysis.unlabelled:,} of {every:,} {analysis.part} cells"
        cautions.append(("unlabelled", f"Left out for want of a label: {left}."))
    return cautions
