"""List and load recipes, and the ImageNet weights that they start from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from blastscope.api.result import AnyPath, Progress, Result, TextTable, as_path, notice
from blastscope.errors import BlastscopeError
from blastscope.recipes.library import changed_recipe, recipe_names
from blastscope.recipes.library import load_recipe as load_by_name
from blastscope.recipes.library import recipe_yaml as as_yaml
from blastscope.recipes.schema import AVERAGED, Recipe
from blastscope.report.text import megabytes

if TYPE_CHECKING:
    from blastscope.models.pretrained import KnownWeights
    from blastscope.models.weights_folder import Announced, Fetched, Verified

__all__ = [
    "AnyRecipe", "Recipe", "Settings", "fetch_weights", "list_recipes", "list_weights",
    "load_recipe", "recipe_yaml", "verify_weights",
]  # fmt: skip

AnyRecipe = str | AnyPath | Recipe
"""A packaged recipe's name, the path of a ``.yaml``, or a recipe."""
Settings = Mapping[str, Any] | Sequence[str]
"""Settings to change: ``{"training.epochs": 3}`` or ``["training.epochs=3"]``."""


@dataclass(frozen=True, eq=False, repr=False)
class RecipesResult(Result):
    """The packaged recipes."""

    recipes: tuple[Recipe, ...]

    def to_frame(self) -> pl.DataFrame:
        """Return names and titles."""
        return pl.DataFrame(self.as_json())

    def as_json(self) -> list[dict[str, str]]:
        """Return names and titles."""
        return [{"name": one.name, "title": one.title} for one in self.recipes]

    def tables(self) -> list[TextTable]:
        """Return names and titles."""
        return [TextTable.of(("recipe", "title"), [(r.name, r.title) for r in self.recipes])]


def list_recipes() -> RecipesResult:
    """List the packaged recipes, the paper's first.

    Returns:
        Their names and titles.
    """
    return RecipesResult(tuple(map(load_by_name, recipe_names())))


def load_recipe(recipe: AnyRecipe, settings: Settings = ()) -> Recipe:
    """Load a packaged recipe by its name, or your own by its path, and change settings of it.

    Args:
        recipe: such as ``paper/cnn-exp2`` or ``mine.yaml``; or a recipe.
        settings: ``{"training.epochs": 3}``, or texts such as ``training.epochs=3``.

    Returns:
        The recipe, checked.

    Raises:
        BlastscopeError: if a name, a key or a value is not known or not allowed.

    Example:
        >>> import blastscope as bs
        >>> bs.load_recipe("demo/cnn-small", {"training.epochs": 3}).training.epochs
        3
    """
    changes = setting_texts(settings)
    if isinstance(recipe, Recipe):
        return changed_recipe(recipe, changes) if changes else recipe
    return load_by_name(str(recipe), changes)


def recipe_yaml(recipe: AnyRecipe, settings: Settings = ()) -> str:
    """Write a recipe as YAML, with all that it extends; as a file, it is a recipe of your own.

    Args:
        recipe, settings: as :func:`load_recipe` takes them.

    Returns:
        The YAML; loading it again gives an equal recipe.

    Raises:
        BlastscopeError: as :func:`load_recipe` raises it.

    Example:
        >>> import blastscope as bs
        >>> print(bs.recipe_yaml("demo/cnn-small").splitlines()[0])
        name: demo/cnn-small
    """
    return as_yaml(load_recipe(recipe, settings))


