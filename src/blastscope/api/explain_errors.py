"""Explain errors: write a page with heatmaps for each cell that the error galleries show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from blastscope.api.explain import cell_pages
from blastscope.engines.torch_engine import choose_device
from blastscope.ensemble.ensemble_folder import read_ensemble
from blastscope.error_analysis.analysis import ErrorAnalysis
from blastscope.errors import BlastscopeError
from blastscope.evaluation.aligned_predictions import ModelSource, name_and_path
from blastscope.evaluation.sources import ENSEMBLE
from blastscope.explanation.cells import find_cells
from blastscope.explanation.models import ExplainedModels, open_models
from blastscope.report.errors_page import make_galleries
from blastscope.report.explanation_page import page_names

METHODS = ("grad-cam", "grad-cam++")
"""Two passes per cell and network; occlusion, in ``blastscope explain``, takes a hundred."""


def write_error_pages(
    models: Sequence[str | Path],
    analysis: ErrorAnalysis,
    store: Path,
    out: Path,
    device: str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[int, str]:
    """Write ``cells/<name>.html`` for every cell that a gallery shows.

    Args:
        models: the inputs of the analysis: runs, or an ensemble with or without its members. The
            pages call the models as the analysis does.
        store: the store of these cells; their images must be where they were.

    Returns:
        The address of each page from the report, by the cell's row in the analysis.
    """
    networks = _networks(models)
    galleries = make_galleries(analysis)
    rows = sorted({shown.row for gallery in galleries for shown in gallery.cells})
    if not rows:
        return {}
    opened = open_models(networks, choose_device(device))
    explained = _as_analysed(opened, networks, analysis.scores.members)
    cells = [analysis.scores.cells["cell"][row] for row in rows]
    names, row_of = page_names(cells), dict(zip(cells, rows, strict=True))
    pages = cell_pages(
        explained, find_cells(cells, [store]), out, names, METHODS,
        back=lambda cell: f"../report.html#cell-{row_of[cell]}", on_progress=on_progress,
    )  # fmt: skip
    return {row_of[cell.file.cell]: f"cells/{names[cell.file.cell]}.html" for cell, _ in pages}


def _networks(models: Sequence[str | Path]) -> list[str | Path]:
    """Return what can be explained: the runs, or the one ensemble, whose members are runs."""
    paths = [name_and_path(text)[1] for text in models]
    for path in paths:
        if not path.is_dir():
            raise BlastscopeError(
                f"{path} is a table of predictions, and `explain` needs networks: give run folders "
                "or an ensemble, or leave `explain` out."
            )
    pairs = zip(models, paths, strict=True)
    ensembles = [text for text, path in pairs if (path / ENSEMBLE).is_file()]
    if len(ensembles) > 1:
        raise BlastscopeError(
            f"`explain` takes one ensemble, but {ensembles[0]} and {ensembles[1]} are both "
            "ensembles: leave one of them out."
        )
    if not ensembles:
        return list(models)
    ensemble = name_and_path(ensembles[0])[1]
    inside = {(ensemble / one.path).resolve() for one in read_ensemble(ensemble).members}
    for path in paths:
        if path != ensemble and path.resolve() not in inside:
            raise BlastscopeError(
                f"{path} is not a member of the ensemble {ensemble}, and `explain` takes an "
                "ensemble with its members only: leave one of the two out."
            )
    return ensembles


def _as_analysed(
    explained: ExplainedModels, networks: Sequence[str | Path], members: Sequence[ModelSource]
) -> ExplainedModels:
    """Give the models the names that they have in the report of the errors."""
    names = {one.path.resolve(): one.name for one in members if one.path is not None}
    called = [names.get(model.run.path.resolve(), model.name) for model in explained.models]
    if len(set(called)) < len(called):  # a given name is that of another member of the ensemble
        return explained
    models = tuple(
        replace(model, name=name) for model, name in zip(explained.models, called, strict=True)
    )
    title = explained.name
    if explained.combination is not None:
        title = names.get(name_and_path(networks[0])[1].resolve(), title)
    return replace(explained, models=models, name=title)
