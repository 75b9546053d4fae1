"""``blastscope predict``: a model, applied to images of new cells."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

import blastscope as bs
from blastscope.cli.options import AsJson, Device
from blastscope.cli.output import note, say, show
from blastscope.errors import BlastscopeError

PIPE = "-"


def predict(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Image files, folders, zips or globs; - reads names from standard input.",
        ),
    ],
    model: Annotated[
        list[Path] | None,
        typer.Option(
            help="A bundle, a run or an ensemble; given several times, the mean of the runs. "
            "Without it, the model that comes with blastscope.",
            metavar="MODEL",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            help="The table: .parquet, .csv or .json; - prints JSON, a line a cell, as it goes. "
            "Without it the cells are shown.",
            metavar="FILE",
        ),
    ] = None,
    decision: Annotated[
        Path | None,
        typer.Option(
            help="A decision.json, or a folder with one (of a cross-validation), to calibrate, "
            "call and refer by; without it the model's own.",
            metavar="FILE",
        ),
    ] = None,
    subject_from: Annotated[
        str | None,
        typer.Option(
            help="A regular expression that finds the subject in a file's path: its group, or all "
            "that it matches.",
            metavar="PATTERN",
        ),
    ] = None,
    spread: Annotated[
        bool,
        typer.Option("--spread", help="Add how far the eight views of a cell differ; slower."),
    ] = False,
    explain: Annotated[
        Path | None,
        typer.Option(help="A folder for a page with heatmaps for each cell.", metavar="DIR"),
    ] = None,
    engine: Annotated[
        Literal["auto", "onnxruntime", "openvino", "torch"],
        typer.Option(help="What computes; all but torch need a bundle."),
    ] = "auto",
    device: Device = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.")] = False,
    as_json: AsJson = False,
) -> None:
    """Predict for each cell the probability that it is a lymphoblast."""
    if out == PIPE:
        if explain is not None:
            raise BlastscopeError("--explain and --out - do not go together: choose one.")
        found = bs.stream_predictions(
            images,
            model,
            decision=decision,
            engine=engine,
            device=device,
            spread=spread,
            subject_from=subject_from,
        )
        for sentence in found.notes:
            note(sentence)
        for line in found.json_lines():
            print(line, flush=True)
        return
    made = bs.predict(
        images,
        model,
        out=out,
        decision=decision,
        engine=engine,
        device=device,
        spread=spread,
        subject_from=subject_from,
        explain=explain,
        force=force,
        progress=True,
    )
    show(made, as_json)
    if made.explanation is not None:
        (note if as_json else say)(f"{made.explanation.report}")
