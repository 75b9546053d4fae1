"""Prediction from image files to a table, against what else would be used and the engine alone.

Rivals: (a) PyTorch as it is usually written: one file after the other is decoded and prepared
(with the package's own functions), batches of 32 go through the same network, eager; (b) Keras 3's
``predict`` on the same architecture (``keras_rival.py``), for cells that are prepared already, in
its favour. Limit: ONNX Runtime on cells that are prepared already and lie in memory. On one core
and on all; all files together, and file by file with a model that is loaded. Of int8 the speed and,
on labelled real cells, what it costs. A fresh process is timed from its start to its answer.

    python benchmarks/predict_files.py [--data DIR] [--cells 768] [--model BUNDLE]
        [--weights-dir DIR] [--keras PYTHON]

Without ``--model`` it is the paper's MobileNetV2 at 224 px (``paper/mobilenetv2-e3``), its head
trained for two epochs on the very cells; ``--model box`` is the one in the box.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from common import arguments, link_cells, machine, some_cells, table

from blastscope.parallel import cores

BATCH = 32
ROUNDS = 2
ONE, ALL = "1", "all"


def main() -> None:
    if sys.argv[1:2] == ["--work"]:
        _work(sys.argv[2], sys.argv[3], Path(sys.argv[4]), Path(sys.argv[5]))
        return
    parser = arguments(__doc__, 768)
    parser.add_argument("--model", help="a bundle; box for the one in the box")
    parser.add_argument("--weights-dir", type=Path)
    parser.add_argument("--keras", help="a Python that has TensorFlow")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        chosen = some_cells(asked.data, asked.cells, place, bmp=True)
        cells = link_cells(chosen, len(chosen), place / "cells")
        model = _model(asked, cells, place)
        _said("store", ALL, model, place)  # prepared cells for the limit and for Keras
        print(machine("onnxruntime", "torch", "opencv-python-headless"))
        _speeds(asked, model, place, len(chosen))
        _single(model, place)
        _int8(model, place, real=asked.data is not None)


def _model(asked: argparse.Namespace, cells: Path, place: Path) -> Path:
    from blastscope.box import in_the_box

    if asked.model:
        return in_the_box() if asked.model == "box" else Path(asked.model)
    from blastscope.api.bundle import make_bundle
    from blastscope.data.preparation import prepare
    from blastscope.data.splits import make_split
    from blastscope.data.store import StoreSettings
    from blastscope.recipes.library import load_recipe
    from blastscope.training.train import train

    given = ["training.epochs=2", *([] if asked.weights_dir else ["model.weights=none"])]
    store = prepare([cells], place / "learning", StoreSettings()).path
    split = make_split(store, "image", 24)[0]
    run = place / "run"
    recipe = load_recipe("paper/mobilenetv2-e3", given)
    train(recipe, store, split, run, weights_dir=asked.weights_dir)
    return Path(make_bundle(run, place / "model"))


def _speeds(asked: argparse.Namespace, model: Path, place: Path, count: int) -> None:
    rows = []
    for threads in (ONE, ALL):
        best = dict.fromkeys(_NAMES, 0.0)
        for _ in range(ROUNDS):
            for work in ("engine", "ours", "torch"):
                best[work] = max(best[work], _said(work, threads, model, place))
        if asked.keras and not asked.model:
            best["keras"] = _keras(asked.keras, threads, place)
        for work, name in _NAMES.items():
            if best[work]:
                ahead = "" if work in ("engine", "ours") else f"{best['ours'] / best[work]:.2f}×"
                share = f"{best[work] / best['engine']:.0%}"
                rows.append([name, threads, f"{best[work]:.1f}", share, ahead])
    table(
        f"`predict`, {count:,} BMPs of 450 × 450 in one go",
        ["", "cores", "cells/s", "of the engine alone", "predict is ahead by"],
        rows,
        f"the best of {ROUNDS}, from the call to the written table; loading libraries not counted",
    )


_NAMES = {
    "engine": "ONNX Runtime, cells in memory",
    "ours": "`predict`: files to table, loading the model, ood, decisions",
    "torch": "plain PyTorch loop, from files",
    "keras": "Keras 3 `predict`, cells in memory",
}


def _single(model: Path, place: Path) -> None:
    rows = []
    for threads in (ONE, ALL):
        works = ("engine-single", "ours-single", "torch-single")
        best = {
            work: max(_said(work, threads, model, place) for _ in range(ROUNDS)) for work in works
        }
        engine, ours, torch = best.values()
        told = [f"{1000 / speed:.1f}" for speed in best.values()]
        rows.append([threads, *told, f"{ours / engine:.0%}", f"{ours / torch:.2f}×"])
    columns = ["cores", "engine, ms", "`load().predict(file)`, ms", "PyTorch from the file, ms"]
    table("File by file, a loaded model", [*columns, "of the engine", "ahead by"], rows)
    file = next((place / "cells").rglob("*.bmp"))
    words = [sys.executable, "-m", "blastscope", "predict", str(file), "--model", str(model)]
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        subprocess.run([*words, "--out", "-"], check=True, capture_output=True)
        taken.append(time.perf_counter() - began)
    print(f"A fresh process answers for one file after {min(taken):.2f} s.\n")


def _int8(model: Path, place: Path, *, real: bool) -> None:
    rows = []
    for threads in (ONE, ALL):
        full, small = (_said(f"int8-{form}", threads, model, place) for form in ("fp32", "int8"))
        rows.append([threads, f"{full:.1f}", f"{small:.1f}", f"{small / full:.2f}×"])
    table("int8, cells in memory", ["cores", "fp32, cells/s", "int8, cells/s", "ratio"], rows)
    if real:
        print(_run("int8-cost", ALL, model, place))


def _said(work: str, threads: str, model: Path, place: Path) -> float:
    return float(_run(work, threads, model, place).split()[-1])


def _run(work: str, threads: str, model: Path, place: Path) -> str:
    words = [sys.executable, __file__, "--work", work, threads, str(model), str(place)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed: {done.stderr[-2000:]}")
    return done.stdout


def _keras(python: str, threads: str, place: Path) -> float:
    rival = str(Path(__file__).with_name("keras_rival.py"))
    words = [python, rival, "predict", str(place / "prepared.npy"), str(BATCH), str(ROUNDS)]
    words += ["--architecture", "mobilenetv2"]
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, preexec_fn=lambda: _limit(threads)
    )
    return float(done.stdout.split()[-1])


def _limit(threads: str) -> None:
    if threads == ONE:
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:1]))


def _work(work: str, threads: str, model: Path, place: Path) -> None:
    """Do one thing in this process, on so many cores, and print its cells a second."""
    _limit(threads)
    os.environ.setdefault("OMP_NUM_THREADS", str(cores()))  # before any library reads it
    import predict_works

    what: Callable[[Path, Path], str | float] = predict_works.WORKS[work]
    print(what(model, place))


if __name__ == "__main__":
    main()
