"""One cell in front of the paper's four kinds of network: how long its 2 × 2 panel takes.

Rival: Grad-CAM as it is usually written: hooks on the layer, a pass through the network that keeps
everything for the gradient, and the gradient of all of it; maps alone, nothing drawn. Limit: the
networks' passes for the four probabilities and nothing else. The panel's time has everything after
loading: the probabilities, the maps, their shares by region, and the drawn PNG.

    python benchmarks/explain_panel.py [--models RUN...] [--cell FILE] [--threads 2]

Without ``--models`` the paper's best recipe of each kind at its own size, with random weights;
without ``--cell`` a synthetic cell.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from blastscope.data.store import StoreSettings
from blastscope.data.synthetic import write_synthetic
from blastscope.explanation.cells import ExplainedCells, find_cells, prepare_cells
from blastscope.explanation.explain import explain_cells
from blastscope.explanation.models import ExplainedModel, ExplainedModels, open_models
from blastscope.explanation.result import CellExplained
from blastscope.models.classifier import build_model
from blastscope.process import tune_process
from blastscope.recipes.library import load_recipe
from blastscope.report.explanation_plots import attribution_panel, png

RECIPES = ("paper/vgg16-e12", "paper/cnn-exp2", "paper/mobilenetv2-e7", "paper/resnet50-cut-ft8")
CPU = torch.device("cpu")


def main() -> None:
    asked = _arguments()
    torch.set_num_threads(asked.threads)
    tune_process()
    explained = open_models(asked.models, CPU) if asked.models else _random()
    with tempfile.TemporaryDirectory() as folder:
        dataset = _dataset(asked.cell, explained, Path(folder))
        loaded = [(model, model.opened, _images(model, dataset)) for model in explained.models]
        panel = _best(lambda: png(attribution_panel(_maps(explained, dataset))))
        maps = _best(lambda: _maps(explained, dataset))
        rival = _best(lambda: [_usual(model, images) for model, _, images in loaded])
        limit = _best(lambda: [model.logits(images) for model, _, images in loaded])
    table = Table("", "seconds", "of the limit")
    for name, seconds in (
        ("four panels, drawn", panel),
        ("four maps with their figures, not drawn", maps),
        ("four maps, the usual way", rival),
        ("four probabilities alone", limit),
    ):
        table.add_row(name, f"{seconds:.2f}", f"{seconds / limit:.1f}×")
    console = Console()
    names = ", ".join(f"{model.name} at {model.size} px" for model in explained.models)
    console.print(f"{names}; {asked.threads} threads, the best of five")
    console.print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", metavar="RUN", help="runs, or an ensemble")
    parser.add_argument("--cell", metavar="FILE", help="an image")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def _random() -> ExplainedModels:
    models = []
    for name in RECIPES:
        recipe = load_recipe(name)
        settings = StoreSettings(recipe.input.size, recipe.input.scale, recipe.input.clahe)
        classifier = build_model(recipe, pretrained=False)
        run: Any = SimpleNamespace(
            path=Path(name),
            settings=settings,
            recipe=recipe,
            classifier=lambda classifier=classifier: classifier,
        )
        models.append(ExplainedModel(name, run, CPU))
    return ExplainedModels(tuple(models), None, "4 models", synthetic=True)


def _dataset(cell: str | None, explained: ExplainedModels, folder: Path) -> ExplainedCells:
    if cell is None:
        write_synthetic(folder / "cells", 8, 2, 24)
        cell = str(next((folder / "cells").rglob("*.bmp")))
    settings = [model.settings for model in explained.models]
    return prepare_cells(find_cells([cell], []), settings, folder / "work")


def _images(model: ExplainedModel, dataset: ExplainedCells) -> torch.Tensor:
    return dataset.images(model.settings, [0])


def _maps(explained: ExplainedModels, dataset: ExplainedCells) -> CellExplained:
    return next(explain_cells(explained, dataset, ("grad-cam",)))


def _usual(model: ExplainedModel, images: torch.Tensor) -> torch.Tensor:
    """Hook the layer, run all of the network for the gradient of all its weights."""
    kept: list[torch.Tensor] = []
    network = model.classifier.requires_grad_(True)
    hook = network.backbone.register_forward_hook(lambda *said: kept.append(said[2]))
    try:
        logits = network(images.float().requires_grad_(True))
        kept[0].retain_grad()
        logits.sum().backward()
    finally:
        hook.remove()
        network.requires_grad_(False)
        network.zero_grad()
    slope = kept[0].grad
    assert slope is not None
    return (slope.mean(dim=(2, 3), keepdim=True) * kept[0]).sum(dim=1).detach()


def _best(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


if __name__ == "__main__":
    main()
