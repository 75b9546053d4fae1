"""Runs, pages and their rows, for tests of the page of a reproduction."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import numpy as np

from blastscope.data.split_table import SplitReport
from blastscope.io.files import sha256_of
from blastscope.io.predictions import read_predictions, write_predictions
from blastscope.recipes.library import load_recipe
from blastscope.recipes.schema import Recipe
from blastscope.report.reproduction_page import write_reproduction
from blastscope.reproduction.results import DataSection, Outcome

DATA = DataSection(
    splits=[
        SplitReport(
            "image",
            24,
            "sha256:a",
            {"train": {"all": 61, "hem": 31}, "validation": {"all": 7}, "test": {"hem": 9}},
            {"train": {"all": 4, "hem": 3}, "validation": {"all": 2}, "test": {"hem": 1}},
            {"train/test": ["H1"], "train/validation": ["1", "2"], "validation/test": []},
        )
    ],
    balanced=[("image", {"all": 61, "hem": 31}, {"all": 46, "hem": 47})],
    figures=[("As Figure 1 <of> the paper", np.zeros((4, 6, 3), np.uint8))],
    facts=[("Cells", "drawn <for> a test")],
)
Make = Callable[..., Outcome]


def recipe(name: str = "paper/cnn-exp2", **changes: object) -> Recipe:
    return load_recipe("paper/cnn-exp2").model_copy(update={"name": name, **changes})


def finished_run(
    base: Path,
    of: Recipe,
    protocol: str,
    f1: float,
    auc: float | None = 0.9,
    seed: int = 24,
    told: dict[str, object] | None = None,
    **more: object,
) -> Outcome:
    """Make the folder of a run with these test figures, without its pictures.

    Its ``environment.json`` has ``told`` in it, its ``metrics.json`` has ``more``.
    """
    folder = base / "runs" / f"{protocol} {seed}" / of.name
    folder.mkdir(parents=True)
    (folder / "checkpoint.safetensors").write_bytes(b"weights")
    checkpoint = sha256_of(folder / "checkpoint.safetensors")
    table = folder / "t.csv"
    table.write_text("cell,subject,label,part,model,p_all\na,S1,all,test,net,0.9\n")
    write_predictions(
        read_predictions(table)[0],
        folder / "predictions.parquet",
        {"checkpoint": checkpoint, "protocol": protocol, "synthetic": False},
    )
    environment = {"identity": {"recipe": of.name}, "seconds": 720, "device": "a GPU"}
    (folder / "environment.json").write_text(json.dumps({**environment, **(told or {})}))
    content = {
        "format": "blastscope-metrics/2",
        "synthetic": False,
        "checkpoint": checkpoint,
        "protocol": protocol,
        "parts": {"test": {"weighted_f1": f1, "auc": auc, "n": 2000}},
        **more,
    }
    (folder / "metrics.json").write_text(json.dumps(content))
    return Outcome(of, protocol, seed, folder)


def write(outcomes: list[Outcome], out: Path, *, synthetic: bool = False) -> str:
    made = write_reproduction(outcomes, DATA, out, synthetic=synthetic, command="do <it> again")
    assert made == out
    return (out / "report.html").read_text()


def rows(html: str) -> dict[str, list[str]]:
    """The cells of every table row, by the row's first cell."""
    found = {}
    for row in re.findall(r"<tr[^>]*>(.*?)</tr>", html, re.S):
        cells = [plain(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)]
        found.setdefault(cells[0], cells[1:])
    return found


def row_of(html: str, short: str) -> list[str]:
    return next(cells for name, cells in rows(html).items() if name.split()[:1] == [short])


def plain(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def body(html: str) -> str:
    return plain(html.split("<body>")[1])
