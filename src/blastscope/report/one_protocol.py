"""All systems of a study under one protocol: unseen subjects, intervals, and what each costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from blastscope.report.text import interval, number
from blastscope.reproduction.results import Experiment, RunResult

NOISE = (
    "Read differences with care: one recipe of Marzahl et al., trained 17 times on other draws of "
    "subjects, reached a weighted F1 of .807 to .872 on the challenge's preliminary test. "
    "Differences below .03 between two systems are noise."
)
HEAD = (
    "system",
    "published weighted F1",
    "weighted F1",
    "AUC",
    "AUC at equal size",
    "seconds",
    "MB",
)


@dataclass(frozen=True)
class ProtocolRow:
    """One system: its texts in the order of ``HEAD``, and where its own section is."""

    experiment: Experiment
    texts: tuple[str, ...]


def protocol_rows(experiments: Sequence[Experiment], *, synthetic: bool) -> list[ProtocolRow]:
    """Return a row for each system with a subject-disjoint run, the best AUC at equal size first.

    Metrics and their 95 % intervals, by subject, are of the first seed. Published metrics are of
    other cells: the challenge's hidden test, or the paper's image-level split; they are left out if
    ``synthetic``.
    """
    runs = [(one, run) for one in experiments if (run := one.first("subject"))]
    runs.sort(key=lambda pair: -(_equal_size(pair[1]).get("value") or 0.0))
    return [ProtocolRow(one, _texts(one, run, synthetic)) for one, run in runs]


def _texts(experiment: Experiment, run: RunResult, synthetic: bool) -> tuple[str, ...]:
    equal = _equal_size(run)
    bounds = (equal.get("low"), equal.get("high"))
    seconds = [one.seconds for one in experiment.alike("subject") if one.seconds is not None]
    return (
        experiment.recipe.name,
        number(None if synthetic else experiment.published("weighted_f1")),
        *(_with_bounds(run.test[name], run.intervals.get(name)) for name in ("weighted_f1", "auc")),
        _with_bounds(equal.get("value"), bounds),
        number(None) if not seconds else f"{fmean(seconds):,.0f}",
        number(None) if run.bytes is None else f"{run.bytes / 1e6:.1f}",
    )


def _equal_size(run: RunResult) -> Mapping[str, Any]:
    found = (run.shortcuts.get("equal_size") or {}).get("matched")
    return found if isinstance(found, Mapping) else {}


def _with_bounds(value: float | None, bounds: Sequence[float | None] | None) -> str:
    if value is None or not bounds or None in bounds:
        return number(value, 3)
    low, high = (float(bound or 0) for bound in bounds)
    return f"{number(value, 3)} ({interval((low, high))})"
