"""Options and arguments that several verbs share, each described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

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
Device = Annotated[
    Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="What the networks compute on.")
]
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
        help="Runs, ensembles or prediction tables; NAME=PATH gives a model another name.",
    ),
]
RunFolders = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL...",
        help="Runs, or one ensemble or bundle; NAME=PATH gives a model another name.",
    ),
]
ReportFolder = Annotated[Path, typer.Option(help="The folder to write to.", metavar="DIR")]
Part = Annotated[
    Literal["train", "validation", "test"], typer.Option(help="The split part to report.")
]
RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A recipe's name, or the path of your own .yaml.")
]
StoreFolder = Annotated[
    Path, typer.Option(help="The store with the prepared cells.", metavar="STORE")
]
SomeStore = Annotated[
    Path | None, typer.Option(help="The store with these cells.", metavar="STORE")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a setting of the recipe: training.epochs=3."
    ),
]
Folds = Annotated[int, typer.Option(help="How many folds.", min=2)]
Repeats = Annotated[
    int, typer.Option(help="How many times to cut and train anew, each with its seed.", min=1)
]
Jobs = Annotated[
    int,
    typer.Option(help="How many to train at a time, each with its share of the cores.", min=1),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        help="A layer whose feature maps are shown, by timm's name or Keras's.", metavar="NAME"
    ),
]
Grid = Annotated[
    int, typer.Option(help="The fewest fields a side of the heatmaps of Grad-CAM.", min=1)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
