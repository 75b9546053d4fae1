"""Export a run as one ONNX file, if all engines agree on its probabilities."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blastscope import DISCLAIMER, __version__
from blastscope.data.store import Store
from blastscope.errors import BlastscopeError
from blastscope.export.check_cells import (
    Progress,
    cells_for,
    parts_for_int8,
    sample,
    training_known,
)
from blastscope.export.engine_check import EngineMeasurement, compare_engines, refuse_difference
from blastscope.export.onnx_graph import onnx_graph
from blastscope.export.quantization import PrecisionCost, int8_cost, quantize
from blastscope.io.files import replacing
from blastscope.models.dihedral import count_views
from blastscope.training.finished_run import FinishedRun

SUFFIX = ".onnx"


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path  # the ONNX file, which stands alone
    engines: tuple[EngineMeasurement, ...]  # the measurement of each engine on the cells
    int8: Path | None = None  # the file in int8; None if it was not requested
    costs: tuple[PrecisionCost, ...] = ()  # fp32 and int8 on labelled cells; empty likewise
    calibrated_on: int = 0  # how many cells set the ranges of int8
    training_known: bool = True  # whether the network records which cells it was trained on


def export_run(
    run: FinishedRun,
    out: Path,
    cells: Path,
    *,
    force: bool = False,
    int8: bool = False,
    on_progress: Progress | None = None,
) -> Exported:
    """Write a run's network as an ONNX file with its weights in it, in single precision.

    It takes prepared cells and gives logits and p(ALL) (see ``export.onnx_graph``), not calibrated:
    a ``decision.json`` is not in it. With ``int8`` the network in int8 goes beside it, as
    ``<name>-int8.onnx``, and its cost on labelled cells is measured. Engines must agree on
    ``cells``, a store or a folder of cell images. ``on_progress`` is called with the images
    prepared, and their total.

    Raises:
        BlastscopeError: if ``out`` does not end in .onnx or is there already, the cells cannot
            be used or, with ``int8``, are those that a bundle was made from, the network cannot
            be exported, or engines do not agree; nothing is written.
    """
    if out.suffix.lower() != SUFFIX:
        raise BlastscopeError(f"{out} does not end in {SUFFIX}: choose another name.")
    small = out.with_name(f"{out.stem}-int8{SUFFIX}") if int8 else None
    for path in (out, small):
        if path is not None and path.exists() and not force:
            raise BlastscopeError(f"{path} is there already: choose another name, or give --force.")
    views, size = run.recipe.prediction.views, run.settings.size
    with cells_for(run, cells, on_progress) as store:
        model = onnx_graph(run.classifier(), views, size, metadata=metadata_of(run))
        pixels = np.array(store.pixels[sample(np.arange(len(store)))])
        engines = compare_engines(run, model, pixels)
        refuse_difference(run, engines)
        if small is None:
            _write({out: model})
            return Exported(out, engines)
        reduced, costs, cells_used = _reduced(run, model, store)
    _write({out: model, small: reduced})
    return Exported(out, engines, small, costs, cells_used, training_known(run))


def _reduced(
    run: FinishedRun, model: bytes, store: Store
) -> tuple[bytes, tuple[PrecisionCost, ...], int]:
    """Return the network in int8, what it costs, and how many cells set its ranges."""
    ranges, labelled, is_all = parts_for_int8(run, store)
    views = count_views(run.recipe.prediction.views)
    reduced = quantize(model, store.pixels[ranges], views)
    return reduced, int8_cost(model, reduced, store.pixels[labelled], is_all), len(ranges)


def _write(files: dict[Path, bytes]) -> None:
    for path, content in files.items():
        with replacing(path) as beside:
            beside.write_bytes(content)


def metadata_of(run: FinishedRun) -> dict[str, str]:
    """Return the metadata of a run's ONNX file."""
    return {
        "blastscope": __version__,
        "recipe": run.recipe.name,
        "checkpoint": run.checkpoint,
        "cells": json.dumps(run.settings.as_json()),
        "synthetic": json.dumps(run.synthetic),
        "disclaimer": DISCLAIMER,
    }