def setting_texts(settings: Settings) -> list[str]:
    """Return settings as the command line writes them: ``training.epochs=3``."""
    if isinstance(settings, Mapping):
        return [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    return list(settings)


def with_starts(recipe: AnyRecipe, settings: Settings = ()) -> tuple[Recipe, ...]:
    """Load a recipe, after those that it starts from; a mean of runs starts from none.

    Those that are not packaged are files beside the recipe: ``mine`` is ``mine.yaml``.

    Raises:
        BlastscopeError: if one is not there, or a recipe starts from itself.
    """
    recipes = [load_recipe(recipe, settings)]
    names, folder = recipe_names(), None if isinstance(recipe, Recipe) else Path(recipe).parent
    while (start := recipes[0].starts_from) is not None and recipes[0].model.weights != AVERAGED:
        if start in [one.name for one in recipes]:
            raise BlastscopeError(f"{start} starts from itself: change starts_from.")
        source = start if folder is None or start in names else folder / f"{start}.yaml"
        if isinstance(source, Path) and not source.is_file():
            raise BlastscopeError(
                f"{recipes[0].name} starts from {start}, and {source} does not exist: put its "
                "recipe there, or change starts_from."
            )
        recipes.insert(0, load_recipe(source, settings))
    return tuple(recipes)


@dataclass(frozen=True, eq=False, repr=False)
class WeightsResult(Result):
    """ImageNet weights: which recipes need them, and where they are."""

    rows: tuple[dict[str, Any], ...]

    @property
    def wrong(self) -> list[str]:
        """The names of files that do not fit their network or their hash."""
        return [row["name"] for row in self.rows if row.get("problem")]

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each file."""
        return pl.DataFrame(self.rows)

    def as_json(self) -> list[dict[str, Any]]:
        """Return a row for each file."""
        return list(self.rows)

    def answers(self) -> list[str]:
        """Say which files are right, if they were verified."""
        return [
            f"{row['name']}: wrong: {row['problem']}" if row["problem"]
            else f"{row['name']}: right; {'recorded' if row['recorded'] else row['sha256']}"
            for row in self.rows
            if "problem" in row
        ]  # fmt: skip

    def tables(self) -> list[TextTable]:
        """Return a row for each file, in short; none if they were verified."""
        if not self.rows or "problem" in self.rows[0]:
            return []
        columns = [name for name in self.rows[0] if name not in ("name", "repository")]
        values = ([row[name] for name in columns] for row in self.rows)
        rows = [[len(v) if isinstance(v, list) else v for v in row] for row in values]
        return [TextTable.of(columns, rows)]


def list_weights(weights_dir: AnyPath | None = None, *, only: str | None = None) -> WeightsResult:
    """List the ImageNet weights that the packaged recipes need, and whether they are here.

    Args:
        weights_dir: a folder of weights to look into.
        only: a pattern of recipe names, such as ``paper/*``; by default all recipes count.

    Returns:
        Name, licence and recipes of each, and whether the folder and the hub's cache have it.

    Raises:
        BlastscopeError: if the pattern fits no recipe.
    """
    from blastscope.models.pretrained import needed_weights

    folder = as_path(weights_dir)
    rows = [
        {
            "name": known.name,
            "file": known.file,
            "licence": known.licence,
            "repository": known.repository,
            "recipes": recipes,
            "in_folder": None if folder is None else known.is_in(folder),
            "in_cache": known.in_cache,
        }
        for known, recipes in needed_weights(only).items()
    ]
    return WeightsResult(tuple(rows))


def fetch_weights(
    weights_dir: AnyPath,
    names: Iterable[str] | None = None,
    *,
    only: str | None = None,
    force: bool = False,
    progress: Progress = False,
) -> WeightsResult:
    """Fetch ImageNet weights from timm's hub into a folder; check and record their hashes.

    Args:
        weights_dir: the folder.
        names: timm's names; by default all that the packaged recipes need.
        only: a pattern of recipe names, ``paper/*``: fetch what these recipes need; in place of
            ``names``.
        force: replace files that are not as recorded.
        progress: say on standard error what will be downloaded, how large it is and for which
            recipes, then which file is there; or a function to call with how many are and of how
            many.

    Returns:
        Name, hash and licence of each.

    Raises:
        BlastscopeError: if a name is not known, a pattern fits no recipe, both are given, or the
            hub or the folder cannot be used.
    """
    from blastscope.models.pretrained import needed_weights
    from blastscope.models.weights_folder import fetch_weights as fetch

    recipes = needed_weights(only)
    wanted = _wanted_weights(list(names or ()), only, recipes)
    rows: list[dict[str, Any]] = []

    def announced(downloads: list[Announced]) -> None:
        if progress is True:
            _say_downloads(downloads, len(wanted), recipes)

    def told(fetched: Fetched) -> None:
        known = fetched.weights
        rows.append(
            {
                "name": known.name,
                "file": known.file,
                "sha256": fetched.sha256,
                "licence": known.licence,
                "from": known.page,
                "already": fetched.already,
            }
        )
        _tell(progress, len(rows), len(wanted), known.file)

    fetch(wanted, Path(weights_dir), force=force, on_announced=announced, on_fetched=told)
    return WeightsResult(tuple(rows), path=Path(weights_dir))


def _wanted_weights(
    names: list[str], only: str | None, recipes: Mapping[KnownWeights, list[str]]
) -> list[KnownWeights]:
    """Return the weights to fetch; those that the hub does not have only if they are named."""
    from blastscope.models.pretrained import known_weights

    if names and only is not None:
        raise BlastscopeError("Give names of weights, or a pattern of recipes, not both.")
    if names:
        return list(dict.fromkeys(map(known_weights, names)))
    for known in recipes:
        if not known.repository:
            notice(f"{known.name} is left out: timm's hub does not have it.")
    return [known for known in recipes if known.repository]


def _say_downloads(
    downloads: Sequence[Announced], wanted: int, recipes: Mapping[KnownWeights, list[str]]
) -> None:
    """Say on standard error what will be downloaded, how large it is and what it is for."""
    if not downloads:
        notice(f"All {wanted} files are there already.")
        return
    sizes = [one.bytes for one in downloads if one.bytes is not None]
    unknown = len(downloads) - len(sizes)
    total = megabytes(sum(sizes), 0) + (f" and {unknown} of unknown size" if unknown else "")
    notice(f"{len(downloads)} of {wanted} files will be downloaded: {total}.")
    for one in downloads:
        size = "unknown size" if one.bytes is None else megabytes(one.bytes, 0)
        names = ", ".join(recipes.get(one.weights, ())) or "no packaged recipe"
        notice(f"{one.weights.file}, {size}, for {names}")


def verify_weights(weights_dir: AnyPath, *, progress: Progress = False) -> WeightsResult:
    """Verify a folder of ImageNet weights: each file against its network and its recorded hash.

    Args:
        weights_dir: the folder.
        progress: say on standard error which file was read.

    Returns:
        Name, hash and problem of each file; ``wrong`` names those that have a problem.

    Raises:
        BlastscopeError: if the folder cannot be read.
    """
    from blastscope.models.weights_folder import verify_weights as verify

    rows: list[dict[str, Any]] = []

    def told(verified: Verified) -> None:
        rows.append(asdict(verified))
        _tell(progress, len(rows), None, verified.name)

    verify(Path(weights_dir), told)
    return WeightsResult(tuple(rows), path=Path(weights_dir))


def _tell(progress: Progress, done: int, total: int | None, what: str) -> None:
    if not isinstance(progress, bool):
        progress(done, total or done)
    elif progress:
        notice(what)
