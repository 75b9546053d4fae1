"""``blastscope weights``: the ImageNet weights that recipes start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import blastscope as bs
from blastscope.cli.options import AsJson, Force, argument, option
from blastscope.cli.output import note, show

weights = typer.Typer(
    help="List, fetch and verify ImageNet weights.", no_args_is_help=True, rich_markup_mode=None
)
Folder = Annotated[Path, option("The folder of weights.", "DIR", name="--weights-dir")]
Only = Annotated[
    str | None,
    option(
        "Only the weights that these recipes need: 'paper/*' for the paper's (about 0.7 GB), "
        "'related/*', 'beyond/*'.",
        "GLOB",
    ),
]


@weights.command("list")
def list_weights(
    folder: Annotated[
        Path | None, option("A folder of weights to look into.", "DIR", name="--weights-dir")
    ] = None,
    only: Only = None,
    as_json: AsJson = False,
) -> None:
    """List the weights that the packaged recipes need."""
    show(bs.list_weights(folder, only=only), as_json)


@weights.command()
def fetch(
    folder: Folder,
    names: Annotated[
        list[str] | None,
        argument(
            "The names of weights, as timm writes them. Without any, all that the packaged "
            "recipes need: about 1.7 GB."
        ),
    ] = None,
    only: Only = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Fetch weights from timm's hub.

    Before the first download it says how many files there are, how large, and for which recipes.
    """
    fetched = bs.fetch_weights(folder, names, only=only, force=force, progress=True)
    show(fetched, as_json)


@weights.command()
def verify(folder: Folder, as_json: AsJson = False) -> None:
    """Verify each file against its network and its hash."""
    found = bs.verify_weights(folder, progress=True)
    show(found, as_json)
    if found.wrong:
        note(f"blastscope: {len(found.wrong)} of {len(found.rows)} files in {folder} are wrong.")
        raise typer.Exit(2)
