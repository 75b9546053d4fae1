"""Two small runs that differ in all that a run may differ in, for tests that apply runs."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from blastscope.data.preparation import prepare
from blastscope.data.splits import make_split
from blastscope.data.store import StoreSettings
from blastscope.io.predictions import read_predictions
from blastscope.recipes.library import load_recipe
from blastscope.training.train import train
from tests.conftest import draw_cell, write_cell
from tests.training.conftest import RECIPE


class Trained(NamedTuple):
    run: Path
    other: Path
    """A run of other weights, at another size and with CLAHE."""
    images: dict[str, Path]
    """The file of each cell."""

    def p_all(self, run: Path) -> dict[str, float]:
        """What a run's training said of each cell."""
        frame, _ = read_predictions(run / "predictions.parquet")
        return dict(frame.select("cell", "p_all").iter_rows())


def train_two(root: Path) -> Trained:
    """Draw 24 cells under ``root`` and train two networks on them."""
    for k in range(24):
        label, subject = ("all", f"{k // 4 + 1}") if k % 2 else ("hem", f"H{k // 4 + 1}")
        pixels = draw_cell(k, 120, 30 if k % 2 else 22)
        write_cell(root / "data" / label / f"UID_{subject}_{k}_1_{label}.bmp", pixels)
    (root / "tiny.yaml").write_text(RECIPE)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    runs = []
    for size, clahe in ((32, False), (40, True)):
        settings = StoreSettings(size=size, clahe=clahe)
        store = prepare([root / "data"], root / f"store{size}", settings).path
        changes = [f"input.size={size}", f"input.clahe={str(clahe).lower()}", "training.epochs=2"]
        recipe = load_recipe(str(root / "tiny.yaml"), changes)
        split = make_split(store, "subject", 3)[0]
        runs.append(train(recipe, store, split, root / f"run{size}", device="cpu").path)
    torch.set_num_threads(threads)
    return Trained(*runs, {path.stem: path for path in root.glob("data/*/*.bmp")})
