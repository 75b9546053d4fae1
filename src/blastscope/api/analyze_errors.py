"""Analyse the errors of models: counts, causes, pictures and one page, written to a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from blastscope.data.store import open_store
from blastscope.error_analysis.analysis import ErrorAnalysis, analyse
from blastscope.errors import BlastscopeError
from blastscope.evaluation.aligned_predictions import align_predictions
from blastscope.io.files import replacing, write_json, write_text
from blastscope.io.workfolder import refuse_foreign
from blastscope.report.cell_pages import remove_other_pages
from blastscope.report.errors_plots import draw_errors
from blastscope.report.errors_sections import errors_view
from blastscope.report.html import render


def analyse_errors(
    given: Sequence[str | Path],
    out: Path,
    part: str = "test",
    store: Path | None = None,
    *,
    explain: bool = False,
    device: str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
) -> ErrorAnalysis:
    """Analyse what one or several models get wrong on the same cells.

    Writes ``errors.json``, ``cells.csv`` (a row a cell), ``figures/`` and a self-contained
    ``report.html``; with ``explain``, ``cells/`` with a page for each cell that a gallery shows.
    Files of an earlier analysis there are replaced; nothing else is touched.

    Args:
        given: runs, ensembles or prediction tables, each perhaps as ``NAME=PATH``.
        out: the folder to write to.
        part: ``train``, ``validation`` or ``test``.
        store: the store of these cells, to measure and show them; None to do without.
        explain: look into the networks as well; ``given`` must be runs or an ensemble.
        device: what they compute on, ``auto``, ``cpu``, ``cuda`` or ``mps``.
        on_progress: called with the number of cells explained and their total.

    Raises:
        BlastscopeError: where the predictions, the part or the store cannot be used together, or
            ``out`` holds another kind of report, or cannot be written.
    """
    refuse_foreign(out, "errors.json", ["report.html", "cells.csv"])
    if explain and store is None:
        raise BlastscopeError("--explain wants to see the cells: give their store with --store.")
    scores = align_predictions(given)
    opened = None if store is None else open_store(store)
    analysis = analyse(scores, part, opened)
    pages: dict[int, str] = {}
    if explain and store is not None:
        from blastscope.report.errors_pages import write_error_pages  # captum, which takes time

        pages = write_error_pages(given, analysis, store, out, device, on_progress)
    view = errors_view(analysis, draw_errors(analysis, out / "figures"), opened, pages)
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
    remove_other_pages(out / "cells", [Path(address).stem for address in pages.values()])
    return analysis


def _cautions(analysis: ErrorAnalysis) -> list[tuple[str, str]]:
    """What bounds these figures: (kind of callout, sentence) each."""
    cautions: list[tuple[str, str]] = [(analysis.overlap.kind, analysis.overlap.sentence)]
    if analysis.unlabelled:
        every = analysis.unlabelled + analysis.scores.cells.height
        left = f"{analysis.unlabelled:,} of {every:,} {analysis.part} cells"
        cautions.append(("unlabelled", f"Left out for want of a label: {left}."))
    return cautions
