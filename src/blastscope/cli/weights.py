"""``blastscope weights``: the ImageNet weights that recipes start from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blastscope.cli.options import AsJson, Force
from blastscope.cli.output import note, say

if TYPE_CHECKING:
    from blastscope.models.pretrained import KnownWeights
    from blastscope.models.weights_folder import Fetched, Verified

weights = typer.Typer(
    help="List, fetch and verify the ImageNet weights that recipes start from.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Folder = Annotated[
    Path, typer.Option("--weights-dir", help="The folder of weights.", metavar="DIR")
]


@weights.command("list")
def list_weights(
    folder: Annotated[
        Path | None,
        typer.Option("--weights-dir", help="Say also what this folder has.", metavar="DIR"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the weights that the packaged recipes need, and whether they are on this machine."""
    from blastscope.models.pretrained import needed_weights

    needed = needed_weights()
    if as_json:
        typer.echo(json.dumps([_row(*item, folder) for item in needed.items()], indent=2))
        return
    for known, recipes in needed.items():
        say(f"{known.file}: {len(recipes)} recipes, licence {known.licence}, {known.page}")
        there = [] if folder is None else [f"{_yes(known.is_in(folder))} {folder}"]
        say(f"  {', '.join([*there, f'{_yes(known.in_cache)} the cache of the hub'])}")


def _yes(there: bool) -> str:
    return "in" if there else "not in"


def _row(known: KnownWeights, recipes: list[str], folder: Path | None) -> dict[str, object]:
    return {
        "name": known.name,
        "file": known.file,
        "licence": known.licence,
        "repository": known.repository,
        "recipes": recipes,
        "in_folder": None if folder is None else known.is_in(folder),
        "in_cache": known.in_cache,
    }


@weights.command()
def fetch(
    folder: Folder,
    names: Annotated[
        list[str] | None,
        typer.Argument(help="timm's names; without any, all that packaged recipes need."),
    ] = None,
    force: Force = False,
) -> None:
    """Download weights from timm's hub, check and record their hashes."""
    from blastscope.models.pretrained import known_weights, needed_weights
    from blastscope.models.weights_folder import fetch_weights

    wanted = [known_weights(name) for name in names] if names else list(needed_weights())
    fetch_weights(list(dict.fromkeys(wanted)), folder, force=force, on_fetched=_say_fetched)


def _say_fetched(fetched: Fetched) -> None:
    known = fetched.weights
    there = " (already there)" if fetched.already else ""
    say(f"{known.file}{there}: {fetched.sha256}, licence {known.licence}, from {known.page}")


@weights.command()
def verify(folder: Folder) -> None:
    """Check that each file fits timm's network of its name, and its hash where one is recorded."""
    from blastscope.models.weights_folder import verify_weights

    found = verify_weights(folder, _say_verified)
    wrong = sum(verified.problem is not None for verified in found)
    if wrong:
        note(f"blastscope: {wrong} of {len(found)} files in {folder} are wrong.")
        raise typer.Exit(2)


def _say_verified(verified: Verified) -> None:
    if verified.problem is not None:
        say(f"{verified.name}: wrong: {verified.problem}")
        return
    known = "recorded" if verified.recorded else f"not recorded: its hash is {verified.sha256}"
    say(f"{verified.name}: right; {known}")
