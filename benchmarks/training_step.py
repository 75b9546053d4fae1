"""The rate of training steps, all layers trained, against what else would be used and the limit.

Rivals: (a) a ``torch.utils.data.DataLoader`` over image files (cells cut to their squares and saved
as BMP, as the paper's were) with torchvision's transforms, the same network and a plain PyTorch
loop, with its best number of workers; (b) the paper's own stack, Keras 3 on TensorFlow, the same
architecture on a constant tensor (``keras_rival.py``). Limit: the same network, loss and optimiser
on a constant tensor, and nothing else. All run in processes of their own, one after the other.

    python benchmarks/training_step.py [--data DIR] [--keras PYTHON] [--batch 16]

``--keras`` names a Python with TensorFlow. Weights are random, which changes nothing in what is
computed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from common import arguments, link_cells, machine, some_cells, table
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as loss_of

from blastscope.data.preparation import prepare
from blastscope.data.splits import make_split
from blastscope.data.store import StoreSettings, open_store
from blastscope.models.classifier import Classifier, build_model, choose_layout
from blastscope.parallel import cores
from blastscope.process import tune_process
from blastscope.recipes.library import load_recipe
from blastscope.recipes.schema import Recipe
from blastscope.training.class_balance import TrainingSet
from blastscope.training.dataset import TrainingData, read_inputs
from blastscope.training.network_input import pixel_input
from blastscope.training.optimizers import make_optimizer
from blastscope.training.run_folder import RunFolder
from blastscope.training.trainer import TrainingWatch, train_network

SKIPPED = 2  # steps until memory is there and kernels are chosen
NAMES = {
    "cnn-exp2": ("paper/cnn-exp2", 16),
    "mobilenetv2": ("paper/mobilenetv2-e7", 16),
    "resnet50-cut": ("paper/resnet50-cut-ft10", 8),
    "vgg16-cut": ("paper/vgg16-e13", 5),
}
"""The recipe of each architecture, and how many steps are timed."""
CPU = torch.device("cpu")


def main() -> None:
    if sys.argv[1:2] == ["--work"]:
        _work(sys.argv[2], sys.argv[3], Path(sys.argv[4]), int(sys.argv[5]))
        return
    parser = arguments(__doc__, 400)
    parser.add_argument("--keras", help="a Python that has TensorFlow")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(NAMES), default=list(NAMES))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        chosen = some_cells(asked.data, asked.cells, place)
        cells = link_cells(chosen, len(chosen), place / "cells")
        for size in {_recipe(name, asked.batch).input.size for name in asked.only}:
            store = prepare([cells], place / str(size), StoreSettings(size=size)).path
            make_split(store, "image", 24)
        _save_squares(open_store(store).cells["file"].to_list(), cells, place)
        rows = []
        for name in asked.only:
            rows.append(_row(name, place, asked))
            print(*rows[-1], file=sys.stderr, flush=True)
    print(machine("torch", "timm", "lightning"))
    table(
        f"Training steps, batch {asked.batch}, images/s, {cores()} cores",
        ["", "size", "limit", "blastscope", "of the limit", "DataLoader", "", "Keras", ""],
        rows,
        f"middle step, best of {asked.rounds}; after each rival: how far blastscope is ahead of it",
    )


def _row(name: str, place: Path, asked) -> list[str]:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Run all of one architecture, in turn."""
    works = ["limit", "ours", "loader-0", f"loader-{cores()}"]
    best = dict.fromkeys([*works, "keras"], 0.0)
    steps = NAMES[name][1] + SKIPPED
    for _ in range(asked.rounds):
        for work in works:
            words = [sys.executable, __file__, "--work", work, name, str(place), str(asked.batch)]
            best[work] = max(best[work], _said(words))
        if asked.keras:
            rival = [asked.keras, str(Path(__file__).with_name("keras_rival.py")), "train", name]
            best["keras"] = max(best["keras"], _said([*rival, str(asked.batch), str(steps)]))
    loader = max(best[work] for work in works[2:])
    ours, limit, keras = best["ours"], best["limit"], best["keras"]
    told = [name, str(_recipe(name, 1).input.size), f"{limit:.2f}", f"{ours:.2f}"]
    told += [f"{ours / limit:.1%}", f"{loader:.2f}", f"{ours / loader:.2f}×"]
    return [*told, *([f"{keras:.2f}", f"{ours / keras:.2f}×"] if keras else ["not given", ""])]


