"""A bundle of a small run, and labelled cells of other subjects, for all tests here."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from blastscope.api.bundle import make_bundle
from blastscope.api.evaluate import evaluate
from blastscope.data.preparation import prepare
from blastscope.data.splits import make_split
from blastscope.data.store import StoreSettings
from blastscope.recipes.library import load_recipe
from blastscope.training.train import train
from tests.conftest import draw_cell, write_cell
from tests.training.conftest import RECIPE


class Laboratory(NamedTuple):
    bundle: Path
    """Of a small run, with a decision."""
    run: Path
    cells: Path
    """96 labelled cells of four subjects of each class."""


def draw_tinted(root: Path, subjects: int, each: int, first: int, light: float = 1.0) -> Path:
    """Draw cells whose classes differ in red and green, with some overlap; ``light`` dims all."""
    for number in range(first, first + subjects):
        for label, subject, tint in (
            ("all", f"{number}", (1.25, 0.75, 1.0)),
            ("hem", f"H{number}", (0.8, 1.2, 1.0)),
        ):
            for k in range(each):
                seed = 1000 * number + 2 * k + (label == "all")
                noise = np.random.default_rng(seed).normal(1, 0.12, 3)
                pixels = draw_cell(seed, 60, 20) * (np.array(tint) * noise * light)
                path = root / label / f"UID_{subject}_{k}_1_{label}.bmp"
                write_cell(path, np.clip(pixels, 0, 255).astype(np.uint8))
    return root


@pytest.fixture(scope="session")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    root = tmp_path_factory.mktemp("laboratory")
    (root / "tiny.yaml").write_text(RECIPE)
    recipe = load_recipe(str(root / "tiny.yaml"), ["training.epochs=6"])
    cells = draw_tinted(root / "training", 6, 8, 1)
    store = prepare([cells], root / "store", StoreSettings(size=32)).path
    torch.set_num_threads(1)
    run = train(recipe, store, make_split(store, "subject", 3)[0], root / "run", device="cpu").path
    evaluate(run, out=run)
    bundle = make_bundle(run, root / "model").path
    return Laboratory(bundle, run, draw_tinted(root / "cells", 4, 12, 20, 0.7))
