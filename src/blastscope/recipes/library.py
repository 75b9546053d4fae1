"""Load a recipe by name or path; resolve what it extends and apply overrides."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from blastscope.errors import BlastscopeError, did_you_mean
from blastscope.io.remote import refuse_remote
from blastscope.recipes.messages import one_sentence
from blastscope.recipes.reading import dump_yaml, parse_yaml, read_yaml
from blastscope.recipes.schema import Recipe
from blastscope.registry import require

_FOLDER = Path(str(files("blastscope.recipes")))
_SHELVES = ("paper", "related", "beyond", "demo")
# These describe one recipe and not those that extend it.
_NOT_INHERITED = ("name", "title", "overrides", "paper", "expected")


def recipe_names() -> list[str]:
    """Return the names of the packaged recipes, the paper's first."""
    return [
        f"{shelf}/{path.stem}"
        for shelf in _SHELVES
        for path in sorted((_FOLDER / shelf).glob("*.yaml"), key=lambda path: _natural(path.stem))
    ]


def name_fits(name: str, pattern: str) -> bool:
    """Return whether a recipe's name fits ``paper/vgg16-*``, or ``vgg16-*`` on any shelf."""
    return fnmatchcase(name, pattern) or fnmatchcase(name.partition("/")[2], pattern)


def _natural(text: str) -> list[tuple[int, str]]:
    """Return a key by which e2 comes before e10, and e4 before e4bis."""
    pieces = re.findall(r"\d+|\D+", text)
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in pieces]


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """Load a packaged recipe by its name, or a user's by the path of its ``.yaml``.

    Args:
        name_or_path: such as ``paper/cnn-exp2`` or ``mine.yaml``.
        overrides: settings to change, such as ``training.epochs=3``; the value is YAML.

    Raises:
        BlastscopeError: one sentence, if a name, a key or a value is unknown or not allowed.
    """
    return _overridden(_resolve(name_or_path, Path(), ()), overrides, name_or_path)


def changed_recipe(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """Change settings of a recipe as :func:`load_recipe` does."""
    content = recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    return _overridden(content, overrides, recipe.name)


def _overridden(content: dict[str, Any], overrides: Sequence[str], label: str) -> Recipe:
    if overrides:
        for override in overrides:
            _override(content, override)
        content["overrides"] = [*content.get("overrides", []), *overrides]
        label = f"{label} with {', '.join(overrides)}"
    recipe = _validate(content, label)
    training = recipe.training
    for kind, name in (("loss", training.loss), ("augmentation", training.augmentation)):
        try:
            if isinstance(name, str):
                require(kind, name)
        except BlastscopeError as error:
            raise BlastscopeError(f"{label}: {error}") from error
    return recipe


def recipe_yaml(recipe: Recipe) -> str:
    """Write a recipe as YAML, resolved; loading it again gives an equal recipe."""
    return dump_yaml(recipe.model_dump(mode="json", by_alias=True, exclude_none=True))


def read_recipe(path: Path) -> Recipe:
    """Read the resolved recipe of a run, as :func:`recipe_yaml` writes it.

    Its loss and augmentation need not be registered: predictions do without them.

    Raises:
        BlastscopeError: if it cannot be read or is not a recipe of this version.
    """
    try:
        return _validate(read_yaml(path), str(path))
    except BlastscopeError as error:
        reason = str(error).rstrip(".")
        raise BlastscopeError(
            f"{reason}: if another version of blastscope wrote it, train the run again."
        ) from error


def _resolve(name_or_path: str, folder: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """Read a recipe and merge it into what it extends, which is checked."""
    path, name = _locate(name_or_path, folder)
    if path in above:
        raise BlastscopeError(f"{path} extends itself, by way of {name_or_path}.")
    content = {"name": name, **read_yaml(path)}
    parent_name = content.pop("extends", None)
    if parent_name is None:
        return content
    if not isinstance(parent_name, str):
        raise BlastscopeError(f"{path}: extends must be the name or the path of one recipe.")
    parent = _resolve(parent_name, path.parent, (*above, path))
    _validate(parent, parent_name)
    inherited = {key: value for key, value in parent.items() if key not in _NOT_INHERITED}
    return _merged(inherited, content)


def _locate(name_or_path: str, folder: Path) -> tuple[Path, str]:
    """Return a recipe's file and name; a path is taken from ``folder``."""
    if name_or_path.endswith((".yaml", ".yml")):
        refuse_remote(name_or_path)
        path = (folder / name_or_path).resolve()
        return path, path.stem
    if name_or_path not in recipe_names():
        raise BlastscopeError(f"There is no recipe {_nearest(name_or_path)}.")
    return _FOLDER / f"{name_or_path}.yaml", name_or_path


def _nearest(name: str) -> str:
    names = recipe_names()
    return (
        f"{name}{did_you_mean(name, names)}: choose one that `blastscope recipes` lists, or give "
        "the path of a .yaml file"
    )


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Merge ``over`` into ``base``: mappings are merged, anything else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(value, dict) and isinstance(below, dict)
        merged[key] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return merged


def _override(content: dict[str, Any], override: str) -> None:
    """Change one setting of ``content`` in place."""
    key, separator, text = override.partition("=")
    *sections, last = key.strip().split(".")
    if not separator or not all([*sections, last]):
        raise BlastscopeError(f"{override} is not a setting: write it like training.epochs=3.")
    for section in sections:
        inner = content.setdefault(section, {})
        if not isinstance(inner, dict):
            raise BlastscopeError(f"{override} cannot be set: {section} is not a section.")
        content = inner
    content[last] = parse_yaml(text, override)


def _validate(content: dict[str, Any], label: str) -> Recipe:
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        raise BlastscopeError(one_sentence(label, error)) from error
    start = recipe.starts_from
    if start and start.split("/")[0] in _SHELVES and start not in recipe_names():
        raise BlastscopeError(f"{label}: starts_from is not a recipe, {_nearest(start)}.")
    return recipe


def refuse_unread_weights(recipes: Iterable[Recipe], weights_dir: object) -> None:
    """Refuse a folder of pretrained weights that no recipe of a chain begins with.

    Raises:
        BlastscopeError: naming the last recipe, if there is a folder.
    """
    *_, last = chain = tuple(recipes)
    if weights_dir is not None and not any(one.begins_with_weights for one in chain):
        raise BlastscopeError(
            f"{last.name} begins with no pretrained weights of its own, so --weights-dir has no "
            "effect: leave it out."
        )
