"""What threads that wait cost, on a quiet machine and beside other work.

Threads that spin while they wait start a little sooner, and take the cores from every other
program. Limit: the best setting on the quiet machine. Each cell of the table is a process of its
own; the settings take turns.

    python benchmarks/busy.py [--seconds 8] [--rounds 2]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from common import machine, table

from blastscope.parallel import cores

SIDE, BATCH = 112, 32
TRAINING = {
    "active: spin for ever": {"OMP_WAIT_POLICY": "active"},
    "PyTorch's own": {},
    "spin for a moment": {"GOMP_SPINCOUNT": "20000"},
    "passive: sleep": {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"},
}
PREDICTION = {"ONNX Runtime's own": "1", "sleep": "0"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--work", choices=("train", "predict"), help=argparse.SUPPRESS)
    parser.add_argument("--spinning", default="1", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work == "train":
        print(_rate(_training_step(), BATCH, asked.seconds))
    elif asked.work == "predict":
        print(_rate(_prediction(asked.spinning), BATCH, asked.seconds))
    else:
        _compare(asked.seconds, asked.rounds)


def _compare(seconds: float, rounds: int) -> None:
    print(machine("torch", "onnxruntime"))
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    works = {
        f"training, {name}": (["--work", "train"], plain | setting)
        for name, setting in TRAINING.items()
    }
    works |= {
        f"prediction, {name}": (["--work", "predict", "--spinning", allowed], plain)
        for name, allowed in PREDICTION.items()
    }
    others = 2 * cores()
    found: dict[str, list[float]] = {name: [0.0, 0.0] for name in works}
    for _ in range(rounds):
        for place, beside in enumerate((0, others)):
            for name, (words, environment) in works.items():
                with _spinning(beside):
                    rate = _measure(words, environment, seconds)
                found[name][place] = max(found[name][place], rate)
    table(
        f"Cells a second, EfficientNet-Lite0 at {SIDE} px and the box's network",
        ["threads that wait", "alone", f"beside {others} busy processes"],
        [[name, *(f"{rate:,.0f}" for rate in rates)] for name, rates in found.items()],
        f"the best of {rounds} runs of {seconds:.0f} s, a process each",
    )


def _measure(words: list[str], environment: dict[str, str], seconds: float) -> float:
    command = [sys.executable, str(Path(__file__)), *words, "--seconds", str(seconds)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


@contextmanager
def _spinning(count: int) -> Iterator[None]:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def _rate(work: Callable[[], object], cells: int, seconds: float) -> float:
    work()
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        work()
        done += cells
    return done / (time.perf_counter() - began)


def _training_step() -> Callable[[], object]:
    import timm
    import torch

    from blastscope.process import keep_freed_memory

    keep_freed_memory()
    network = timm.create_model("tf_efficientnet_lite0", num_classes=1)
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)
    images = torch.rand(BATCH, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)

    def step() -> None:
        optimizer.zero_grad()
        network(images).square().mean().backward()
        optimizer.step()

    return step


def _prediction(spinning: str) -> Callable[[], object]:
    import numpy as np
    import onnxruntime

    from blastscope.box import in_the_box
    from blastscope.engines.onnx_engines import OnnxRuntimeEngine

    add = onnxruntime.SessionOptions.add_session_config_entry

    def chosen(options: onnxruntime.SessionOptions, key: str, value: str) -> None:
        add(options, key, spinning if key == "session.intra_op.allow_spinning" else value)

    onnxruntime.SessionOptions.add_session_config_entry = chosen
    box = in_the_box()
    engine = OnnxRuntimeEngine(
        (box / "model.onnx").read_bytes(), (box / "weights.safetensors").read_bytes()
    )
    cells = np.random.default_rng(24).integers(0, 256, (BATCH, engine.size, engine.size, 3))
    return lambda: engine.view_logits(cells.astype(np.uint8))


if __name__ == "__main__":
    main()
