"""The verbs on models that travel: predict, bundle, inspect and export."""

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


def bundle(
    model: Annotated[
        Path,
        typer.Argument(metavar="RUN|ENSEMBLE", help="The folder of a run, or of an ensemble."),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", help="The zip to write, or a folder where it has no .zip."),
    ],
    decision: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A decision.json, or a folder with one (of a cross-validation of the recipe); "
            "without it the model's own.",
        ),
    ] = None,
    evaluation: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="A further evaluation whose metrics the card shall show; once for each.",
        ),
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Weights in half precision, in half the space.")
    ] = False,
    note: Annotated[
        str, typer.Option(help="Your own words for the card: which cells, whom to cite.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bundle a model: weights, decision and card, without code."""
    made = bs.make_bundle(
        model,
        out,
        decision=decision,
        evaluations=evaluation or (),
        half=half,
        note=note,
        force=force,
    )
    show(made, as_json)


def inspect(
    bundle: Annotated[
        Path | None,
        typer.Argument(
            metavar="[BUNDLE]",
            help="A bundle's folder or zip; without it the model that comes with blastscope.",
        ),
    ] = None,
    card: Annotated[bool, typer.Option("--card", help="Print its model card instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Inspect a bundle: networks, metrics, card; is it whole?"""
    found = bs.inspect_bundle(bundle)
    if card and not as_json:
        say(found.card)
    else:
        show(found, as_json)


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
    as_json: AsJson = False,
) -> None:
    """Export a network as ONNX; engines must agree on real cells."""
    made = bs.export_onnx(model, out=out, cells=cells, int8=int8, force=force, progress=True)
    show(made, as_json)
