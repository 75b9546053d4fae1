"""A stress test: predicted, summed up, and laid on one page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from blastscope.data.crop import Pixels, resize
from blastscope.data.names import ALL
from blastscope.data.store import Store, open_store
from blastscope.engines.torch_engine import choose_device
from blastscope.errors import BlastscopeError
from blastscope.explanation.audit.words import bounds_of, figure
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


@dataclass(frozen=True)
class Stressed:
    """What was found, and where its page is."""

    models: tuple[ModelRobustness, ...]
    path: Path


def stress_to_folder(
    given: Sequence[str | Path],
    store: Path,
    out: Path,
    part: str = "test",
    *,
    device: str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
) -> Stressed:
    """Change a part's cells step by step, predict them, and report what it costs.

    Writes ``stress.parquet``, ``stress.json``, ``figures/stress-*`` and ``report.html``. What is
    predicted stays in ``predictions/``, so that a test that was killed goes on.

    Args:
        given: folders of runs or cross-validations, each perhaps as ``NAME=PATH``.
        store: the prepared cells.
        out: the folder to write to.
        part: of the runs' own splits.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        on_progress: called with the cells done, each once a step, and their total.

    Raises:
        BlastscopeError: where a model or the store does not fit, or ``out`` is something else's, or
            of other models, or cannot be written.
    """
    refuse_foreign(out, CONTENT, ["report.html", TABLE])
    opened = open_store(store)
    models = open_tested(given, opened, part)
    identity = _identity(models, opened, part)
    with only_one(out.absolute()):
        _begin(out, identity)
        parts = PartialStressTest(out / FOLDER, models, opened, choose_device(device))
        parts.fill(on_progress)
        found = summarise(parts)
        rows = pl.concat([table(one.model, one.cells, one.found) for one in found])
        synthetic = opened.synthetic or any(model.synthetic for model in models)
        write_table(rows, out / TABLE, STRESS, {"part": part, "synthetic": synthetic})
        content = {"format": FORMAT, "identity": identity, "part": part, "synthetic": synthetic}
        write_json(out / CONTENT, {**content, "models": as_json(found)})
        _write_page(found, models, opened, out, part, synthetic)
    return Stressed(found, out / "report.html")


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
