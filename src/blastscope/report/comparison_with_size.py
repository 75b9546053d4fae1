"""Models beside the size of cells: AUC at equal size, and who is ahead of which baseline.

The pages of a comparison, of an ensemble and of errors show it alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from blastscope.evaluation.baseline_rules import FITTED, SIZE_ALONE, SIZE_AND_COLOUR
from blastscope.evaluation.comparison import Comparison
from blastscope.evaluation.confidence_intervals import Estimate
from blastscope.evaluation.equal_size import EqualSizeAuc
from blastscope.evaluation.model_baselines import COMPARED
from blastscope.report.shortcut_text import EQUAL_SIZE
from blastscope.report.text import HEADLINE, listed, metric

NOT_MEASURED = (
    "AUC at equal size and the lead over the size and colour of cells were not measured: give the "
    "store of these cells with --store."
)
LEVELS = (HEADLINE["auc"], EQUAL_SIZE)
"""The columns that are not a lead."""
MOST_NAMED = 4
"""Of more models than this only the table has the numbers."""
_UNKNOWN = Estimate(float("nan"), float("nan"), float("nan"))
_ORDER = ("auc", "weighted_f1")


def size_columns(comparison: Comparison) -> dict[str, Callable[[str], Estimate]]:
    """Return what stands beside size, by its heading: a function of a model's name.

    AUC comes first, then AUC at equal size, and the lead over each fitted baseline; empty if sizes
    are unknown.
    """
    if not comparison.equal_size:
        return {}
    columns: dict[str, Callable[[str], Estimate]] = {
        HEADLINE["auc"]: lambda model: comparison.estimates[model]["auc"],
        EQUAL_SIZE: lambda model: _matched(comparison.equal_size[model]),
    }
    for rule in _rules(comparison):
        for name in _ORDER:
            columns[f"lead over {rule}, {HEADLINE[name]}"] = _lead_of(comparison, rule, name)
    return columns


def size_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return a row of text for each model: its name, then what :func:`size_columns` has."""
    columns = size_columns(comparison)
    return [
        (model, *(metric(column(model), sign=name not in LEVELS)
                  for name, column in columns.items()))
        for model in comparison.models
    ]  # fmt: skip


def size_view(comparison: Comparison) -> dict[str, Any]:
    """Return what ``_beside_size.html`` reads as ``beside``."""
    return {
        "models": comparison.models,
        "columns": size_columns(comparison),
        "levels": LEVELS,
        "sentences": size_sentences(comparison),
    }


def auc_sentences(comparison: Comparison) -> list[str]:
    """Write the AUC and the AUC at equal size of each model; empty without sizes.

    It is also empty if there are more than ``MOST_NAMED`` models.
    """
    if not comparison.equal_size or len(comparison.models) > MOST_NAMED:
        return []
    told = []
    for model in comparison.models:
        equal = comparison.equal_size[model]
        who = f"{model}: " * (len(comparison.models) > 1)
        at_equal_size = f"{EQUAL_SIZE} {metric(_matched(equal))}"
        told.append(f"{who}AUC {metric(comparison.estimates[model]['auc'])}, {at_equal_size}.")
    return told


def size_metrics(comparison: Comparison) -> Iterator[tuple[str, str, Estimate]]:
    """Return model, metric and estimate of all that stands beside size, for a table."""
    for model, equal in comparison.equal_size.items():
        if equal is not None:
            yield model, "auc_equal_size", equal.matched
        for rule in comparison.baselines[model]:
            if rule.name in FITTED:
                for name in COMPARED:
                    yield model, f"{name}_lead_over_{rule.name.replace(' ', '_')}", rule.lead[name]


