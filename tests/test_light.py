"""What the installation without the extra ``train`` can do, and what it says of the rest.

A finder refuses PyTorch and its company, as if they were not installed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

WITHOUT = """
import contextlib, io, json, sys

REFUSED = {"torch", "torchvision", "timm", "lightning", "torchmetrics", "captum", "onnxscript",
           "huggingface_hub"}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
from blastscope.cli import main

done = []
for words in json.loads(sys.argv[1]):
    sys.argv = ["blastscope", *words]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    done.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(done))
"""
NEEDS = "needs PyTorch: install it with pip install 'blastscope[train]'."


def run(folder: Path, *commands: str) -> list[tuple[int, str, str]]:
    """Run commands, words with blanks between, in one process without PyTorch."""
    words = json.dumps([command.split() for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def cells(tmp_path_factory) -> Path:
    """Cells, their store and split, and the tables of three models, all made without PyTorch."""
    folder = tmp_path_factory.mktemp("light")
    commands = (
        "synth cells --cells 48",
        "prepare cells --out store --size 64",
        "split store --protocol subject --seed 24",
        "predict cells --out new.parquet",
    )
    done = run(folder, *commands)
    assert [code for code, *_ in done] == [0] * 4, done
    table = pl.read_parquet(folder / "new.parquet").select("cell", "subject", "label")
    rng = np.random.default_rng(0)
    part = ["validation" if row % 2 else "test" for row in range(table.height)]
    for name in ("a", "b", "c"):
        noise = rng.normal(0, 0.2, table.height)
        p_all = (pl.lit(noise) + pl.when(pl.col("label") == "all").then(0.6).otherwise(0.4)).clip(
            0.01, 0.99
        )
        table.with_columns(part=pl.Series(part), model=pl.lit(name), p_all=p_all).write_csv(
            folder / f"{name}.csv"
        )
    return folder


def test_using_and_judging_models_needs_no_pytorch(cells):
    done = run(
        cells,
        "check cells",
        "recipes",
        "baselines store",
        "inspect",
        "adapt --labelled cells --out adapted.zip",
        "predict cells --json",
        "evaluate a.csv --out evaluated --store store",
        "compare a.csv b.csv --out compared",
        "errors a.csv b.csv --store store --out errors",
        "ensemble a.csv b.csv c.csv --method genetic --out ensemble",
    )
    assert [code for code, *_ in done] == [0] * 10, done
    for page in ("evaluated", "compared", "errors", "ensemble"):
        assert "<html" in (cells / page / "report.html").read_text("utf-8")


TRAINING = (
    "train paper/cnn-exp2 --store store --split store/splits/subject-seed24.parquet --out run",
    "crossval paper/cnn-exp2 --store store --by subject --out cv",
    "tune paper/cnn-exp2 --space s.yaml --store store --split split.parquet --out search",
    "build cells --out built",
    "leakage paper/cnn-exp2 --store store --out leakage",
    "explain run --cells cells --data store --out explained",
    "stress run --store store --out stressed",
    "bundle run --out made.zip",
    "export run --cells store --out made.onnx",
    "reproduce --data cells --out study",
    "demo --out demo",
    "weights list",
    "predict cells --engine torch --out other.parquet",
)


def test_what_needs_pytorch_says_so_in_one_sentence(cells):
    before = sorted(cells.iterdir())
    for command, (code, told, noted) in zip(TRAINING, run(cells, *TRAINING), strict=True):
        assert (code, told) == (2, ""), (command, noted)
        what = "--engine torch" if "--engine" in command else f"blastscope {command.split()[0]}"
        assert noted == f"blastscope: `{what}` {NEEDS}\n"
    assert sorted(cells.iterdir()) == before
