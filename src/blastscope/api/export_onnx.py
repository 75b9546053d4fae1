"""Export a network as an ONNX file, tried on real cells."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.api.result import AnyPath, FolderResult, Progress, TextTable, showing
from blastscope.export.export import Exported, export_run
from blastscope.prediction.members import open_network


@dataclass(frozen=True, eq=False, repr=False)
class ExportResult(FolderResult):
    """An ONNX file, and how engines agree on it.

    Attributes:
        made: the files, and what each engine made of the cells.
    """

    made: Exported

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each engine."""
        return pl.DataFrame([asdict(one) for one in self.made.engines])

    def as_json(self) -> dict[str, Any]:
        """Return the files and measurements."""
        content = asdict(self.made)
        content["path"] = str(self.made.path)
        content["int8"] = None if self.made.int8 is None else str(self.made.int8)
        return content

    def tables(self) -> list[TextTable]:
        """Return the engines, and what int8 costs."""
        engines = TextTable.of(
            ("engine", "cells", "max |Δp|", "cells/s", "load, s"),
            [
                (e.engine, e.cells, None if e.difference is None else f"{e.difference:.1e}",
                 round(e.cells_per_second), f"{e.load_seconds:.2f}")
                for e in self.made.engines
            ],
        )  # fmt: skip
        costs = TextTable.of(
            ("form", "MB", "weighted F1", "AUC", "max |Δp|", "mean |Δp|", "cells/s"),
            [
                (c.form, f"{c.megabytes:.1f}", c.weighted_f1, c.auc, c.difference,
                 c.mean_difference, round(c.cells_per_second))
                for c in self.made.costs
            ],
        )  # fmt: skip
        return [engines, costs] if costs.rows else [engines]

    def answers(self) -> list[str]:
        """Name the file in int8, if one was written."""
        return [] if self.made.int8 is None else [str(self.made.int8)]

    def notes(self) -> list[str]:
        """Say what the file takes, and which cells int8 was measured on."""
        said = ["The file takes prepared cells; its p_all is not calibrated (docs/export.md)."]
        if self.made.costs:
            ranges, others = self.made.calibrated_on, self.made.costs[0].cells
            said.insert(0, f"int8: ranges from {ranges:,} cells, the table from {others:,} others.")
            if not self.made.training_known:
                said.insert(
                    1,
                    "A bundle does not say which cells it was trained on: some of these may be "
                    "among them.",
                )
        return said


def export_onnx(
    model: AnyPath,
    *,
    out: AnyPath,
    cells: AnyPath,
    int8: bool = False,
    force: bool = False,
    progress: Progress = False,
) -> ExportResult:
    """Export a network as one ONNX file, if ONNX Runtime gives what PyTorch gives.

    Args:
        model: a run or a bundle.
        out: the ONNX file.
        cells: a store, or a folder of cell images, on which engines must agree.
        int8: write ``<name>-int8.onnx``, too, and measure what int8 costs on labelled cells.
        force: replace files that are there.
        progress: show a progress bar; or a function to call with how much is done and of how much.

    Returns:
        The file, and what each engine made of the cells.

    Raises:
        BlastscopeError: if the file is there already, the cells cannot be used (with ``int8``, not
            those that a bundle was made from), or engines do not agree; nothing is written then.
    """
    with showing("Preparing", progress) as advance:
        made = export_run(
            open_network(Path(model)), Path(out), Path(cells), force=force, int8=int8,
            on_progress=advance,
        )  # fmt: skip
    return ExportResult(made, path=made.path)
