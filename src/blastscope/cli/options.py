"""Options and arguments that several verbs share, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Folders = Annotated[
    list[Path],
    typer.Argument(metavar="DIR...", help="The folder, or folders, with the cell images."),
]
Labels = Annotated[
    Path | None,
    typer.Option(help="A labels table (CSV) for folders not called all or hem.", metavar="CSV"),
]
Force = Annotated[bool, typer.Option("--force", help="Replace what an earlier run made.")]
Seed = Annotated[int, typer.Option(help="The seed; the same seed gives the same result.", min=0)]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
WeightsDir = Annotated[
    Path | None,
    typer.Option(
        help="A folder with ImageNet weights, <timm name>.safetensors; without it they come from "
        "timm's hub.",
        metavar="DIR",
    ),
]
Predictions = Annotated[
    list[str],
    typer.Argument(
        metavar="PRED...",
        help="Runs, ensembles or prediction tables; NAME=PATH names a model anew.",
    ),
]
ReportFolder = Annotated[Path, typer.Option(help="The folder to write to.", metavar="DIR")]
Part = Annotated[str, typer.Option(help="train, validation or test.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a setting of the recipe: training.epochs=3."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
