"""An ensemble of four networks on image files, against four predictions and the sum of networks.

The paper's four: VGG16 cut, ResNet-50 cut twice, the network from scratch (sections 3.2, 3.3), with
random weights, which changes nothing in what is computed, as one bundle. Rival: the same four as
bundles of their own, one prediction after the other, each decoding every file again. Limit: the
four networks in ONNX Runtime, one after the other, on cells that are prepared and lie in memory.
All run in processes of their own.

    python benchmarks/ensemble_of_four.py [--data DIR] [--cells 96]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import arguments, link_cells, machine, some_cells, table, watched

from blastscope.api.bundle import make_bundle
from blastscope.api.fit_ensemble import fit_ensemble
from blastscope.data.crop import Pixels
from blastscope.data.layouts import list_cells
from blastscope.data.preparation import prepare
from blastscope.data.splits import make_split
from blastscope.data.store import StoreSettings, open_store
from blastscope.engines.engine import mean_probability
from blastscope.engines.onnx_engines import OnnxRuntimeEngine
from blastscope.parallel import cores
from blastscope.prediction.members import open_network
from blastscope.prediction.predict import predict
from blastscope.process import tune_process
from blastscope.recipes.library import load_recipe
from blastscope.training.finished_run import FinishedRun
from blastscope.training.train import train

MEMBERS = ("paper/vgg16-e7", "paper/resnet50-cut-e2", "paper/cnn-exp2", "paper/resnet50-cut-e4")
ROUNDS = 2
NAMES = {
    "limit": "the four networks, cells in memory",
    "ours": "`predict` of the ensemble: files to table",
    "rival": "four `predict`s, one after the other",
}


def main() -> None:
    if sys.argv[1:2] == ["--work"]:
        _work(sys.argv[2], Path(sys.argv[3]))
        return
    parser = arguments(__doc__, 96)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        chosen = some_cells(asked.data, asked.cells, place, bmp=True)
        cells = link_cells(chosen, len(chosen), place / "cells")
        stores = {
            size: prepare([cells], place / str(size), StoreSettings(size=size)).path
            for size in (224, 300)
        }
        runs = [_run(name, stores, place) for name in MEMBERS]
        fit_ensemble(list(map(str, runs)), out=place / "mean", method="mean")
        make_bundle(place / "mean", place / "four")
        for k, run in enumerate(runs):
            make_bundle(run, place / f"bundle-{k}")
        best = _best(place)
        said = {name: np.load(place / f"{name}.npy") for name in NAMES}
    limit = best["limit"]
    rows = [
        [
            what,
            f"{len(chosen) / best[name]:.2f}",
            f"{best[name] / limit:.3f}×",
            f"{np.abs(said[name] - said['limit']).max():.0e}",
        ]
        for name, what in NAMES.items()
    ]
    print(machine("onnxruntime"))
    table(
        f"An ensemble of four on {len(chosen)} BMPs, {cores()} cores",
        ["", "cells/s", "time over the sum of networks", "max Δp"],
        rows,
        f"the best of {ROUNDS}; both predictions load their networks, the limit has them",
    )


def _best(place: Path) -> dict[str, float]:
    best = dict.fromkeys(NAMES, float("inf"))
    for _ in range(ROUNDS):
        for name in best:
            words = [sys.executable, __file__, "--work", name, str(place)]
            best[name] = min(best[name], float(watched(words).said.split()[-1]))
    return best


def _work(name: str, place: Path) -> None:
    """Do one thing in this process, keep its probabilities and print its seconds."""
    files = [item.path for item in list_cells([place / "cells"]).cells]
    alone = [place / f"bundle-{k}" for k in range(len(MEMBERS))]
    if name == "limit":
        engines = _engines(alone)
        networks = [(engine, open_store(place / str(size)).pixels) for engine, size in engines]
        works = [lambda one=one: _asked(*one) for one in networks]
    else:
        models = [place / "four"] if name == "ours" else alone
        works = [lambda one=one: _predicted(files, [one], place) for one in models]
    tune_process()
    began = time.perf_counter()
    said = np.mean([work() for work in works], axis=0)
    seconds = time.perf_counter() - began
    np.save(place / f"{name}.npy", said)
    print(seconds)


def _run(name: str, stores: dict[int, Path], place: Path) -> Path:
    """Make a run of one short epoch: a run is what a bundle is made of."""
    settings = ["model.weights=none", "model.trainable=head", "training.epochs=1"]
    recipe = load_recipe(name, settings)
    store = stores[recipe.input.size]
    split = make_split(store, "image", 24, fractions=(0.5, 0.25, 0.25))[0]
    run = place / "runs" / recipe.name
    return train(recipe, store, split, run, keep_features=False).path


def _engines(bundles: list[Path]) -> list[tuple[OnnxRuntimeEngine, int]]:
    networks: list[FinishedRun] = [open_network(path) for path in bundles]
    return [
        (OnnxRuntimeEngine(network.onnx(), network.weights()), network.settings.size)  # type: ignore[attr-defined]
        for network in networks
    ]


def _asked(engine: OnnxRuntimeEngine, pixels: Pixels) -> np.ndarray:
    return mean_probability(engine.view_logits(pixels))


def _predicted(files: list[Path], models: list[Path], place: Path) -> np.ndarray:
    frame = predict(files, models, place / "new.parquet", engine="onnxruntime", force=True).frame
    column = "p_raw" if "p_raw" in frame.columns else "p_all"
    return frame[column].to_numpy()


if __name__ == "__main__":
    main()
