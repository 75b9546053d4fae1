"""The verbs on models that travel: predict, bundle, inspect, adapt and export."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

import blastscope as bs
from blastscope.cli.options import (
    AsJson,
    Device,
    Masks,
    SubjectFrom,
    UmPerPixel,
    argument,
    option,
    refuse_beside,
)
from blastscope.cli.output import note, say, show
from blastscope.errors import BlastscopeError

PIPE = "-"


def predict(
    images: Annotated[
        list[str],
        argument(
            "Image files, folders, zips, WebDataset tars or globs; - reads names from standard "
            "input.",
            "INPUT",
        ),
    ],
    model: Annotated[
        list[Path] | None,
        option(
            "A bundle, a run or an ensemble; given several times, the mean of the runs. "
            "Without it, the model that comes with blastscope.",
            "MODEL",
        ),
    ] = None,
    out: Annotated[
        str | None,
        option(
            "The table: .parquet, .csv or .json; - prints JSON, one line per cell, as it goes. "
            "Without it the cells are shown.",
            "FILE",
        ),
    ] = None,
    decision: Annotated[
        Path | None,
        option(
            "A decision.json, or a folder with one (of a cross-validation), to calibrate, "
            "call and refer by; without it the model's own.",
            "FILE",
        ),
    ] = None,
    subject_from: SubjectFrom = None,
    spread: Annotated[
        bool, option("Add how much the eight views of a cell differ; slower.", name="--spread")
    ] = False,
    transductive: Annotated[
        bool,
        option(
            "Correct each probability by the cell's neighbours in this batch of 50 or more cells.",
            name="--transductive",
        ),
    ] = False,
    report: Annotated[
        Path | None,
        option("A page for a reader: subjects, pictures of the cells by call, limits.", "HTML"),
    ] = None,
    explain: Annotated[
        Path | None, option("A folder for a page with heatmaps for each cell.", "DIR")
    ] = None,
    fields: Annotated[
        bool,
        option(
            "The inputs are whole fields of a smear: find and cut out their white cells first.",
            name="--fields",
        ),
    ] = False,
    um_per_pixel: UmPerPixel = None,
    masks: Masks = None,
    shard_cells: Annotated[
        int | None,
        option(
            "Write the table in Parquet shards of this many cells into the folder --out; memory "
            "stays flat, whatever the number of cells.",
            min=1,
        ),
    ] = None,
    engine: Annotated[
        Literal["auto", "onnxruntime", "openvino", "torch", "ray"],
        option(
            "What computes; onnxruntime and openvino need a bundle. ray: shards of the images are "
            "tasks of a Ray cluster."
        ),
    ] = "auto",
    device: Device = "auto",
    strict: Annotated[
        bool, option("Exit with status 1 if an image cannot be used.", name="--strict")
    ] = False,
    force: Annotated[bool, option("Replace files that are there.", name="--force")] = False,
    as_json: AsJson = False,
) -> None:
    """Predict for each cell the probability that it is a lymphoblast."""
    how = _How(decision, engine, device, spread, subject_from)
    if shard_cells is not None:
        refused = {"--report": report, "--explain": explain, "--fields": fields,
                   "--um-per-pixel": um_per_pixel, "--masks": masks,
                   "--transductive": transductive, "--force": force}  # fmt: skip
        refuse_beside("--shard-cells", refused, "choose one.")
        if out is None or out == PIPE:
            raise BlastscopeError("--shard-cells needs a folder: give --out DIR.")
        shards = bs.predict_shards(
            images, model, out=out, shard_cells=shard_cells, progress=True, **asdict(how)
        )
        show(shards, as_json)
        failed = bool(shards.found.counts.unusable)
    elif out == PIPE:
        refuse_beside("--out -", {"--explain": explain, "--report": report}, "choose one.")
        refused = {"--fields": fields, "--um-per-pixel": um_per_pixel, "--masks": masks,
                   "--force": force, "--engine ray": engine == "ray"}  # fmt: skip
        refuse_beside("--out -", refused, "give --out a file.")
        if transductive:
            raise BlastscopeError(
                "--transductive needs all cells before the first is printed: give --out a file."
            )
        failed = _stream(images, model, how)
    else:
        made = bs.predict(
            images, model, out=out, transductive=transductive, report=report, explain=explain,
            fields=fields, um_per_pixel=um_per_pixel, masks=masks, force=force, progress=True,
            **asdict(how),
        )  # fmt: skip
        show(made, as_json)
        failed = bool(made.failed)
        if report is not None and made.path is not None:
            (note if as_json else say)(f"{made.path}")
        if made.explanation is not None:
            (note if as_json else say)(f"{made.explanation.report}")
    if strict and failed:
        raise typer.Exit(1)


@dataclass(frozen=True)
class _How:
    """The options that tables, shards and streams of predictions have in common."""

    decision: Path | None
    engine: str
    device: str
    spread: bool
    subject_from: str | None


def _stream(images: list[str], model: list[Path] | None, how: _How) -> bool:
    """Print a line of JSON for each cell; return whether an image could not be used."""
    found = bs.stream_predictions(images, model, **asdict(how))
    for sentence in found.notes:
        note(sentence)
    failed = False
    for line in found.json_lines():
        failed |= json.loads(line).get("problem") is not None
        print(line, flush=True)
    return failed


def bundle(
    model: Annotated[Path, argument("The folder of a run, or of an ensemble.", "RUN|ENSEMBLE")],
    out: Annotated[Path, option("The zip to write, or a folder if it has no .zip.", "FILE")],
    decision: Annotated[
        Path | None,
        option(
            "A decision.json, or a folder with one (of a cross-validation of the recipe); "
            "without it the model's own.",
            "FILE",
        ),
    ] = None,
    evaluation: Annotated[
        list[Path] | None,
        option("A further evaluation whose metrics the card shows; once for each.", "DIR"),
    ] = None,
    stress: Annotated[
        Path | None,
        option(
            "A folder of stress, of the run or of a cross-validation of the recipe, whose curve of "
            "counterfactual size the card shows.",
            "DIR",
        ),
    ] = None,
    half: Annotated[
        bool, option("Weights in half precision, in half the space.", name="--half")
    ] = False,
    note: Annotated[str, option("Your own words for the card: which cells, whom to cite.")] = "",
    licence: Annotated[
        str | None,
        option("The licence of the bundle, as SPDX names it (Apache-2.0).", "NAME"),
    ] = None,
    force: Annotated[bool, option("Replace a bundle that is there.", name="--force")] = False,
    as_json: AsJson = False,
) -> None:
    """Bundle a model: weights, decision and card, without code."""
    made = bs.make_bundle(
        model,
        out,
        decision=decision,
        evaluations=evaluation or (),
        stress=stress,
        half=half,
        note=note,
        licence=licence,
        force=force,
    )
    show(made, as_json)


def inspect(
    bundle: Annotated[
        Path | None,
        argument(
            "A bundle's folder or zip; without it the model that comes with blastscope.", "BUNDLE"
        ),
    ] = None,
    card: Annotated[bool, option("Print its model card instead.", name="--card")] = False,
    as_json: AsJson = False,
) -> None:
    """Inspect a bundle: networks, metrics, card; is it whole?"""
    refuse_beside("--card", {"--json": as_json and card}, "choose one.")
    found = bs.inspect_bundle(bundle)
    if card:
        say(found.card)
    else:
        show(found, as_json)


def adapt(
    labelled: Annotated[
        Path,
        option(
            "20 to 200 labelled cells of your own: a folder or zip as check reads it, or a store.",
            "DIR",
        ),
    ],
    out: Annotated[Path, option("The zip to write, or a folder if it has no .zip.", "BUNDLE")],
    model: Annotated[
        Path | None,
        argument(
            "A bundle's folder or zip; without it the model that comes with blastscope.", "MODEL"
        ),
    ] = None,
    subject_from: SubjectFrom = None,
    force: Annotated[bool, option("Replace a bundle that is there.", name="--force")] = False,
    as_json: AsJson = False,
) -> None:
    """Adapt a bundle to your own labelled cells.

    Calibration, threshold and, if there are enough cells and subjects, the last layer are fitted.
    Calibration and last layer are kept only if cells left out are predicted better with them.
    """
    made = bs.adapt(
        model,
        labelled=labelled,
        out=out,
        subject_from=subject_from,
        force=force,
        progress=True,
    )
    show(made, as_json)


def export(
    model: Annotated[Path, argument("A run or a bundle.", "MODEL")],
    out: Annotated[Path, option("The ONNX file.", "FILE")],
    cells: Annotated[
        Path,
        option("A store, or a folder of cell images, on which engines must agree.", "DIR_OR_STORE"),
    ],
    int8: Annotated[
        bool,
        option(
            "Write FILE-int8.onnx, too, and measure what int8 costs on labelled cells.",
            name="--int8",
        ),
    ] = False,
    force: Annotated[bool, option("Replace FILE.", name="--force")] = False,
    as_json: AsJson = False,
) -> None:
    """Export a network as ONNX; engines must agree on real cells."""
    made = bs.export_onnx(model, out=out, cells=cells, int8=int8, force=force, progress=True)
    show(made, as_json)
