"""Options and arguments that several verbs share, each described once; and which exclude others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from blastscope.errors import BlastscopeError


def option(told: str, metavar: str | None = None, *, name: str = "", min: int | None = None) -> Any:
    """Declare an option: its help, the placeholder of its value, perhaps another name."""
    return typer.Option(*([name] if name else []), help=told, metavar=metavar, min=min)


def argument(told: str, metavar: str | None = None) -> Any:
    """Declare an argument: its help and its placeholder."""
    return typer.Argument(help=told, metavar=metavar)


def refuse_beside(option: str, others: Mapping[str, object], remedy: str) -> None:
    """Refuse other options, by their names, that are given beside an option.

    Raises:
        BlastscopeError: naming the first that is.
    """
    for name, value in others.items():
        if value is not None and value is not False:
            raise BlastscopeError(f"{name} and {option} do not go together: {remedy}")


Folders = Annotated[list[Path], argument("The folder, or folders, with the cell images.", "DIR")]
Labels = Annotated[
    Path | None, option("A table (CSV) of file names with labels, subjects or both.", "CSV")
]
Believe = Annotated[
    Literal["name", "folder", "table"] | None,
    option("What to trust if a file's name, its folder and a table contradict each other."),
]
Force = Annotated[bool, option("Replace what an earlier run made.", name="--force")]
SkipBad = Annotated[bool, option("Leave out files that cannot be used.", name="--skip-bad")]
Seed = Annotated[int, option("The seed; the same seed gives the same result.", min=0)]
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], option("What the networks compute on.")]
WeightsDir = Annotated[
    Path | None,
    option(
        "A folder with ImageNet weights, <timm name>.safetensors; without it they come from "
        "timm's hub.",
        "DIR",
    ),
]
Predictions = Annotated[
    list[str],
    argument("Runs, ensembles or prediction tables; NAME=PATH gives a model another name.", "PRED"),
]
RunFolders = Annotated[
    list[str],
    argument("Runs, or one ensemble or bundle; NAME=PATH gives a model another name.", "MODEL"),
]
ReportFolder = Annotated[Path, option("The folder to write to.", "DIR")]
Part = Annotated[Literal["train", "validation", "test"], option("The split part to report.")]
RecipeName = Annotated[str, argument("A recipe's name, or the path of your own .yaml.", "RECIPE")]
StoreFolder = Annotated[Path, option("The store with the prepared cells.", "STORE")]
SomeStore = Annotated[Path | None, option("The store with these cells.", "STORE")]
Settings = Annotated[
    list[str] | None,
    option("Change a setting of the recipe: training.epochs=3.", "KEY=VALUE", name="--set"),
]
Folds = Annotated[int, option("How many folds.", min=2)]
Repeats = Annotated[
    int, option("How many times to cut folds and train, each with its own seed.", min=1)
]
Jobs = Annotated[
    int, option("How many to train at a time, each with its share of the cores.", min=1)
]
Engine = Annotated[
    Literal["local", "ray"],
    option(
        "local: this machine; ray: tasks of the Ray cluster of RAY_ADDRESS, or of a local one, "
        "which all see the same folders."
    ),
]
Layers = Annotated[
    list[str] | None,
    option("A layer whose feature maps are shown, by timm's name or Keras's.", "NAME"),
]
Grid = Annotated[
    int, option("The fewest positions a side of the feature map that Grad-CAM reads.", min=1)
]
StainReference = Annotated[
    Path | None,
    option(
        "The image to normalize to, or a folder: then its most typical image is taken. Without "
        "it, a typical cell of C-NMC 2019.",
        "IMAGE",
        name="--reference",
    ),
]
UmPerPixel = Annotated[
    float | None,
    option(
        "Micrometres per pixel of the fields: 7.5 divided by a red cell's diameter in pixels. "
        "Without it, the red cells are measured.",
        "UM",
    ),
]
Masks = Annotated[
    Path | None,
    option(
        "A folder with one label image (PNG, TIFF) or GeoJSON file for each field, as Cellpose, "
        "StarDist, InstanSeg or QuPath write them. Cells are then not searched for.",
        "DIR",
    ),
]
SubjectFrom = Annotated[
    str | None,
    option(
        "A regular expression that finds the subject in a file's path: its group, or all that it "
        "matches.",
        "PATTERN",
    ),
]
Track = Annotated[
    str | None,
    option(
        "Record what was written in MLflow: mlflow, for an SQLite file in DIR, or mlflow:URI.",
        "SERVER",
    ),
]
Resamples = Annotated[int, option("How many times subjects and cells are drawn for the intervals.")]
AsJson = Annotated[bool, option("Print JSON instead of text.", name="--json")]
