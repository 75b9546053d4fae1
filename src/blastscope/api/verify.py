"""Verify a folder: are its files what they were, and does training again give the same?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.api.result import AnyPath, Result, TextTable, as_path
from blastscope.io.provenance import differences, provenance
from blastscope.reproduction.rerun import Rerun, train_again
from blastscope.reproduction.verification import InputPaths, Verification, verify_folder

_STATUS = {
    "ok": "ok",
    "changed": "changed",
    "missing": "missing",
    "not-found": "not found",
    "not-recorded": "not recorded",
}


@dataclass(frozen=True, eq=False, repr=False)
class VerifyResult(Result):
    """What is still as a folder recorded it.

    Attributes:
        folder: what was verified.
        found: its items, each ``ok``, ``changed``, ``missing`` (a file of the folder),
            ``not-found`` (an input that may lie elsewhere) or ``not-recorded``.
        differs: what differs in the environment: a name, what was recorded, what is here.
        rerun: how a second training differs; None if none was asked for.
    """

    folder: Path
    found: Verification
    differs: tuple[tuple[str, str, str], ...]
    rerun: Rerun | None = None

    @property
    def failed(self) -> bool:
        """Whether a file is changed or missing, or the second training differs by over 0.01."""
        again = self.rerun is not None and self.rerun.fails
        return again or any(item.fails for item in self.found.items)

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each item: ``item``, ``status``, ``path``, ``reason``."""
        rows = [(one.name, one.status, str(one.path), one.reason) for one in self.found.items]
        schema = dict.fromkeys(("item", "status", "path", "reason"), pl.String)
        return pl.DataFrame(rows, schema=schema, orient="row")

    def as_json(self) -> dict[str, Any]:
        """Return items, differences and the second training as numbers and codes."""
        again = self.rerun
        return {
            "folder": str(self.folder),
            "failed": self.failed,
            "items": self.to_frame().to_dicts(),
            "environment": [
                {"name": name, "recorded": then, "here": now} for name, then, now in self.differs
            ],
            "recorded": dict(self.found.provenance),
            "rerun": None
            if again is None
            else {
                "equal": again.equal,
                "same_weights": again.same_weights,
                "cells": again.cells,
                "largest_difference": again.largest,
                "cell": again.cell,
                "part": again.part,
                "metrics": {
                    name: {"recorded": first, "again": second}
                    for name, (first, second) in again.metrics.items()
                },
            },
        }

    def tables(self) -> list[TextTable]:
        """Return what differs in the environment first, then the items and the metrics."""
        told = []
        if self.differs:
            columns = ("environment", "recorded", "here")
            told.append(TextTable.of(columns, self.differs))
        rows = [(one.name, _STATUS[one.status]) for one in self.found.items]
        told.append(TextTable.of(("item", "status"), rows))
        if self.rerun is not None:
            rows_again = [(name, *pair) for name, pair in self.rerun.metrics.items()]
            columns = (f"{self.rerun.part} part", "recorded", "again")
            told.append(TextTable.of(columns, rows_again))
        return told

    def answers(self) -> list[str]:
        """Say whether everything is as it was, and what training again gives."""
        items = self.found.items
        bad = [one for one in items if one.fails]
        ok = sum(one.status == "ok" for one in items)
        if bad:
            names = ", ".join(f"{one.name} ({_STATUS[one.status]})" for one in bad[:5])
            more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
            told = [f"{self.folder} is not what it was: {names}{more}; {ok} of {len(items)} are."]
        else:
            told = [f"{self.folder}, {self.found.kind}: {ok} of {len(items)} items are unchanged."]
        return told if self.rerun is None else [*told, _told(self.rerun)]

    def notes(self) -> list[str]:
        """Say what could not be checked, and why an item counts as changed."""
        by_status = {
            status: [one.name for one in self.found.items if one.status == status]
            for status in ("not-found", "not-recorded")
        }
        said = [one.reason for one in self.found.items if one.fails and one.reason]
        if by_status["not-found"]:
            said.append(f"Not found, so not checked: {', '.join(by_status['not-found'])}.")
        if by_status["not-recorded"]:
            said.append(f"Nothing records what it was: {', '.join(by_status['not-recorded'])}.")
        if not self.found.provenance:
            said.append("Nothing records what made it: versions and machine were not compared.")
        return said


def _told(again: Rerun) -> str:
    if again.equal:
        weights = "" if again.same_weights else ", though the weights are other bytes"
        return f"Trained again: the predictions of all {again.cells:,} cells are equal{weights}."
    return (
        f"Trained again: probabilities differ by at most {again.largest:.2g} (cell {again.cell}), "
        f"{'more' if again.fails else 'no more'} than machines may."
    )


def verify(
    path: AnyPath,
    *,
    store: AnyPath | None = None,
    split: AnyPath | None = None,
    weights_dir: AnyPath | None = None,
    rerun: bool = False,
    device: str = "auto",
) -> VerifyResult:
    """Verify a run, a bundle, a store, an ensemble, or a folder that holds runs.

    Each file and input is compared with the digest that was recorded when it was made, if one was;
    and the code, packages and hardware that made it with those here. Files of a run or an
    evaluation without a digest are ``not-recorded``; other files are not listed.

    Args:
        path: the folder, or the zip of a bundle.
        store: the store of the run; by default where it was.
        split: its split; by default where it was.
        weights_dir: the folder with ImageNet weights; by default where they were.
        rerun: train the run again in a temporary folder, with deterministic kernels and the
            recorded number of threads, and compare predictions and metrics.
        device: what to train on again: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Returns:
        The items and their status, what differs here, and how the second training differs.

    Raises:
        BlastscopeError: if blastscope did not make the folder, it records no digests, or the run
            cannot be trained again.
    """
    folder = Path(path)
    inputs = InputPaths(as_path(store), as_path(split), as_path(weights_dir))
    found = verify_folder(folder, inputs)
    again = train_again(folder, inputs, device) if rerun else None
    differs = tuple(differences(found.provenance, provenance()))
    return VerifyResult(folder, found, differs, again)