def size_sentences(comparison: Comparison) -> list[str]:
    """Say which models are not clearly ahead of size, and of size and colour."""
    if not comparison.equal_size:
        return [NOT_MEASURED]
    said, ahead_of = _at_equal_size(comparison), []
    for rule in _rules(comparison):
        behind = _models_by_metrics(comparison, rule, lambda lead: lead.negated().above_zero)
        level = _models_by_metrics(
            comparison, rule, lambda lead: not lead.above_zero and not lead.negated().above_zero
        )
        said += [f"Behind {rule} in {by}: {listed(who)}." for by, who in behind.items()]
        said += [
            f"Not clearly ahead of {rule} in {by}: {listed(who)}." for by, who in level.items()
        ]
        if not behind and not level:
            ahead_of.append(rule)
    missing = _not_compared(comparison)
    if ahead_of:
        every = "Every model that was compared" if missing else "Every model"
        by = [HEADLINE[name] for name in _ORDER if any(_leads(comparison, name))]
        said.append(f"{every} is clearly ahead of {', and of '.join(ahead_of)} in {listed(by)}.")
    return said + missing


def _at_equal_size(comparison: Comparison) -> list[str]:
    known = {model: one for model, one in comparison.equal_size.items() if one and one.known}
    unknown = [model for model in comparison.models if model not in known]
    no_more = [model for model, one in known.items() if not one.beyond_size]
    said = []
    if no_more:
        said.append(f"At equal size not clearly better than size itself: {listed(no_more)}.")
    elif known:
        every = "every other model" if unknown else "every model"
        said.append(f"At equal size {every} clearly knows more than the size of a cell.")
    if unknown:
        said.append(
            f"AUC at equal size was not measured for {listed(unknown)}: that needs cells of both "
            "classes of about the same size."
        )
    return said


def _models_by_metrics(
    comparison: Comparison, rule: str, holds: Callable[[Estimate], bool]
) -> dict[str, list[str]]:
    """Name the models of which some lead over a rule is such, by the names of these metrics."""
    found: dict[str, list[str]] = {}
    for model in comparison.models:
        leads = {name: _lead_of(comparison, rule, name)(model) for name in _ORDER}
        names = [HEADLINE[name] for name, lead in leads.items() if lead.known and holds(lead)]
        if names:
            found.setdefault(listed(names), []).append(model)
    return found


def _leads(comparison: Comparison, name: str) -> Iterator[bool]:
    """Yield for each model and fitted rule whether the lead in a metric is known."""
    for rule in _rules(comparison):
        for model in comparison.models:
            yield _lead_of(comparison, rule, name)(model).known


def _not_compared(comparison: Comparison) -> list[str]:
    """Name the models that have no lead over a rule, and what that needs."""
    needs = {
        SIZE_ALONE: "folds, or training cells of both classes",
        SIZE_AND_COLOUR: "a store with the cells' own colours",
    }
    lacking = {
        rule: [
            model
            for model, found in comparison.baselines.items()
            if rule not in [one.name for one in found]
        ]
        for rule in FITTED
    }
    if lacking[SIZE_ALONE]:  # what cannot be fitted on size cannot be fitted on colour either
        others = set(lacking[SIZE_ALONE])
        lacking[SIZE_AND_COLOUR] = [one for one in lacking[SIZE_AND_COLOUR] if one not in others]
    return [
        f"Not compared with {rule}: {listed(names)}. That needs {needs[rule]}."
        for rule, names in lacking.items()
        if names
    ]


def _rules(comparison: Comparison) -> list[str]:
    """The fitted rules that some model was compared with, in their order."""
    there = {one.name for rules in comparison.baselines.values() for one in rules}
    return [name for name in FITTED if name in there]


def _lead_of(comparison: Comparison, rule: str, name: str) -> Callable[[str], Estimate]:
    def lead(model: str) -> Estimate:
        found = (one.lead[name] for one in comparison.baselines[model] if one.name == rule)
        return next(found, _UNKNOWN)

    return lead


def _matched(found: EqualSizeAuc | None) -> Estimate:
    return _UNKNOWN if found is None else found.matched
