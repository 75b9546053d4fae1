"""kill -9 of the server loses no acknowledged event and doubles none; the next one goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.workbench.filling import fill_folder

KILLS = int(os.environ.get("BLASTSCOPE_KILLS", "1"))
"""How often the server is killed; ``make torture`` does it 30 times."""


class Server:
    """``blastscope serve`` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "blastscope", "serve", "--folder", str(folder)]
        self.process = subprocess.Popen(
            [*command, "--port", "0", "--json"], stdout=subprocess.PIPE, text=True
        )
        told = ""
        while not told.rstrip().endswith("}"):
            line = self.process.stdout.readline()
            assert line, "the server ended"
            told += line
        self.base, _, query = json.loads(told)["address"].partition("/launch")
        headers = {"Sec-Fetch-Site": "same-origin", "Origin": self.base}
        self.client = httpx.Client(base_url=self.base, headers=headers, timeout=60)
        assert self.client.get(f"/launch{query}").status_code == 303

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        self.process.stdout.close()


def send_until_dead(server: Server, case: int, acknowledged: dict, sent: dict) -> None:
    """Send labels one after the other, and remember what the server said it has."""
    number = 0
    while True:
        number += 1
        event = {
            "id": str(uuid4()), "kind": "label", "cells": [number % 40 + 1],
            "value": "ANUX"[number % 4],
        }  # fmt: skip
        sent[event["id"]] = event
        try:
            answer = server.client.post(f"/api/v1/cases/{case}/events", json={"events": [event]})
        except httpx.HTTPError:
            return
        if answer.status_code == 200:
            acknowledged[event["id"]] = event


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is for POSIX systems")
def test_a_killed_server_loses_and_doubles_nothing(tmp_path):
    case = fill_folder(tmp_path / "bench", 40)
    acknowledged: dict = {}
    sent: dict = {}
    server = Server(tmp_path / "bench")
    for _ in range(KILLS):
        sending = [
            threading.Thread(target=send_until_dead, args=(server, case, acknowledged, sent))
            for _ in range(3)
        ]
        for thread in sending:
            thread.start()
        enough, waited = len(acknowledged) + 10, time.monotonic() + 60
        while len(acknowledged) < enough and time.monotonic() < waited:
            time.sleep(0.02)
        server.kill()
        for thread in sending:
            thread.join()
        server = Server(tmp_path / "bench")
    again = [event for id, event in sent.items() if id in list(acknowledged)[-5:]]
    lost = [event for id, event in sent.items() if id not in acknowledged]
    for event in [*again, *lost]:  # a browser sends what was not acknowledged again
        answer = server.client.post(f"/api/v1/cases/{case}/events", json={"events": [event]})
        assert answer.status_code == 200
    stored: list[str] = []
    after = 0
    while True:
        address = f"/api/v1/cases/{case}/history?kind=label&after={after}&limit=5000"
        told = server.client.get(address).json()
        stored += [one["id"] for one in told["events"]]
        if not told["more"]:
            break
        after = told["events"][-1]["seq"]
    server.end()
    assert server.process.returncode == 0
    assert len(acknowledged) >= 10 * KILLS
    assert len(stored) == len(set(stored))
    assert set(stored) == set(sent)
