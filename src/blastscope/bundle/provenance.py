"""Read from a run what its manifest records: preparation, training cells and evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from blastscope.bundle.manifest import (
    EvaluationEntry,
    Machine,
    MetricEntry,
    SubgroupEntry,
    TrainingCells,
)
from blastscope.errors import BlastscopeError
from blastscope.evaluation.baseline_rules import SIZE_ALONE
from blastscope.evaluation.result import read_metrics
from blastscope.io.files import read_json, sha256_of
from blastscope.io.predictions import SYNTHETIC_MARK, read_predictions

if TYPE_CHECKING:
    from blastscope.training.finished_run import FinishedRun

_SHOWN = (
    "weighted_f1", "auc", "recall_all", "recall_hem", "precision_all", "precision_hem",
    "accuracy", "balanced_accuracy", "mcc",
)  # fmt: skip


EQUAL_SIZE, NORMAL_SUBJECTS = "auc_equal_size", "auc_normal_subjects"
NEXT_SUBJECT = "auc_next_normal_subject"
OF_SIZE, OF_SIZE_AT_EQUAL_SIZE = "auc_of_size", "auc_of_size_at_equal_size"
"""The metrics of an evaluation that tell a model from a ruler: AUC at equal size, the mean AUC over
normal subjects, the same mean with the 95 % prediction interval of the next normal subject, and the
AUC of size alone on the same cells and over the same pairs."""
UNSEEN = ("subject", "official")
"""The protocols whose test subjects are in no other part: a split that breaks this is refused."""


def data_of(run: FinishedRun) -> TrainingCells:
    """Count a run's cells by split part and class, and the subjects of its training part."""
    table, about = read_predictions(run.path / "predictions.parquet")
    counts = table.group_by("part", "label").len()
    cells: dict[str, dict[str, int]] = {}
    for part, label, count in counts.sort("part", "label").iter_rows():
        cells.setdefault(part, {})[label or "unlabelled"] = count
    trained = table.filter(pl.col("part") == "train", pl.col("subject").is_not_null())
    subjects = trained.group_by("label").agg(pl.col("subject").n_unique()).sort("label")
    return TrainingCells(
        store=str(about["store"]),
        split=str(about["split"]),
        protocol=str(about.get("protocol")),
        cells=cells,
        subjects={label or "unlabelled": count for label, count in subjects.iter_rows()},
    )


def evaluation_entry(folder: Path, name: str, checkpoint: str) -> EvaluationEntry:
    """Read the evaluation of a folder with a ``metrics.json``.

    It must be of the model, or of the recipe ``name``, whose cross-validation it may be.

    Raises:
        BlastscopeError: if it is missing or of another model.
    """
    content = read_metrics(folder / "metrics.json")
    model = str(content.get("model")).removesuffix(SYNTHETIC_MARK).partition(" #")[0]
    if content.get("inductive") is not None:
        raise BlastscopeError(
            f"{folder} evaluates transductive probabilities, which no bundle gives: evaluate again "
            "without --transductive, or bundle a run that was trained without pseudo-labels."
        )
    own = content.get("checkpoint") == checkpoint
    if not own and model != name:
        raise BlastscopeError(
            f"{folder} evaluates {model}, not {name}: give an evaluation of this model or "
            "of its recipe."
        )
    part = str(content["part"])
    metrics, bounds = content["parts"][part], content["intervals"]
    shown = {}
    for metric in _SHOWN:
        value = metrics.get(metric)
        if value is not None:
            low, high = bounds.get(metric) or (None, None)
            shown[metric] = MetricEntry(value=float(value), low=low, high=high)
    shown |= _against_size(content)
    return EvaluationEntry(
        own=own,
        part=part,
        protocol=content.get("protocol") or "unknown",
        cells=int(metrics["n"]),
        metrics=shown,
        sampling=content["sampling"],
        subgroups=_subgroups(content),
    )


def _against_size(content: dict[str, Any]) -> dict[str, MetricEntry]:
    """Read AUC at equal size, AUC by normal subject, and what size alone has."""
    shortcuts, found = content.get("shortcuts") or {}, {}
    equal, subjects = shortcuts.get("equal_size"), shortcuts.get("subjects")
    if equal is not None:
        found[EQUAL_SIZE] = equal["matched"]
        found[OF_SIZE_AT_EQUAL_SIZE] = equal["size"]
    if subjects is not None:
        found[NORMAL_SUBJECTS] = subjects["auc_mean"]
        if content.get("protocol") in UNSEEN:
            found |= _next_subject(subjects["auc"])
    size = content.get("baselines", {}).get(SIZE_ALONE)
    if size is not None:
        found[OF_SIZE] = size["estimates"]["auc"]
    return {name: MetricEntry(**one) for name, one in found.items() if one.get("value") is not None}


def _next_subject(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Read the prediction interval of the next normal subject, if there is one."""
    bounds = {name: found.get(name) for name in ("low", "high")}
    if None in bounds.values():
        return {}
    return {NEXT_SUBJECT: {"value": found.get("mean"), **bounds}}


def _subgroups(content: dict[str, Any]) -> tuple[SubgroupEntry, ...]:
    """Read the metrics of subgroups; empty if sizes were not known."""
    shown = ("auc", "recall_all", "recall_hem")
    return tuple(
        SubgroupEntry(
            **{name: one[name] for name in ("by", "name", "cells_all", "cells_hem")},
            **{name: one["metrics"].get(name) for name in shown},
        )
        for one in (content.get("shortcuts") or {}).get("subgroups", ())
    )


def evaluations_of(
    own: Path, others: Sequence[Path], name: str, checkpoint: str
) -> tuple[EvaluationEntry, ...]:
    """Read a model's own evaluation, if there is one, and further ones.

    Returns:
        Those on unseen subjects first, since they say what to expect of a new subject.

    Raises:
        BlastscopeError: if one of ``others`` is missing or of another model, or given twice.
    """
    folders = [own] if (own / "metrics.json").is_file() else []
    _refuse_twice(folders, others)
    found = (evaluation_entry(folder, name, checkpoint) for folder in (*folders, *others))
    return tuple(sorted(found, key=lambda judged: judged.protocol != "subject"))


def _refuse_twice(own: Sequence[Path], others: Sequence[Path]) -> None:
    """Refuse an evaluation that the card would show twice, also as a copy."""
    seen: dict[str, Path] = {}
    for folder in (*own, *others):
        file = folder / "metrics.json"
        if not file.is_file():
            continue  # ``evaluation_entry`` refuses it
        content = sha256_of(file)
        if content not in seen:
            seen[content] = folder
            continue
        first = seen[content]
        what = (
            f"{folder} is the model's own evaluation, which the card has without it"
            if first in own
            else f"{folder} and {first} are the same evaluation"
        )
        raise BlastscopeError(f"{what}: give each evaluation once.")


def environment_of(path: Path) -> dict[str, Any]:
    """Read a run's ``environment.json``; empty if it has none."""
    file = path / "environment.json"
    return read_json(file) if file.is_file() else {}


def machine_of(environment: dict[str, Any]) -> Machine | None:
    """Read the code and machine of a run; None of a run of an earlier version."""
    code = environment.get("code")
    if not isinstance(code, dict):
        return None
    keys = ("python", "platform", "processor", "device", "threads")
    about = {key: environment.get(key) for key in keys}
    try:
        return Machine.model_validate({**about, "commit": code["commit"], "dirty": code["dirty"]})
    except (KeyError, ValueError) as error:
        raise BlastscopeError(
            "The run's environment.json does not say what trained it: train again, into a new "
            "folder."
        ) from error
