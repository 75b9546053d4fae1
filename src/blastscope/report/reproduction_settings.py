"""The settings of a reproduction's runs, held against the packaged recipes.

Only runs are asked: what was not run has no settings that a figure could come from.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

from blastscope.recipes.library import load_recipe, recipe_names
from blastscope.recipes.schema import Recipe
from blastscope.report.reproduction_data import Experiment
from blastscope.report.reproduction_result import RunResult

_MOST_NAMES = 8


@dataclass(frozen=True)
class Change:
    """A setting that runs have and their packaged recipes have not.

    Attributes:
        key: such as ``input.size``.
        value: what the runs have.
        was: what the packaged recipes have, one or several values.
        experiments: how many experiments have a run with it.
        where: which those are: families, or experiments where not the whole family has it.
        trainings: how many of these experiments' trainings have it, where not all; else empty.
    """

    key: str
    value: str
    was: str
    experiments: int
    where: str
    trainings: str


def changed_settings(done: Sequence[Experiment]) -> list[Change]:
    """Collect the changed settings of all runs, the values of one setting in a row.

    Args:
        done: the experiments with a run, in the order of the page.
    """
    found: dict[str, dict[str, list[tuple[Experiment, str]]]] = {}
    for experiment in done:
        for result in experiment.all_results:
            for key, value, was in changes(result.recipe):
                found.setdefault(key, {}).setdefault(value, []).append((experiment, was))
    return [
        _change(key, value, having, done)
        for key, values in found.items()
        for value, having in values.items()
    ]


def _change(
    key: str, value: str, having: Sequence[tuple[Experiment, str]], done: Sequence[Experiment]
) -> Change:
    """Sum up a setting that ``having`` has an entry for each training of."""
    names = {experiment.recipe.name for experiment, _ in having}
    members = [experiment for experiment in done if experiment.recipe.name in names]
    trainings = sum(len(experiment.all_results) for experiment in members)
    return Change(
        key,
        value,
        " or ".join(sorted({was for _, was in having})),
        len(members),
        _where(members, done),
        "" if len(having) == trainings else f"{len(having)} of {trainings} trainings",
    )


def _where(members: Sequence[Experiment], done: Sequence[Experiment]) -> str:
    sizes = Counter(experiment.family for experiment in done)
    words = []
    for family, group in groupby(members, key=lambda experiment: experiment.family):
        names = [experiment.short for experiment in group]
        rest = len(names) - _MOST_NAMES
        shown = ", ".join(names[:_MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")
        words.append(family if len(names) == sizes[family] else f"{family}: {shown}")
    return "; ".join(words)


def changes(recipe: Recipe) -> list[tuple[str, str, str]]:
    """Return (setting, its value, the packaged value) of what was overridden and does differ.

    A dash stands for the packaged value of a recipe that is not packaged.
    """
    original = _packaged(recipe.name)
    own = recipe.model_dump(mode="json", by_alias=True)
    theirs = original.model_dump(mode="json", by_alias=True) if original else {}
    keys = dict.fromkeys(override.partition("=")[0].strip() for override in recipe.overrides)
    rows = [(key, _value(own, key), _value(theirs, key)) for key in keys]
    return [(key, value, was) for key, value, was in rows if value != was]


def _value(content: Any, key: str) -> str:
    for name in key.split("."):
        content = content.get(name) if isinstance(content, dict) else None
    if content is None:
        return "–"
    return content if isinstance(content, str) else json.dumps(content)


@cache
def _packaged(name: str) -> Recipe | None:
    return load_recipe(name) if name in recipe_names() else None


def at_reduced_size(done: Iterable[Experiment]) -> int:
    """Count the trainings on smaller images than their packaged recipe has."""
    sizes = (_sizes(result) for item in done for result in item.all_results)
    return sum(own < packaged for own, packaged in sizes)


def size_note(members: Iterable[Experiment]) -> str:
    """Say which size of image a family's runs had, where not the packaged; else nothing."""
    counts = Counter(_sizes(result) for item in members for result in item.all_results)
    notes = [
        f"at {own} px, packaged {packaged} px"
        + (f" ({n} of {counts.total()} trainings)" if n < counts.total() else "")
        for (own, packaged), n in counts.items()
        if own != packaged
    ]
    return "; ".join(notes)


def _sizes(result: RunResult) -> tuple[int, int]:
    own, original = result.recipe.input.size, _packaged(result.recipe.name)
    return own, original.input.size if original else own


def unlike_settings(experiment: Experiment) -> list[tuple[str, str]]:
    """Rows of (runs, their changed settings); none where all runs have the same settings."""
    groups = experiment.by_settings()
    if len(groups) < 2:
        return []
    return [
        (
            "; ".join(result.name for result in group),
            ", ".join(f"{key} = {value}" for key, value, _ in changes(group[0].recipe))
            or "as packaged",
        )
        for group in groups
    ]
