"""What a reproduction says of itself as a whole: what differs, what is missing, how far it fits."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import median

from blastscope.data.split_table import SplitReport
from blastscope.errors import listing
from blastscope.report.reproduction_data import BEYOND, OTHER, Experiment, Outcome
from blastscope.report.reproduction_result import RunResult, RunWeights
from blastscope.report.text import protocol_name, signed

PAPER_PARTS = {"train": (4432, 1964), "validation": (1403, 729), "test": (1437, 696)}
"""ALL and normal cells of the paper's random split (its table in Section 1.1)."""
PAPER_BALANCED = (3198, 3198)
"""ALL and normal cells of its training part after balancing (Section 3.1)."""
_UNTOLD = "no reason given"


def cells_line(splits: Sequence[SplitReport], *, synthetic: bool) -> str:
    """Say how many cells and subjects there are, and how many train; empty without a split."""
    if not splits:
        return ""
    totals = [sum(_sum(part) for part in report.cells.values()) for report in splits]
    people = [sum(_sum(part) for part in r.subjects.values()) for r in splits if r.disjoint]
    line = f"{max(totals):,} cells" + (f" of {people[0]:,} subjects" if people else "")
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
    """Rows of (what, median, detail) of how far weighted F1 lies apart over the experiments."""
    above = [] if synthetic else [item.above_published() for item in done]
    rows = []
    for name, found in (
        ("image-level minus the paper's", above),
        ("subject-disjoint minus image-level", [item.gap() for item in done]),
    ):
        values = [value for value in found if value is not None]
        if values:
            span = f"{signed(min(values), 3)} to {signed(max(values), 3)}"
            many = f"{len(values)} experiment{'s' * (len(values) > 1)}"
            rows.append((name, signed(median(values), 3), f"median of {many}, {span}"))
    return rows


def chance(done: Sequence[Experiment]) -> tuple[int, str] | None:
    """Return a test part's cells, and half the width of a 95 % interval for that many of them.

    The normal approximation for a share; weighted F1 is close to one, the accuracy.
    """
    tests = [item.over_seeds("image", "weighted_f1") for item in done]
    share = median(spread.mean for spread in tests if spread) if any(tests) else None
    first = next((result for item in done if (result := item.first("image"))), None)
    if share is None or first is None or not first.test["n"]:
        return None
    cells = int(first.test["n"])
    return cells, f"{1.96 * sqrt(share * (1 - share) / cells):.3f}"


def unlike_weights(
    done: Sequence[Experiment],
) -> list[tuple[str, list[tuple[RunWeights, int, str]]]]:
    """Return the families whose runs began with different files of pretrained weights.

    Beyond the paper a family is a network: there, other files are to be expected of others.

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
    """Return what the runs were computed on, and how many trainings on each, most first."""
    return Counter(_machine(result) for item in done for result in item.all_results).most_common()


def _machine(result: RunResult) -> str:
    told = result.environment
    if told.get("device") != "cpu":
        return str(told.get("device", "not told"))
    return f"{told.get('processor') or 'processor'}, {told.get('threads', '?')} threads"


def environment(done: Sequence[Experiment]) -> tuple[str, str] | None:
    """Return the name of the first run that tells its environment, and that as JSON."""
    for item in done:
        for result in item.all_results:
            if result.environment:
                return item.recipe.name, json.dumps(result.environment, indent=2)
    return None