def _said(words: list[str]) -> float:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed: {done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def _recipe(name: str, batch: int) -> Recipe:
    plain = ["model.weights=none", "model.trainable=all", "training.precision=32"]
    return load_recipe(NAMES[name][0], [*plain, f"training.batch={batch}", "training.epochs=1"])


def _save_squares(files: list[str], cells: Path, place: Path) -> None:
    """Cut cells as the paper did (section 3.1) and save them."""
    from blastscope.data.crop import locate, square_crop
    from blastscope.data.images import read_image

    for number, file in enumerate(files):
        pixels = read_image(cells / file).pixels
        square = square_crop(pixels, locate(pixels).box)
        target = place / "squares" / str(number % 2) / f"{number}.bmp"
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), square[:, :, ::-1])


def _work(work: str, name: str, place: Path, batch: int) -> None:
    """Do one thing in this process and print its images a second."""
    torch.manual_seed(24)
    recipe, steps = _recipe(name, batch), NAMES[name][1] + SKIPPED
    if work == "ours":
        ends = _ours(recipe, place, steps)
    elif work == "limit":
        ends = _limit(recipe, steps)
    else:
        ends = _loader(recipe, place / "squares", int(work.partition("-")[2]), steps)
    print(batch / np.median(np.diff(ends[SKIPPED - 1 :])))


def _ours(recipe: Recipe, place: Path, steps: int) -> list[float]:
    """Train as ``blastscope train`` does, and note when each batch ended."""
    tune_process()
    store = place / str(recipe.input.size)
    inputs = read_inputs(recipe, store, store / "splits" / "image-seed24.parquet")
    inputs = _cut(inputs, steps * recipe.training.batch)
    classifier = build_model(recipe, pretrained=False)
    layout = choose_layout(classifier, CPU)
    classifier.to(memory_format=layout)
    network_input = pixel_input(classifier, inputs, layout)
    ends: list[float] = []
    watch = TrainingWatch(on_batch=lambda cells, loss: ends.append(time.perf_counter()))
    with tempfile.TemporaryDirectory() as folder:
        train_network(
            classifier, network_input, recipe, inputs, RunFolder(Path(folder)), CPU, watch
        )
    return ends


def _cut(inputs: TrainingData, cells: int) -> TrainingData:
    """Take so many training cells, some more than once if need be, and a few of validation."""
    rows = np.resize(inputs.training.rows, cells)
    training = TrainingSet(rows, np.resize(inputs.training.operations, cells))
    few = {**inputs.rows, "validation": inputs.rows["validation"][:2]}
    return replace(inputs, training=training, rows=few)


def _limit(recipe: Recipe, steps: int) -> list[float]:
    tune_process()
    classifier = build_model(recipe, pretrained=False)
    layout = choose_layout(classifier, CPU)
    classifier.to(memory_format=layout)
    size, batch = recipe.input.size, recipe.training.batch
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8)
    images = images.contiguous(memory_format=layout)
    return _steps(
        recipe, classifier, classifier, ((images, torch.ones(batch)) for _ in range(steps))
    )


def _loader(recipe: Recipe, squares: Path, workers: int, steps: int) -> list[float]:
    """Train as one would without this package: files, transforms, a loop."""
    from torchvision import transforms as t
    from torchvision.datasets import ImageFolder

    size, batch = recipe.input.size, recipe.training.batch
    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    turned = [t.Resize((size, size)), t.RandomHorizontalFlip(), t.RandomVerticalFlip()]
    steps_of = t.Compose([*turned, t.ToTensor(), t.Normalize(mean, deviation)])
    files = ImageFolder(str(squares), steps_of)
    drawn = torch.utils.data.RandomSampler(files, replacement=True, num_samples=steps * batch)
    loader = torch.utils.data.DataLoader(files, batch, sampler=drawn, num_workers=workers)
    whole = build_model(recipe, pretrained=False)
    network = nn.Sequential(whole.backbone, whole.head, nn.Flatten(0))
    return _steps(recipe, whole, network, ((x, y.float()) for x, y in loader))


def _steps(
    recipe: Recipe,
    classifier: Classifier,
    network: nn.Module,
    batches: Iterator[tuple[torch.Tensor, torch.Tensor]],
) -> list[float]:
    """Run a plain training loop; return when each step ended."""
    optimizer = make_optimizer(recipe, classifier)
    network.train()
    ends = []
    for images, truth in batches:
        optimizer.zero_grad()
        loss_of(network(images), truth).backward()
        optimizer.step()
        ends.append(time.perf_counter())
    return ends


if __name__ == "__main__":
    main()
