"""Damaged images through check, prepare, predict, segment and the workbench's upload."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from tests.torture.commands import Ended, blastscope, run
from tests.torture.mutations import write_mutated

MOST_SECONDS, MOST_MEMORY = 5.0, 2**30
_START = 20.0
"""Seconds of processor time that a command may need beside its files."""


@dataclass
class Tally:
    """What was tried, and what went wrong."""

    tried: Counter[str] = field(default_factory=Counter)
    named: Counter[str] = field(default_factory=Counter)
    most_memory: Counter[str] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def note(self, verb: str, ended: Ended, files: int) -> bool:
        """Count a command's files; return whether it ended well."""
        self.tried[verb] += files
        self.most_memory[verb] = max(self.most_memory[verb], ended.memory)
        each = max(0.0, ended.processor - _START) / max(1, files)
        self.slowest[verb] = max(self.slowest.get(verb, 0.0), each)
        if ended.fault:
            self.faults.append(ended.fault)
        if ended.memory > MOST_MEMORY:
            self.faults.append(f"{ended.memory / 2**20:.0f} MiB of memory: {ended.shown}")
        if each > MOST_SECONDS:
            self.faults.append(f"{each:.1f} s a file: {ended.shown}")
        return ended.fault is None and (verb == "check" or ended.status == 0)

    def expect(self, verb: str, wanted: set[str], told: set[str], bad: int, where: Path) -> None:
        """Note files that a command neither took nor named."""
        self.named[verb] += bad
        lost = sorted(wanted - told)
        if lost:
            self.faults.append(f"{verb} says nothing of {len(lost)} files of {where}: {lost[:3]}")


def torture_cells(folder: Path, files: int, seed: int, tally: Tally) -> None:
    """Put one folder of damaged cells through check, prepare and predict."""
    cells = folder / "cells"
    names = set(write_mutated(cells, files, seed))
    wait = 120 + MOST_SECONDS * len(names)
    checked = blastscope("check", cells, "--json", seconds=wait)
    bad: set[str] = set()
    if tally.note("check", checked, len(names)):
        told = json.loads(checked.out)
        bad = {Path(problem["file"]).name for problem in told["unusable"]}
        tally.named["check"] += len(bad)
        if told["cells"] + len(bad) not in (len(names), len(names) + len(bad)):
            tally.faults.append(f"check counts {told['cells']} cells and {len(bad)} bad: {cells}")
    store = folder / "store"
    made = blastscope("prepare", cells, "--out", store, "--size", 32, "--skip-bad", seconds=wait)
    if tally.note("prepare", made, len(names)):
        rows = pl.read_parquet(store / "cells.parquet")["file"].to_list()
        left_out = json.loads((store / "store.json").read_text())["skipped"]
        skipped = {Path(problem["file"]).name for problem in left_out}
        good = {Path(row).name for row in rows}
        tally.expect("prepare", names, good | skipped, len(skipped), cells)
        if checked.fault is None and skipped != bad:
            odd = sorted(skipped ^ bad)[:3]
            tally.faults.append(f"check and prepare differ on {odd} of {cells}")
    table = folder / "p.csv"
    said = blastscope("predict", cells, "--out", table, seconds=wait)
    if tally.note("predict", said, len(names)):
        frame = pl.read_csv(table, infer_schema_length=None)
        problems = frame.filter(pl.col("p_all").is_null())
        tally.expect("predict", names, {Path(f).name for f in frame["file"]}, len(problems), cells)
        if problems["problem"].null_count():
            tally.faults.append(f"predict gives no reason for a cell of {cells}")
    strict = blastscope("prepare", cells, "--out", folder / "strict", "--size", 32, seconds=wait)
    if bad and (strict.status != 2 or (folder / "strict").exists()):
        tally.faults.append(f"prepare took bad files: {cells}")


def torture_fields(folder: Path, files: int, seed: int, tally: Tally) -> None:
    """Put damaged fields through segment."""
    fields = folder / "fields"
    names = set(write_mutated(fields, files, seed, side=160))
    out = folder / "segmented"
    words = ("segment", fields, "--out", out, "--um-per-pixel", 0.12)
    ended = blastscope(*words, seconds=120 + MOST_SECONDS * len(names))
    if tally.note("segment", ended, len(names)):
        table = pl.read_csv(out / "fields.csv", infer_schema_length=None)
        column = "file" if "file" in table.columns else table.columns[0]
        bad = table["problem"].is_not_null().sum()
        tally.expect("segment", names, {Path(f).name for f in table[column]}, int(bad), fields)


def torture_upload(folder: Path, files: int, seed: int, tally: Tally) -> None:
    """Send damaged cells to a workbench, in a process of its own."""
    cells = folder / "sent"
    names = write_mutated(cells, files, seed)
    words = [sys.executable, "-m", "tests.torture.uploading", str(cells), str(folder / "bench")]
    ended = run(words, 120 + MOST_SECONDS * len(names))
    if tally.note("upload", ended, len(names)):
        told = json.loads(ended.out.splitlines()[-1])
        tally.expect("upload", set(names), set(told["known"]), told["refused"], cells)
        tally.faults += [f"upload: {one}" for one in told["faults"]]


def torture_images(scratch: Path, files: int, a_folder: int, seed: int, verbose: bool) -> Tally:
    """Put so many files through every command, many to a process."""
    tally = Tally()
    for number, first in enumerate(range(0, files, a_folder)):
        count = min(a_folder, files - first)
        folder = scratch / f"images-{seed + number}"
        before = len(tally.faults)
        began = time.monotonic()
        torture_cells(folder / "cells", count, seed + number, tally)
        torture_fields(folder / "fields", max(1, count // 5), seed + number, tally)
        torture_upload(folder / "upload", max(1, count // 5), seed + number, tally)
        if verbose:
            took = time.monotonic() - began
            new = tally.faults[before:]
            print(f"  folder {seed + number}: {count} files, {took:.0f} s", *new, sep="\n  ! ")
            sys.stdout.flush()
        if len(tally.faults) == before:
            shutil.rmtree(folder)
    return tally


def near_the_limit(folder: Path) -> list[Path]:
    """Write images of 64 megapixels, the most that is decoded, in modes that need copies."""
    folder.mkdir(parents=True)
    found = []
    for name, mode in (("alpha.png", "RGBA"), ("palette.png", "P"), ("grey.png", "LA")):
        bands = {"RGBA": 4, "LA": 2, "P": 1}[mode]
        shape = (8192, 8192, bands) if bands > 1 else (8192, 8192)
        pixels = np.zeros(shape, np.uint8)
        pixels[3000:5000, 3000:5000] = 200
        for k in range(3):
            path = folder / f"{k}{name}"
            Image.fromarray(pixels, mode).save(path, compress_level=1)
            found.append(path)
    return found
