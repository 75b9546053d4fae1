"""How long a label takes until it is on disk, with many people at once.

Each of CLIENTS people sends two labels a second, on one case of CELLS cells with made-up scores;
the figures are of the whole way over HTTP on this machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from uuid import uuid4

import httpx
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
EVERY = 0.5
"""Seconds between two labels of one person."""


def serve(folder: Path) -> tuple[subprocess.Popen[str], str, str]:
    """Start the workbench; return its process, address and launch token."""
    command = [sys.executable, "-m", "blastscope", "serve", "--folder", str(folder), "--port", "0"]
    process = subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, text=True)
    told = ""
    while not told.rstrip().endswith("}"):
        told += process.stdout.readline() if process.stdout else ""
    base, _, token = json.loads(told)["address"].partition("/launch?token=")
    return process, base, token


def person(base: str, secret: str, case: int, cells: int, until: float, spent: list[float]) -> None:
    """Send labels as one person does, and note how long each takes."""
    rng = np.random.default_rng()
    with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {secret}"}) as client:
        time.sleep(rng.uniform(0, EVERY))
        while (begun := time.monotonic()) < until:
            event = {
                "id": str(uuid4()), "kind": "label", "cells": [int(rng.integers(1, cells + 1))],
                "value": "ANUX"[int(rng.integers(4))],
            }  # fmt: skip
            answer = client.post(f"/api/v1/cases/{case}/events", json={"events": [event]})
            answer.raise_for_status()
            spent.append(time.monotonic() - begun)
            time.sleep(max(0.0, EVERY - (time.monotonic() - begun)))


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--cells", type=int, default=5000)
    parser.add_argument("--seconds", type=int, default=20)
    asked = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from tests.workbench.filling import fill_folder

    with tempfile.TemporaryDirectory() as folder:
        case = fill_folder(Path(folder), asked.cells)
        process, base, token = serve(Path(folder))
        try:
            own = {"Sec-Fetch-Site": "same-origin", "Origin": base}
            client = httpx.Client(base_url=base, headers=own)
            client.get("/launch", params={"token": token})
            made = client.post("/api/v1/tokens", json={"name": "benchmark"})
            spent: list[float] = []
            until = time.monotonic() + asked.seconds
            people = [
                threading.Thread(
                    target=person,
                    args=(base, made.json()["token"], case, asked.cells, until, spent),
                )
                for _ in range(asked.clients)
            ]
            for one in people:
                one.start()
            for one in people:
                one.join()
        finally:
            process.terminate()
            process.wait()
    middle, high = np.quantile(np.array(spent) * 1000, [0.5, 0.95])
    print(f"{asked.clients} people, {len(spent):,} labels in {asked.seconds} s:")
    print(f"p50 {middle:.0f} ms, p95 {high:.0f} ms until a label is on disk")


if __name__ == "__main__":
    main()
