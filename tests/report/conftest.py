"""A synthetic run folder, as training leaves it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from blastscope.io.files import sha256_of
from blastscope.io.predictions import write_predictions

# (subject, label, part, p_all) of two cells each: one test subject is wholly wrong.
ROWS = [
    ("S1", "all", "train", 0.9),
    ("S2", "all", "test", 0.8),
    ("H1", "hem", "train", 0.2),
    ("H2", "hem", "test", 0.7),
    ("H3", "hem", "test", 0.1),
    ("S3", "all", "validation", 0.6),
]


def table() -> pl.DataFrame:
    return pl.DataFrame(
        [
            (f"{subject}_{i}", subject, label, part, "tiny (synthetic)", p_all)
            for subject, label, part, p_all in ROWS
            for i in range(2)
        ],
        schema=["cell", "subject", "label", "part", "model", "p_all"],
        orient="row",
    )


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str = "run") -> Path:
        run = tmp_path / name
        run.mkdir()
        checkpoint = run / "checkpoint.safetensors"
        checkpoint.write_bytes(b"weights")
        write_predictions(
            table(),
            run / "predictions.parquet",
            {"checkpoint": sha256_of(checkpoint), "protocol": "subject", "synthetic": True},
        )
        (run / "history.csv").write_text(
            "epoch,train_loss,train_accuracy,val_loss,val_accuracy,rate,seconds\n"
            "1,0.7,0.5,0.6,0.6,0.001,2\n2,0.5,0.7,0.4,0.8,0.001,2\n3,0.3,0.9,0.5,0.7,0.001,2\n"
        )
        (run / "recipe.yaml").write_text(
            "title: A tiny network\npaper: {section: 3.2.2, name: CNN exp2}\n"
            "expected: {val_accuracy: 0.8987, weighted_f1: 0.9076, auc: null}\n"
        )
        layer = {"name": "conv", "type": "Conv2d", "output": [8, 4, 4], "parameters": 1224}
        network = {"layers": [{**layer, "trainable": 1224}], "total": 1224, "trainable": 1224}
        (run / "network.json").write_text(json.dumps(network))
        (run / "environment.json").write_text('{"blastscope": "0"}')
        return run

    return make
