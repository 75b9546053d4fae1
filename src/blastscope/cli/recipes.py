"""``blastscope recipes``: the experiments that come with the package."""

from __future__ import annotations

from typing import Annotated

import typer

import blastscope as bs
from blastscope.cli.options import AsJson, Settings
from blastscope.cli.output import say, show, show_json


def recipes(
    name: Annotated[
        str | None, typer.Argument(help="Print this recipe, resolved, instead of the list.")
    ] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """List the packaged recipes, or print one."""
    if name is None:
        show(bs.list_recipes(), as_json)
        return
    recipe = bs.load_recipe(name, settings or ())
    if as_json:
        show_json(recipe.model_dump(mode="json", by_alias=True, exclude_none=True))
    else:
        from blastscope.api.recipes import recipe_yaml

        say(recipe_yaml(recipe).rstrip())
