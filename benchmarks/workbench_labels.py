"""How long a label takes until it is on disk, with many people at once.

Each of CLIENTS people sends two labels a second, on one case of CELLS cells with made-up scores;
the figures are of the whole way over HTTP on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
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


async def person(
    port: int, secret: str, case: int, cells: int, until: float, spent: list[float]
) -> None:
    """Send labels as one person does, and note how long each takes.

    By hand over a socket: an HTTP library for each of many people takes more of the machine than
    the server does, and its waiting would be measured as the server's.
    """
    rng = np.random.default_rng()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.sleep(rng.uniform(0, EVERY))
    while (begun := time.monotonic()) < until:
        event = {
            "id": str(uuid4()), "kind": "label", "cells": [int(rng.integers(1, cells + 1))],
            "value": "ANUX"[int(rng.integers(4))],
        }  # fmt: skip
        body = json.dumps({"events": [event]}).encode()
        head = (
            f"POST /api/v1/cases/{case}/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"Authorization: Bearer {secret}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(answer.decode())
        length = re.search(rb"content-length: (\d+)", answer)
        await reader.readexactly(int(length[1]) if length else 0)
        spent.append(time.monotonic() - begun)
        await asyncio.sleep(max(0.0, EVERY - (time.monotonic() - begun)))
    writer.close()


def seconds_of(process: int) -> float:
    """Return the seconds of processor time that a process has taken (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
            about = (int(base.rpartition(":")[2]), made.json()["token"], case, asked.cells, until)
            before = seconds_of(process.pid)

            async def all_people() -> None:
                await asyncio.gather(*(person(*about, spent) for _ in range(asked.clients)))

            asyncio.run(all_people())
            taken = seconds_of(process.pid) - before
        finally:
            process.terminate()
            process.wait()
    middle, high = np.quantile(np.array(spent) * 1000, [0.5, 0.95])
    print(f"{asked.clients} people, {len(spent):,} labels in {asked.seconds} s:")
    print(f"p50 {middle:.0f} ms, p95 {high:.0f} ms until a label is on disk;")
    print(f"{1000 * taken / len(spent):.1f} ms of the server's processor time a label; ", end="")
    print(f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
