"""Analyze the errors of models: counts, causes, galleries and a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.api.result import PAGE, AnyPath, Progress, Result, TextTable, as_path, showing
from blastscope.api.tables import Models, as_measured_cells, as_models
from blastscope.data.store import Store
from blastscope.error_analysis.analysis import ErrorAnalysis, analyse
from blastscope.errors import BlastscopeError, require_training
from blastscope.evaluation.aligned_predictions import align_predictions
from blastscope.evaluation.comparison import compare
from blastscope.evaluation.sources import InMemoryTable
from blastscope.io.files import write_json, write_text
from blastscope.io.tables import write_csv
from blastscope.io.workfolder import refuse_foreign
from blastscope.report.comparison_with_size import size_columns, size_rows
from blastscope.report.errors_page import (
    causes_text,
    errors_html,
    guess_text,
    missed_text,
    sized_text,
)
from blastscope.report.errors_plots import draw_errors
from blastscope.report.evaluation_text import overlap_text
from blastscope.report.explanation_page import remove_other_pages
from blastscope.report.text import LABELS, readings_text

CONTENT, TABLE = "errors.json", "cells.csv"


@dataclass(frozen=True, eq=False, repr=False)
class ErrorsResult(Result, ErrorAnalysis):
    """The errors of models on the same cells.

    Attributes:
        store: the prepared cells, to show them; None without.
        cell_pages: writes the page of each cell shown below a folder, and returns their addresses
            by the cell's row; None for no such pages.
    """

    store: Store | None = field(default=None, kw_only=True)
    cell_pages: Callable[[ErrorAnalysis, Path], dict[int, str]] | None = field(
        default=None, kw_only=True
    )

    def to_frame(self) -> pl.DataFrame:
        """Return a row a cell: how many models miss it, their probabilities, its traits."""
        return self.cells

    def as_json(self) -> dict[str, Any]:
        """The content of ``errors.json``."""
        return ErrorAnalysis.as_json(self)

    def tables(self) -> list[TextTable]:
        """Return what stands beside size, who misses how many cells, and each model's errors."""
        missed, total = self.counts.missed_by, self.counts.total
        together = [
            (k, missed["all"][k], missed["hem"][k], total[k]) for k in range(len(total) - 1, -1, -1)
        ]
        rows = [
            (row.model, LABELS[row.label], row.cells, row.errors, row.only_right, row.only_wrong)
            for row in self.counts.models
        ]
        columns = ("model", "class", "cells", "errors", "only right", "only wrong")
        found = [
            TextTable.of(("missed by", "ALL", "normal", "cells"), together),
            TextTable.of(columns, rows),
        ]
        if self.sized is None:
            return found
        return [TextTable.of(("model", *size_columns(self.sized)), size_rows(self.sized)), *found]

    def answers(self) -> list[str]:
        """Say what the models know beside size, and what the missed cells have in common."""
        return [
            missed_text(self.causes),
            *sized_text(self.sized),
            *causes_text(self.causes),
            guess_text(self.guess, self.causes),
        ]

    def notes(self) -> list[str]:
        """Say whether the subjects were in training."""
        return [overlap_text(self.overlap), *readings_text(self.scores.readings)]

    def _write(self, out: Path) -> None:
        refuse_foreign(out, CONTENT, ["report.html", TABLE])
        pages = {} if self.cell_pages is None else self.cell_pages(self, out)
        page = errors_html(self, draw_errors(self, out / "figures"), self.store, pages)
        write_json(out / CONTENT, self.as_json())
        write_csv(self.cells, out / TABLE)
        write_text(out / PAGE, page)
        remove_other_pages(out / "cells", [Path(address).stem for address in pages.values()])


def analyze_errors(
    models: Models,
    part: str = "test",
    *,
    out: AnyPath | None = None,
    store: AnyPath | None = None,
    explain: bool = False,
    device: str = "auto",
    progress: Progress = False,
) -> ErrorsResult:
    """Analyze what one or several models get wrong on the same cells.

    With ``out`` it writes ``errors.json``, ``cells.csv`` (a row a cell), ``figures/`` and a
    self-contained ``report.html``; with ``explain`` also ``cells/`` with a page for each cell that
    a gallery shows. Files of an earlier analysis there are replaced; nothing else is touched.

    Args:
        models: runs, ensembles or prediction tables, as :func:`blastscope.compare` takes them.
        part: ``train``, ``validation`` or ``test``.
        out: the folder to write to; nothing is written without it.
        store: the store of these cells, to measure and show them, for AUC at equal size and for
            each model's lead over the baselines of size, and of size and colour; None to do
            without. A cell table or a table of boxes has the sizes alone.
        explain: write a page with heatmaps for each cell shown; ``models`` must then be runs or an
            ensemble.
        device: what the networks compute on, ``auto``, ``cpu``, ``cuda`` or ``mps``.
        progress: show a progress bar; or a function to call with how much is done and of how much.

    Returns:
        The counts, pairs, causes and cells.

    Raises:
        BlastscopeError: if the predictions, the part or the store cannot be used together, or
            ``out`` holds another kind of report, or cannot be written.
    """
    sources, path = as_models(models), as_path(store)
    pages = None
    if explain:
        if path is None or path.is_file():
            raise BlastscopeError("`explain` needs images of the cells: give their store.")
        require_training("`explain`")
        folders = [one for one in sources if not isinstance(one, InMemoryTable)]
        if len(folders) < len(sources):
            raise BlastscopeError("`explain` needs networks: give runs or an ensemble, not tables.")
        pages = partial(_cell_pages, folders, path, device, progress)
    if out is not None:  # before the work
        refuse_foreign(Path(out), CONTENT, ["report.html", TABLE])
    opened, measured = as_measured_cells(path)
    scores = align_predictions(sources)
    sized = None if measured is None else compare(scores, part, pairs=[], measured=measured)
    found = analyse(scores, part, opened, sized)
    return ErrorsResult.of(found, store=opened, cell_pages=pages).saved(out)


def _cell_pages(
    models: Sequence[str | Path], store: Path, device: str, progress: Progress,
    analysis: ErrorAnalysis, out: Path,
) -> dict[int, str]:  # fmt: skip
    from blastscope.api.explain_errors import write_error_pages  # captum takes its time

    with showing("Explaining", progress) as advance:
        return write_error_pages(models, analysis, store, out, device, advance)
