"""One experiment on the page of a reproduction: the paper's own tables, figures and network."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from blastscope.errors import BlastscopeError
from blastscope.report.reproduction_data import Experiment
from blastscope.report.reproduction_result import RunResult, RunWeights
from blastscope.report.reproduction_settings import unlike_settings
from blastscope.report.text import PROTOCOLS, number, protocol_name, signed

LEARNING = {
    "train_loss": "training loss",
    "train_accuracy": "training accuracy",
    "val_loss": "validation loss",
    "val_accuracy": "validation accuracy",
}
TEST = {
    "precision_hem": "precision, normal",
    "precision_all": "precision, ALL",
    "recall_hem": "recall, normal",
    "recall_all": "recall, ALL",
    "weighted_f1": "weighted F1",
    "auc": "AUC",
}
PICTURES = {
    "learning-curves": "Learning curves",
    "confusion-matrix": "Confusion matrix",
    "roc": "ROC curve",
}
MAX_PICTURE_BYTES = 4 * 2**20


@dataclass(frozen=True)
class PaperTable:
    """One of the paper's tables: columns, and rows of (name, kind, figures).

    ``kind`` is ``paper``, ``own`` or ``difference``.
    """

    columns: Sequence[str]
    rows: Sequence[tuple[str, str, Sequence[str]]]


@dataclass(frozen=True)
class ExperimentSection:
    """What the page shows of one experiment: the first seed of each protocol."""

    experiment: Experiment
    tables: Sequence[PaperTable]
    pictures: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    """For each protocol, its name and (alternative text, data URI) of each figure."""
    network: Mapping[str, Any] | None
    settings: Sequence[tuple[str, str]]
    """(runs, their settings) where not all runs have the same; else empty."""
    weights: Sequence[tuple[RunWeights, str]]
    """(file, runs that began with it), the runs left empty where all did."""
    links: Sequence[tuple[str, str]]
    """(words, link) of every run's own report, relative to the page."""


def experiment_section(experiment: Experiment, base: Path, *, synthetic: bool) -> ExperimentSection:
    """Collect what the page shows of an experiment that was run.

    Args:
        experiment: with at least one result.
        base: the folder of the page, that links start from.
        synthetic: leaves the published figures out: they are of real cells.

    Raises:
        BlastscopeError: where a figure of a run cannot be read.
    """
    first = {name: result for name in PROTOCOLS if (result := experiment.first(name))}
    networks = (result.notes.network for result in first.values())
    return ExperimentSection(
        experiment,
        [_table(names, experiment, first, synthetic) for names in (LEARNING, TEST)],
        [(protocol_name(name), _pictures(result)) for name, result in first.items()],
        next((network for network in networks if network), None),
        unlike_settings(experiment),
        _initial_weights(experiment),
        [(result.name, _link(result, base)) for result in experiment.all_results],
    )


def _table(
    names: Mapping[str, str],
    experiment: Experiment,
    first: Mapping[str, RunResult],
    synthetic: bool,
) -> PaperTable:
    published = {key: None if synthetic else experiment.published(key) for key in names}
    figures = {protocol: result.figures for protocol, result in first.items()}
    rows: list[tuple[str, str, Sequence[str]]] = []
    if any(value is not None for value in published.values()):
        # The paper's AUC stands on its plots, with two digits.
        texts = [number(v, 2 if key == "auc" else 4) for key, v in published.items()]
        rows.append(("the paper", "paper", texts))
    for protocol, own in figures.items():
        rows.append((first[protocol].name, "own", [number(own.get(key)) for key in names]))
    if rows and rows[0][1] == "paper" and "image" in figures:
        rows.append(_difference("image-level minus the paper", names, figures["image"], published))
    if experiment.comparable and first["image"].seed == first["subject"].seed:
        text = "subject-disjoint minus image-level"
        rows.append(_difference(text, names, figures["subject"], figures["image"]))
    return PaperTable([*names.values()], rows)


def _difference(
    name: str,
    keys: Mapping[str, str],
    first: Mapping[str, float | None],
    second: Mapping[str, float | None],
) -> tuple[str, str, Sequence[str]]:
    texts = []
    for key in keys:
        a, b = first.get(key), second.get(key)
        texts.append(signed(None if a is None or b is None else a - b))
    return name, "difference", texts


def _initial_weights(experiment: Experiment) -> list[tuple[RunWeights, str]]:
    began: dict[RunWeights, list[str]] = {}
    for result in experiment.all_results:
        if result.initial_weights is not None:
            began.setdefault(result.initial_weights, []).append(result.name)
    everyone = len(experiment.all_results)
    return [
        (weights, "" if len(names) == everyone else "; ".join(names))
        for weights, names in began.items()
    ]


def _pictures(result: RunResult) -> list[tuple[str, str]]:
    paths = {name: result.run / "figures" / f"{name}.png" for name in PICTURES}
    return [(PICTURES[name], _small_png(path)) for name, path in paths.items() if path.is_file()]


def _small_png(path: Path) -> str:
    """Inline a figure in few colours: a third of its bytes, a fifth of its SVG's.

    A page of sixty experiments under two protocols holds 360 of them.
    """
    try:
        if path.stat().st_size > MAX_PICTURE_BYTES:
            raise BlastscopeError(
                f"{path} is larger than a figure of ours: evaluate its run again."
            )
        with Image.open(io.BytesIO(path.read_bytes()), formats=["PNG"]) as picture:
            method = Image.Quantize.FASTOCTREE
            small = picture.convert("RGB").quantize(48, method, dither=Image.Dither.NONE)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BlastscopeError(f"{path} is no picture ({error}): evaluate its run again.") from error
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _link(result: RunResult, base: Path) -> str:
    return quote(Path(os.path.relpath(result.run / "report.html", base)).as_posix())
