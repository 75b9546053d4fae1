"""Stress-test models: what a change of stain, focus or light costs, and what looks like no cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from blastscope.api.result import (
    AnyPath,
    FolderResult,
    Progress,
    TextTable,
    out_or_temporary,
    showing,
)
from blastscope.api.tables import as_run_paths
from blastscope.data.crop import Pixels, resize
from blastscope.data.names import ALL
from blastscope.data.store import Store, open_store
from blastscope.engines.torch_engine import choose_device
from blastscope.errors import BlastscopeError
from blastscope.explanation.audit.words import bounds_of, figure, told
from blastscope.io.files import only_one, read_json, write_json, write_text
from blastscope.io.tables import write_table
from blastscope.io.workfolder import refuse_foreign
from blastscope.report.html import render, small_uri, svg_uri
from blastscope.report.robustness_plots import SHOWN, draw_stress
from blastscope.robustness.metrics import STRESS, table
from blastscope.robustness.models import TestedModel, open_tested
from blastscope.robustness.perturbation_plan import PERTURBATIONS, Step, steps
from blastscope.robustness.step_predictions import FOLDER, PartialStressTest
from blastscope.robustness.summary import NOTICED, ModelRobustness, as_json, summarise

FORMAT = "blastscope-stress/1"
CONTENT, TABLE = "stress.json", "stress.parquet"
_SHOWN_SIDE = 96


@dataclass(frozen=True, eq=False, repr=False)
class StressResult(FolderResult):
    """What a change of stain, focus or light costs each model.

    Attributes:
        models: the metrics at every step.
        metrics: a row for each model and step.
    """

    models: tuple[ModelRobustness, ...]
    metrics: pl.DataFrame

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each model and step (docs/formats.md)."""
        return self.metrics

    def as_json(self) -> dict[str, Any]:
        """The content of ``stress.json``."""
        return read_json(self.place / CONTENT)

    def tables(self) -> list[TextTable]:
        """Return what each perturbation costs at worst, a table a model."""
        heads = ("worst at", "AUC falls by", "weighted F1 falls by", "calls changed", "OOD")
        tables = []
        for model in self.models:
            rows = []
            for one in PERTURBATIONS:
                at = model.worst(one)
                drops = (told(at.drops[name], 3) for name in ("auc", "weighted_f1"))
                shares = (
                    figure(x, 1, percent=True) for x in (at.calls_changed, at.out_of_distribution)
                )
                rows.append((one.shown, one.told(at.step.value or 0), *drops, *shares))
            title = f"{model.model}, {model.cells:,} cells"
            tables.append(TextTable.of(("perturbation", *heads), rows, title))
        return tables

    def answers(self) -> list[str]:
        """Say what costs most."""
        return [sentence for model in self.models for sentence in model.sentences]

    def notes(self) -> list[str]:
        """Say what the intervals are of."""
        said = dict.fromkeys(model.found.sentence for model in self.models)
        return [f"Intervals: {sentence}" for sentence in said]


def stress_test(
    models: AnyPath | Iterable[AnyPath] | Mapping[str, AnyPath],
    store: AnyPath,
    part: str = "test",
    *,
    out: AnyPath | None = None,
    device: str = "auto",
    progress: Progress = False,
) -> StressResult:
    """Measure robustness: perturb a part's cells step by step, and what each step costs.

    With ``out`` it writes ``stress.parquet``, ``stress.json``, ``figures/stress-*`` and
    ``report.html``; what is predicted stays in ``predictions/``, so that a killed test goes on.
    Without ``out`` the files lie in a temporary folder until ``save`` is called.

    Args:
        models: runs or cross-validations: paths, ``NAME=PATH``, or a mapping of names.
        store: the prepared cells.
        part: of the runs' own splits.
        out: the folder to write to.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        progress: show a progress bar; or a function to call with how much is done and of how much.

    Returns:
        The metrics at every step.

    Raises:
        BlastscopeError: if a model or the store does not fit, or ``out`` holds something else, or
            a test of other models, or cannot be written.
    """
    requested = out
    out, keeper = out_or_temporary(requested)
    refuse_foreign(out, CONTENT, ["report.html", TABLE])
    opened = open_store(Path(store))
    tested = open_tested(as_run_paths(models), opened, part)
    identity = _identity(tested, opened, part)
    with only_one(out.absolute()):
        _begin(out, identity)
        parts = PartialStressTest(out / FOLDER, tested, opened, choose_device(device))
        with showing("Stress test", progress) as advance:
            parts.fill(advance)
        found = summarise(parts)
        rows = pl.concat([table(one.model, one.cells, one.found) for one in found])
        synthetic = opened.synthetic or any(model.synthetic for model in tested)
        write_table(rows, out / TABLE, STRESS, {"part": part, "synthetic": synthetic})
        content = {"format": FORMAT, "identity": identity, "part": part, "synthetic": synthetic}
        write_json(out / CONTENT, {**content, "models": as_json(found)})
        _write_page(found, tested, opened, out, part, synthetic)
    return StressResult(found, rows, path=None if keeper else out, keeper=keeper)


def _identity(models: Sequence[TestedModel], store: Store, part: str) -> dict[str, Any]:
    networks = [[model.name, *(one.run.checkpoint for one in model.members)] for model in models]
    return {"models": networks, "store": store.fingerprint, "part": part}


def _begin(out: Path, identity: dict[str, Any]) -> None:
    """Lay the folder down, or go on with the one that is there.

    Raises:
        BlastscopeError: where it is of other models or cells.
    """
    path = out / CONTENT
    if not path.is_file():
        write_json(path, {"format": FORMAT, "identity": identity})
        return
    if read_json(path).get("identity") != identity:
        raise BlastscopeError(
            f"{out} holds a stress test of other models or cells ({CONTENT}), which would be lost: "
            "choose another folder with --out, or remove it."
        )


def _write_page(
    found: tuple[ModelRobustness, ...],
    models: Sequence[TestedModel],
    store: Store,
    out: Path,
    part: str,
    synthetic: bool,
) -> None:
    pictures = draw_stress(found, out / "figures")
    page = render(
        "stress.html",
        title="Stress test",
        synthetic=synthetic,
        part=part,
        models=found,
        shown=SHOWN,
        perturbations=PERTURBATIONS,
        noticed=NOTICED,
        bounds_of=bounds_of,
        figure=figure,
        pictures={name: svg_uri(path) for name, path in pictures.items()},
        example=_example(models[0], store),
    )
    write_text(out / "report.html", page)


def _example(model: TestedModel, store: Store) -> dict[str, Any]:
    """One cell of the user's own, the first that is labelled ALL, at every step."""
    cells = model.cells.sort(pl.col("label") != ALL, "cell")
    picture = np.array(store.pixels[[cells["row"][0]]])
    strips: dict[str, list[tuple[str, str]]] = {one.shown: [] for one in PERTURBATIONS}
    for step in steps():
        if step.perturbation is not None and step.value is not None:
            shown = (step.perturbation.told(step.value), _uri(step, picture))
            strips[step.perturbation.shown].append(shown)
    return {"cell": cells["cell"][0], "own": _uri(Step(0), picture), "strips": strips}


def _uri(step: Step, picture: Pixels) -> str:
    changed: Pixels = step(picture)[0]
    return small_uri(resize(changed, _SHOWN_SIDE) if len(changed) > _SHOWN_SIDE else changed)
