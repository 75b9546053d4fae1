"""``blastscope explain``: where a network's evidence lies in a cell, and what its layers see."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blastscope.cli.options import Device, ReportFolder
from blastscope.cli.output import note, print_table, say
from blastscope.errors import BlastscopeError

if TYPE_CHECKING:
    from blastscope.api.explain import Explanation
    from blastscope.report.audit_sections import AuditView


def explain(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Runs, or one ensemble or bundle; NAME=PATH names a model anew.",
        ),
    ],
    out: ReportFolder,
    cells: Annotated[
        list[str] | None,
        typer.Option(
            help="A cell's name in --data, or an image file; once for each cell.",
            metavar="NAME|FILE",
        ),
    ] = None,
    study: Annotated[
        bool,
        typer.Option(
            "--study", help="Measure on a whole part of --data whether the maps are to be believed."
        ),
    ] = False,
    part: Annotated[
        str | None,
        typer.Option(help="Of --study: train, validation or test.", show_default="test"),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="A folder of cell images, or a store.", metavar="DIR"),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help="How evidence in --cells is found; without occlusion it is quick, and lacks the "
            "curves that say what a map is worth.",
            metavar="LIST",
            show_default="grad-cam,grad-cam++,occlusion",
        ),
    ] = None,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            help="A layer whose feature maps are shown, by timm's name or Keras's.", metavar="NAME"
        ),
    ] = None,
    grid: Annotated[
        int,
        typer.Option(help="The fewest fields a side of the map that Grad-CAM reads.", min=1),
    ] = 5,
    device: Device = "auto",
) -> None:
    """Show where the evidence in a cell lies, for ALL and for normal, and the feature maps."""
    if study == bool(cells):
        raise BlastscopeError("Give either --cells, or --study for a whole part of --data.")
    if study and methods is not None:
        raise BlastscopeError("--study measures every method: leave --methods out.")
    if cells:
        _refuse_for_cells(runs, part)

    from blastscope.api.audit_explanations import audit_to_folder
    from blastscope.api.explain import explain_to_folder
    from blastscope.explanation.attribution import METHODS
    from blastscope.parallel import progress_total

    with progress_total("Explaining") as advance:
        if study:
            report = audit_to_folder(
                runs, out, part or "test", data=data or (), layers=layers or None, grid=grid,
                device=device, on_progress=advance,
            )  # fmt: skip
            made = report.explanation
        else:
            asked = METHODS if methods is None else methods.split(",")
            wanted = [method.strip() for method in asked if method.strip()]
            made = explain_to_folder(
                runs, cells or (), out, data=data or (), methods=wanted, layers=layers or None,
                grid=grid, device=device, on_progress=advance,
            )  # fmt: skip
    if study:
        _show_study(report.study)
    else:
        _show_cells(made)
    for sentence in made.notes:
        note(sentence)
    say(f"{made.path}")


def _refuse_for_cells(runs: Sequence[str], part: str | None) -> None:
    """Refuse what goes with ``--study`` only, and cells that were taken for runs."""
    from blastscope.bundle.contents import is_bundle
    from blastscope.evaluation.aligned_predictions import part_name

    if part is not None:
        raise BlastscopeError("--cells names its cells itself: leave --part, of --study, out.")
    for run in runs:
        path = part_name(run)[1]
        if not path.is_dir() and not is_bundle(path):  # of "--cells a b" only a is an option's
            raise BlastscopeError(
                f"{run} is no run and no bundle: if it is a cell, write --cells before it, as "
                "before every cell; if not, give a run."
            )


def _show_cells(made: Explanation) -> None:
    from blastscope.report.text import LABELS

    judged = {None: "–", True: "right", False: "wrong"}
    print_table(
        ("cell", "model", "p(ALL)", "called", ""),
        [
            (cell.file.cell, model, p_all, LABELS[called], judged[right])
            for cell in made.cells
            for model, p_all, called, right in cell.calls
        ],
    )


def _show_study(study: AuditView) -> None:
    heads = ("heat in the cell", "deletion", "insertion", "weights scrambled", "goes with size")
    for row in study.rows:
        told = (row.heat, row.deletion, row.insertion, row.randomised, row.size)
        say(f"{row.model}, {study.cells:,} {study.part} cells")
        print_table(
            ("measure", "outcome", "in figures"),
            [(head, one.value, one.small) for head, one in zip(heads, told, strict=True)],
        )
    say(study.answer)
    note(f"Intervals: {study.intervals}")
