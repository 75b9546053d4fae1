"""Plan a study: which recipes, under which protocols and seeds, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from blastscope.data.stain_reference import stain_reference
from blastscope.data.store import StoreSettings
from blastscope.errors import BlastscopeError
from blastscope.recipes.library import load_recipe, name_fits, recipe_names
from blastscope.recipes.schema import Recipe

PROTOCOLS = ("image", "subject")
FIRST_SEED = 24
"""The seed of the paper; further ones follow it."""
SHELVES = ("paper/", "related/", "beyond/")
ON_REQUEST = ("related/",)
"""Recipes that a study runs and lists only if a pattern asks for them."""
_OWN = {
    "training.seed": "a study sets it itself, give a number of seeds",
    **dict.fromkeys(
        ("name", "starts_from", "extends"),
        "the recipes of a study keep their names and starts, choose them by a pattern",
    ),
    **dict.fromkeys(
        ("title", "paper", "expected"), "published metrics are not settings, leave it out"
    ),
}
"""Settings that a study makes itself, and what the user should do instead."""


@dataclass(frozen=True)
class StudyJob:
    """One recipe under one protocol and seed.

    The seed draws both the split and the training.
    """

    recipe: Recipe
    protocol: str
    seed: int

    @property
    def name(self) -> str:
        """What a reader calls it."""
        return f"{self.recipe.name}, {self.protocol}, seed {self.seed}"

    @property
    def settings(self) -> StoreSettings:
        """How its cells are prepared."""
        wanted = self.recipe.input
        stain = stain_reference(wanted.stain_method)
        return StoreSettings(size=wanted.size, scale=wanted.scale, clahe=wanted.clahe, stain=stain)

    def store(self, out: Path) -> Path:
        """The folder of its prepared cells."""
        s = self.settings
        stained = f"-{s.colour_normalization}" if s.stain else ""
        return out / "stores" / f"{s.size}-{s.scale}{'-clahe' if s.clahe else ''}{stained}"

    def split(self, out: Path) -> Path:
        """The file of its split."""
        return out / "splits" / f"{self.run_set}.parquet"

    def run(self, out: Path) -> Path:
        """The folder of its run."""
        return out / "runs" / self.run_set / self.recipe.name

    def beginning(self, out: Path) -> Path | None:
        """The run whose weights it starts from."""
        start = self.recipe.starts_from
        return None if start is None else out / "runs" / self.run_set / start

    @property
    def run_set(self) -> str:
        """The folder that it shares with the experiments on the same split."""
        return f"{self.protocol}-seed{self.seed}"

    @property
    def needs(self) -> tuple[str, str, int] | None:
        """The key of the job that it waits for."""
        start = self.recipe.starts_from
        return None if start is None else (start, self.protocol, self.seed)

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it from every other job."""
        return self.recipe.name, self.protocol, self.seed


@dataclass(frozen=True)
class StudyPlan:
    """Jobs in an order in which each comes after the one that it starts from."""

    jobs: tuple[StudyJob, ...]
    left_out: dict[tuple[str, str, int], str]
    """Why a job of the study cannot be run here, by its key."""
    added: frozenset[str] = frozenset()
    """Recipes that were not requested but that others start from."""


def study_names() -> list[str]:
    """Return the names of all recipes of the study."""
    return [name for name in recipe_names() if name.startswith(SHELVES)]


def make_plan(
    only: str | None = None,
    protocols: Sequence[str] = PROTOCOLS,
    seeds: int = 1,
    overrides: Sequence[str] = (),
    weights_at_hand: Callable[[Recipe], str] = lambda recipe: "",
) -> StudyPlan:
    """Plan a study: every recipe that ``only`` matches, with all that it starts from.

    ``only`` is a pattern (``paper/vgg16-*`` or ``vgg16-*``); without it the systems that the paper
    cites are left out. The seeds begin with ``FIRST_SEED``.
    ``weights_at_hand`` returns why a recipe's pretrained weights are missing; empty if they are
    not.

    Raises:
        BlastscopeError: if the pattern fits no recipe, or a setting is not one of a study's.
    """
    _refuse_own(overrides)
    asked = _asked(only)
    recipes = {name: load_recipe(name, overrides) for name in _with_starts(asked)}
    missing = {name: _why_not(name, recipes, weights_at_hand) for name in recipes}
    jobs, left_out = [], {}
    for protocol in protocols:
        for seed in range(FIRST_SEED, FIRST_SEED + seeds):
            for recipe in recipes.values():
                job = StudyJob(recipe.with_seed(seed), protocol, seed)
                if missing[recipe.name]:
                    left_out[job.key] = missing[recipe.name]
                else:
                    jobs.append(job)
    return StudyPlan(tuple(jobs), left_out, frozenset(recipes) - frozenset(asked))


def _refuse_own(overrides: Iterable[str]) -> None:
    for setting in overrides:
        key = setting.partition("=")[0].strip()
        reason = _OWN.get(key) or _OWN.get(key.partition(".")[0])
        if reason:
            raise BlastscopeError(f"The setting {setting} cannot be used with a study: {reason}.")


def _asked(only: str | None) -> list[str]:
    names = study_names()
    if only is None:
        return [name for name in names if not name.startswith(ON_REQUEST)]
    fits = [name for name in names if name_fits(name, only)]
    if not fits:
        raise BlastscopeError(
            f"No recipe of the study matches {only}: list them with `blastscope recipes`."
        )
    return fits


def _with_starts(names: Iterable[str]) -> list[str]:
    """Return names and all that they start from, each after the one that it starts from."""
    ordered: list[str] = []
    for name in names:
        chain = [name]
        while (start := load_recipe(chain[-1]).starts_from) and start not in chain:
            chain.append(start)
        ordered.extend(link for link in reversed(chain) if link not in ordered)
    return ordered


def _why_not(
    name: str, recipes: dict[str, Recipe], weights_at_hand: Callable[[Recipe], str]
) -> str:
    """Return why a recipe cannot be run; the end of its chain of starts needs the weights."""
    recipe = recipes[name]
    while recipe.starts_from is not None:
        recipe = recipes[recipe.starts_from]
    return weights_at_hand(recipe)
