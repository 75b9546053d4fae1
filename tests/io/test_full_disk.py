"""A disk that is full in the middle of a file is one sentence, and leaves nothing half written."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import polars as pl
import pytest
import torch
from matplotlib.figure import Figure

from blastscope.bundle.write import write_bundle
from blastscope.data.split_table import Split
from blastscope.errors import BlastscopeError
from blastscope.io.files import write_json
from blastscope.io.predictions import write_predictions
from blastscope.io.submission import write_submission
from blastscope.io.tables import write_csv
from blastscope.report.style import save_all
from blastscope.training.features import _save
from blastscope.training.run_folder import save_checkpoint

DRAWS_PLOTS = True
resource = pytest.importorskip("resource")
RNG = np.random.default_rng(0)
CELLS = pl.DataFrame(
    {
        "cell": [f"c{RNG.integers(10**15)}" for _ in range(2000)],
        "label": "all",
        "subject": "1",
        "part": "test",
        "model": "net",
        "p_all": RNG.random(2000),
    }
)


@contextmanager
def full(limit=4096):
    """Let no file grow beyond ``limit`` bytes, as a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def figure():
    """A plot that is larger than the limit."""
    made = Figure()
    made.subplots().plot(RNG.random(1000))
    return made


WRITERS = {
    "split": lambda at: Split(CELLS.select("cell", "part"), "own", 0).write(at / "a.parquet"),
    "predictions": lambda at: write_predictions(CELLS, at / "a.parquet", {}),
    "csv": lambda at: write_csv(CELLS, at / "a.csv"),
    "json": lambda at: write_json(at / "a.json", CELLS.to_dict(as_series=False)),
    "submission": lambda at: write_submission(CELLS["p_all"].to_numpy() > 0.5, at / "a.zip"),
    "zip": lambda at: write_bundle({"a.bin": RNG.bytes(9000)}, at / "a.zip"),
    "bundle": lambda at: write_bundle({"a.bin": RNG.bytes(9000)}, at / "a"),
    "figure": lambda at: save_all({"a": figure()}, at, ["a"]),
    "weights": lambda at: save_checkpoint({"a": torch.zeros(9000)}, at / "a.safetensors"),
    "features": lambda at: _save(at / "a.npy", RNG.random(9000)),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_one_sentence(writer, tmp_path):
    with full(2000), pytest.raises(BlastscopeError, match=r"cannot be written .*\.$"):
        WRITERS[writer](tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
