"""``blastscope export``: a network as an ONNX file, tried on real cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blastscope.cli.output import note, print_table, say

if TYPE_CHECKING:
    from blastscope.export.engine_check import EngineMeasurement
    from blastscope.export.quantization import PrecisionCost


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A run or a bundle.")],
    out: Annotated[Path, typer.Option(help="The ONNX file.", metavar="FILE")],
    cells: Annotated[
        Path,
        typer.Option(
            help="A store, or a folder of cell images, on which engines must agree.",
            metavar="DIR_OR_STORE",
        ),
    ],
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Write FILE-int8.onnx, too, and measure what int8 costs on labelled cells.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.")] = False,
) -> None:
    """Write the network as one ONNX file, if ONNX Runtime gives what PyTorch gives."""
    from blastscope.export.export import export_run
    from blastscope.parallel import progress_total
    from blastscope.prediction.members import open_network

    with progress_total("Preparing") as advance:
        made = export_run(
            open_network(model), out, cells, force=force, int8=int8, on_progress=advance
        )
    _show_engines(made.engines)
    if made.costs:
        _show_costs(made.costs)
        note(
            f"int8: ranges from {made.calibrated_on:,} cells, the table from "
            f"{made.costs[0].cells:,} others."
        )
    note("The file takes prepared cells; its p_all is not calibrated (docs/export.md).")
    for path in (made.path, made.int8):
        if path is not None:
            say(f"{path}")


def _show_engines(engines: Sequence[EngineMeasurement]) -> None:
    print_table(
        ("engine", "cells", "max |Δp|", "cells/s", "load, s"),
        [
            (
                one.engine,
                one.cells,
                "–" if one.difference is None else f"{one.difference:.1e}",
                round(one.cells_per_second),
                f"{one.load_seconds:.2f}",
            )
            for one in engines
        ],
    )


def _show_costs(costs: Sequence[PrecisionCost]) -> None:
    print_table(
        ("form", "MB", "weighted F1", "AUC", "max |Δp|", "mean |Δp|", "cells/s"),
        [
            (
                one.form,
                f"{one.megabytes:.1f}",
                one.weighted_f1,
                one.auc,
                one.difference,
                one.mean_difference,
                round(one.cells_per_second),
            )
            for one in costs
        ],
    )
