"""Stress-test models: what a change of stain, focus or light costs, and what looks like no cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from blastscope.data.store import Store, open_store
from blastscope.engines.torch_engine import choose_device
from blastscope.io.files import read_json, write_text
from blastscope.io.tables import write_table
from blastscope.io.workfolder import FolderKind, WorkFolder, refuse_foreign
from blastscope.report import robustness_page
from blastscope.report.evaluation_text import sampling_text
from blastscope.report.robustness_page import stress_html
from blastscope.report.text import metric, percent
from blastscope.robustness.metrics import STRESS, table
from blastscope.robustness.models import TestedModel, open_tested
from blastscope.robustness.perturbations import PERTURBATIONS
from blastscope.robustness.step_predictions import FOLDER, PartialStressTest
from blastscope.robustness.stress_file import CONTENT, FORMAT
from blastscope.robustness.summary import ModelRobustness, as_json, summarize

TABLE = "stress.parquet"
_KIND = FolderKind(CONTENT, FORMAT, ("report.html", TABLE))


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
                drops = (metric(at.drops[name], 3) for name in ("auc", "weighted_f1"))
                shares = (percent(x) for x in (at.calls_changed, at.out_of_distribution))
                value = robustness_page.value_text(one, at.step.value or 0)
                rows.append((one.shown, value, *drops, *shares))
            title = f"{model.model}, {model.cells:,} cells"
            tables.append(TextTable.of(("perturbation", *heads), rows, title))
        return tables

    def answers(self) -> list[str]:
        """Say what costs most."""
        text = robustness_page
        told = ((text.verdict_text(model), *text.model_text(model)) for model in self.models)
        return [sentence for sentences in told for sentence in sentences]

    def notes(self) -> list[str]:
        """Say what the intervals are of."""
        said = dict.fromkeys(sampling_text(model.found.sampling) for model in self.models)
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
        BlastscopeError: if a model or the store does not fit, or ``out`` holds something else, or a
            test of other models, or cannot be written.
    """
    requested = out
    out, keeper = out_or_temporary(requested)
    refuse_foreign(out, CONTENT, _KIND.writes)
    opened = open_store(Path(store))
    tested = open_tested(as_run_paths(models), opened, part)
    folder = WorkFolder(out, _KIND, _identity(tested, opened, part))
    with folder.locked():
        folder.open_or_resume()
        parts = PartialStressTest(out / FOLDER, tested, opened, choose_device(device))
        with showing("Stress test", progress) as advance:
            parts.fill(advance)
        found = summarize(parts)
        rows = pl.concat([table(one.model, one.cells, one.found) for one in found])
        synthetic = opened.synthetic or any(model.synthetic for model in tested)
        write_table(rows, out / TABLE, STRESS, {"part": part, "synthetic": synthetic})
        folder.record({"part": part, "synthetic": synthetic, "models": as_json(found, tested)})
        page = stress_html(
            found, tested[0].cells, opened, out / "figures", part, synthetic=synthetic
        )
        write_text(out / "report.html", page)
    return StressResult(found, rows, path=None if keeper else out, keeper=keeper)


def _identity(models: Sequence[TestedModel], store: Store, part: str) -> dict[str, Any]:
    networks = [[model.name, *(one.run.checkpoint for one in model.members)] for model in models]
    return {"models": networks, "store": store.fingerprint, "part": part}
