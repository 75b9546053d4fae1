"""Summarize a reproduction: settings that differ from the recipes, what is missing, differences."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import groupby
from math import sqrt
from statistics import median
from typing import Any

from blastscope.data.split_table import SplitReport
from blastscope.errors import listing
from blastscope.recipes.library import load_recipe, recipe_names
from blastscope.recipes.schema import Recipe
from blastscope.report.text import number, protocol_name, signed
from blastscope.reproduction.results import (
    BEYOND,
    OTHER,
    Experiment,
    Outcome,
    RunResult,
    RunWeights,
)

_MOST_NAMES = 8
PAPER_PARTS = {"train": (4432, 1964), "validation": (1403, 729), "test": (1437, 696)}
"""ALL and normal cells of the paper's random split (its table in Section 1.1)."""
PAPER_BALANCED = (3198, 3198)
"""ALL and normal cells of its training part after balancing (Section 3.1)."""
_UNTOLD = "no reason given"


def run_name(result: RunResult) -> str:
    """Name a run among those of its experiment: its protocol and seed."""
    return f"{protocol_name(result.protocol)}, seed {result.seed}"


def changed_settings(done: Sequence[Experiment]) -> list[dict[str, Any]]:
    """Collect the settings in which runs differ from their packaged recipes.

    Returns:
        For each setting: ``key`` (such as ``input.size``) and ``value``, ``was`` in the packaged
        recipes, how many ``experiments`` have a run with it, ``where`` (their families, or their
        names if not the whole family has it), and how many of their ``trainings`` have it, which
        is empty if all have it.
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
) -> dict[str, Any]:
    """Sum up a setting; ``having`` has an entry for each training with it."""
    names = {experiment.recipe.name for experiment, _ in having}
    members = [experiment for experiment in done if experiment.recipe.name in names]
    trainings = sum(len(experiment.all_results) for experiment in members)
    return {
        "key": key,
        "value": value,
        "was": " or ".join(sorted({was for _, was in having})),
        "experiments": len(members),
        "where": _where(members, done),
        "trainings": "" if len(having) == trainings else f"{len(having)} of {trainings} trainings",
    }


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
    """Return (setting, its value, the packaged value) of each override that makes a difference.

    The packaged value is a dash if the recipe is not packaged.
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
    """Count the trainings on smaller images than those of their packaged recipe."""
    sizes = (_sizes(result) for item in done for result in item.all_results)
    return sum(own < packaged for own, packaged in sizes)


def size_note(members: Iterable[Experiment]) -> str:
    """State the image size of a family's runs if it is not the packaged size; else empty."""
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
    """Rows of (runs, their changed settings); empty if all runs have the same settings."""
    groups = experiment.by_settings()
    if len(groups) < 2:
        return []
    return [
        (
            "; ".join(run_name(result) for result in group),
            ", ".join(f"{key} = {value}" for key, value, _ in changes(group[0].recipe))
            or "as packaged",
        )
        for group in groups
    ]


def cells_line(splits: Sequence[SplitReport], *, synthetic: bool) -> str:
    """Count cells, subjects and training cells; empty without a split."""
    if not splits:
        return ""
    totals = [sum(_sum(part) for part in report.cells.values()) for report in splits]
    subjects = [sum(_sum(part) for part in r.subjects.values()) for r in splits if r.disjoint]
    line = f"{max(totals):,} cells" + (f" of {subjects[0]:,} subjects" if subjects else "")
    trained = ", ".join(f"{_sum(r.cells['train']):,} ({protocol_name(r.protocol)})" for r in splits)
    theirs = "" if synthetic else f"; the paper trained on {sum(PAPER_PARTS['train']):,}"
    return f"{line}, in training {trained}{theirs}"


def _sum(counts: Mapping[str, int]) -> int:
    return sum(counts.values())


def not_run_reasons(outcomes: Sequence[Outcome]) -> list[tuple[str, int, str]]:
    """Rows of (reason, trainings, names of the recipes), the most frequent reason first."""
    named: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.run is None:
            named.setdefault(outcome.reason or _UNTOLD, []).append(outcome.recipe.name)
    rows = sorted(named.items(), key=lambda row: -len(row[1]))
    return [(why, len(names), listing([*dict.fromkeys(names)], most=100)) for why, names in rows]


def differences(done: Sequence[Experiment], synthetic: bool) -> list[tuple[str, str, str]]:
    """Rows of (what, median, detail): differences in weighted F1 over the experiments."""
    above = [] if synthetic else [item.above_published() for item in done]
    rows = []
    for name, found in (
        ("image-level minus the paper's", above),
        ("subject-disjoint minus image-level", [item.gap() for item in done]),
    ):
        values = [value for value in found if value is not None]
        if values:
            detail = "1 experiment"
            if len(values) > 1:
                span = f"{signed(min(values), 3)} to {signed(max(values), 3)}"
                detail = f"median of {len(values):,} experiments, {span}"
            rows.append((name, signed(median(values), 3), detail))
    return rows


def chance(done: Sequence[Experiment]) -> tuple[int, str] | None:
    """Return the cells of a test part, and half the width of a 95 % interval for so many cells.

    The normal approximation for a share; weighted F1 is close to one, the accuracy.
    """
    tests = [item.over_seeds("image", "weighted_f1") for item in done]
    share = median(spread.mean for spread in tests if spread) if any(tests) else None
    first = next((result for item in done if (result := item.first("image"))), None)
    if share is None or first is None or not first.test["n"]:
        return None
    cells = int(first.test["n"])
    return cells, number(1.96 * sqrt(share * (1 - share) / cells), 3)


def unlike_weights(
    done: Sequence[Experiment],
) -> list[tuple[str, list[tuple[RunWeights, int, str]]]]:
    """Return the families whose runs began with different files of pretrained weights.

    Beyond the paper a family is a network, because networks have different files.

    Returns:
        Rows of (family, its files), a file being (weights, trainings, names of the experiments).
    """
    found: dict[str, dict[str, list[tuple[Experiment, RunWeights]]]] = {}
    for item in done:
        for result in item.all_results:
            weights = result.initial_weights
            if weights is not None:
                network = result.recipe.model.backbone
                family = network if item.family in (BEYOND, OTHER) else item.family
                files = found.setdefault(family, {})
                files.setdefault(weights.sha256, []).append((item, weights))
    return [
        (family, [_of_file(began) for began in files.values()])
        for family, files in found.items()
        if len(files) > 1
    ]


def _of_file(began: Sequence[tuple[Experiment, RunWeights]]) -> tuple[RunWeights, int, str]:
    names = [*dict.fromkeys(item.short for item, _ in began)]
    return began[0][1], len(began), listing(names)


def machines(done: Sequence[Experiment]) -> list[tuple[str, int]]:
    """Count the trainings by what they were computed on, the most first."""
    return Counter(_machine(result) for item in done for result in item.all_results).most_common()


def _machine(result: RunResult) -> str:
    about = result.environment
    if about.get("device") != "cpu":
        return str(about.get("device", "not recorded"))
    return f"{about.get('processor') or 'processor'}, {about.get('threads', '?')} threads"


def environment(done: Sequence[Experiment]) -> tuple[str, str] | None:
    """Return the name of the first run that recorded its environment, and that as JSON."""
    for item in done:
        for result in item.all_results:
            if result.environment:
                return item.recipe.name, json.dumps(result.environment, indent=2)
    return None
