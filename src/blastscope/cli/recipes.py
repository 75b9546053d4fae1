"""``blastscope recipes``: the experiments that come with the package."""

from __future__ import annotations

from typing import Annotated

import typer

from blastscope.cli.output import print_table, say


def recipes(
    name: Annotated[
        str | None, typer.Argument(help="Print this recipe, resolved, instead of the list.")
    ] = None,
) -> None:
    """List the recipes, or print one."""
    from blastscope.recipes.library import list_recipes, load_recipe, recipe_yaml

    if name is None:
        print_table(("recipe", "what it is"), [(r.name, r.title) for r in list_recipes()])
    else:
        say(recipe_yaml(load_recipe(name)).rstrip())
