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


@weights.command("list")
def list_weights(
    folder: Annotated[
        Path | None, option("A folder of weights to look into.", "DIR", name="--weights-dir")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the weights that the packaged recipes need."""
    show(bs.list_weights(folder), as_json)


@weights.command()
def fetch(
    folder: Folder,
    names: Annotated[
        list[str] | None, argument("timm's names; without any, all that packaged recipes need.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Fetch weights from timm's hub."""
    show(bs.fetch_weights(folder, names, force=force, progress=True), as_json)


@weights.command()
def verify(folder: Folder, as_json: AsJson = False) -> None:
    """Verify each file against its network and its hash."""
    found = bs.verify_weights(folder)
    show(found, as_json)
    if found.wrong:
        note(f"blastscope: {len(found.wrong)} of {len(found.rows)} files in {folder} are wrong.")
        raise typer.Exit(2)
