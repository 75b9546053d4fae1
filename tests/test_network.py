"""No telemetry: nothing is sent anywhere at import or in normal use, unless it is asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from blastscope import process
from tests.training.conftest import RECIPE

SCRIPT = """
import socket, sys

tried = []

def refuse(address, family):
    if family in (socket.AF_INET, socket.AF_INET6):
        if str(address[0]) not in ("127.0.0.1", "::1", "localhost"):
            tried.append(str(address))
            raise OSError("no network in this test")

class Watched(socket.socket):
    def connect(self, address):
        refuse(address, self.family)
        return super().connect(address)

    def connect_ex(self, address):
        refuse(address, self.family)
        return super().connect_ex(address)

    def sendto(self, data, *rest):
        refuse(rest[-1], self.family)
        return super().sendto(data, *rest)

def lookup(host, *rest, **more):
    if host not in ("127.0.0.1", "::1", "localhost", None):
        tried.append(str(host))
        raise socket.gaierror("no network in this test")
    return real(host, *rest, **more)

real, socket.getaddrinfo = socket.getaddrinfo, lookup
socket.socket = Watched
"""

WORK = """
from pathlib import Path
import blastscope as bs

folder = Path(sys.argv[1])
cells = bs.synthesize(folder / "cells", 36, 9, seed=3)
table = bs.predict(folder / "cells", out=folder / "p.csv")
store = bs.prepare(folder / "cells", out=folder / "store", size=32)
split = bs.split(store, "subject", seed=3)
recipe = bs.load_recipe(folder / "tiny.yaml", {"training.epochs": 1})
run = bs.train(recipe, store, split, out=folder / "run")
bs.evaluate(run)
"""

OPTIONAL = """
import importlib
from importlib.util import find_spec

for name in ("huggingface_hub", "onnxruntime", "optuna", "mlflow", "ray", "fsspec"):
    if find_spec(name):
        importlib.import_module(name)
"""

END = """
import time
time.sleep(0.5)  # a thread may phone home later
print("TRIED", tried)
"""


def _tried(work: str, *words: object) -> str:
    home = {"HOME": str(Path(str(words[0])) / "home")} if words else {}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + work + END, *map(str, words)],
        env={**os.environ, **home}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()[-1]


def test_predict_train_and_evaluate_need_no_network(tmp_path):
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    assert _tried(WORK, tmp_path) == "TRIED []"


def test_importing_the_libraries_sends_nothing(tmp_path):
    assert _tried(OPTIONAL, tmp_path) == "TRIED []"


def test_the_watch_sees_what_is_sent(tmp_path):
    sends = (
        "import urllib.request\n"
        "try:\n    urllib.request.urlopen('http://telemetry.invalid/')\n"
        "except OSError:\n    pass\n"
    )
    assert "telemetry.invalid" in _tried(sends, tmp_path)


def test_the_command_line_turns_telemetry_off(monkeypatch):
    for name in process._NO_TELEMETRY:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DO_NOT_TRACK", "mine")
    process.no_telemetry()
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert os.environ["DO_NOT_TRACK"] == "mine"  # a choice that is there stays
    for name in process._NO_TELEMETRY:  # set by the test, not by the user
        monkeypatch.delenv(name)
