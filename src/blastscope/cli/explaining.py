"""The verbs on what decides a call: heatmaps, their audit, the stress test."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import blastscope as bs
from blastscope.cli.options import (
    AsJson,
    Device,
    Grid,
    Layers,
    Part,
    ReportFolder,
    RunFolders,
    StoreFolder,
    argument,
    option,
)
from blastscope.cli.output import show

DATA = option("A folder of cell images, or a store; once for each.", "DIR")


def explain(
    models: RunFolders,
    out: ReportFolder,
    cells: Annotated[
        list[str],
        option("A cell's name in --data, or an image file; once for each cell.", "NAME|FILE"),
    ],
    data: Annotated[list[Path] | None, DATA] = None,
    methods: Annotated[
        str,
        option(
            "Methods of attribution; without occlusion it is quick, but no deletion and "
            "insertion curves are measured.",
            "LIST",
        ),
    ] = "grad-cam,grad-cam++,occlusion",
    layers: Layers = None,
    grid: Grid = 5,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Show heatmaps of cells, for ALL and for normal."""
    found = bs.explain(
        models,
        cells,
        out=out,
        data=data,
        methods=[method.strip() for method in methods.split(",") if method.strip()],
        layers=layers or None,
        grid=grid,
        device=device,
        progress=True,
    )
    show(found, as_json)


def audit(
    models: RunFolders,
    out: ReportFolder,
    data: Annotated[list[Path], DATA],
    part: Part = "test",
    layers: Layers = None,
    grid: Grid = 5,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Audit explanations: can the heatmaps be believed?

    It measures every method on a whole split part. If it is interrupted, the same command goes on
    where it stopped.
    """
    found = bs.audit_explanations(
        models,
        part,
        data=data or (),
        out=out,
        layers=layers or None,
        grid=grid,
        device=device,
        progress=True,
    )
    show(found, as_json)


def stress(
    models: Annotated[
        list[str],
        argument("Runs, or folders of crossval; NAME=PATH gives a model another name.", "MODEL"),
    ],
    store: StoreFolder,
    out: ReportFolder,
    part: Part = "test",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure robustness: what other stain, focus or light costs.

    If it is interrupted, the same command goes on where it stopped.
    """
    show(bs.stress_test(models, store, part, out=out, device=device, progress=True), as_json)
