"""kill -9 at random moments, then the same command: the result of an undisturbed run."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import numpy as np
import polars as pl

from tests.torture.commands import COMMAND, Ended, blastscope, environment, kill, start
from tests.torture.disk import contents
from tests.torture.material import Material


@dataclass(frozen=True)
class Verb:
    """A command that is killed: its words with an output, and what of that must be equal."""

    words: Callable[[Path], Sequence[object]]
    files: tuple[str, ...] = ()  # byte for byte
    tables: tuple[str, ...] = ()  # row for row
    search: bool = False  # trials and their scores, in its outcome.json


def verbs(made: Material) -> dict[str, Verb]:
    """Return the commands that are killed; a further one is one line."""
    store = ("--store", made.store)
    short = ("--set", "training.epochs=1")
    study = ("--only", "paper/cnn-exp2", "--protocol", "subject", "--set", "input.size=64")
    search = ("--split", made.split, "--space", made.space, "--trials", 4, "--objective", "auc")
    table = "predictions.parquet"
    return {
        "prepare": Verb(
            lambda out: ("prepare", made.cells, "--out", out, "--size", 32),
            files=("cells.parquet", "pixels.npy"),
        ),
        "train": Verb(
            lambda out: ("train", made.recipe, *store, "--split", made.split, "--out", out),
            files=("checkpoint.safetensors",),
            tables=(table,),
        ),
        "crossval": Verb(
            lambda out: ("crossval", made.recipe, *store, "--folds", 2, *short, "--out", out),
            tables=(table,),
        ),
        "tune": Verb(
            lambda out: ("tune", made.recipe, *search, *store, *short, "--out", out), search=True
        ),
        "reproduce": Verb(
            lambda out: ("reproduce", "--data", made.cells, *study, *short, "--out", out),
            tables=(f"runs/subject-seed24/paper/cnn-exp2/{table}",),
        ),
        "predict": Verb(
            lambda out: ("predict", made.cells, "--out", out / "p.csv"), files=("p.csv",)
        ),
    }


def _result(verb: Verb, out: Path) -> dict[str, object]:
    found: dict[str, object] = {name: contents(out).get(name) for name in verb.files}
    for name in verb.tables:
        path = out / name
        found[name] = None
        if path.is_file():
            frame = pl.read_parquet(path)
            keys = [one for one in ("repeat", "model", "part", "cell") if one in frame.columns]
            found[name] = frame.sort(keys).rows()
    if verb.search:
        found["trials"] = _trials(out / "outcome.json")
    return found


def _trials(path: Path) -> object:
    """Return what a search says of its trials, without the time that they took."""
    if not path.is_file():
        return None
    content = json.loads(path.read_text())
    trials = [{k: v for k, v in one.items() if k != "seconds"} for one in content["trials"]]
    return trials, content["hand_made"], content["looks"], content["winner"]["number"]


def torture_kills(verb: Verb, scratch: Path, kills: int, seed: int) -> tuple[int, list[str]]:
    """Kill a command at random moments of its undisturbed time, each time in a new folder.

    Returns:
        How often it was killed before it had ended, and the faults.
    """
    rng = np.random.default_rng(seed)
    whole = scratch / "whole"
    whole.parent.mkdir(parents=True, exist_ok=True)
    first = blastscope(*verb.words(whole))
    if first.status != 0:
        return 0, [f"the undisturbed command fails: {first.error[-500:]}"]
    expected, faults, killed = _result(verb, whole), [], 0
    if None in expected.values():
        return 0, [f"the undisturbed command wrote no {sorted(expected)}"]
    for number in range(kills):
        out = scratch / f"killed-{number}"
        while True:
            process = start([*COMMAND, *map(str, verb.words(out))])
            try:
                process.wait(float(rng.uniform(0.3, max(0.5, first.seconds))))
            except subprocess.TimeoutExpired:
                kill(process)
                killed += 1
            if rng.random() < 0.7 or process.returncode == 0:  # some are killed twice and more
                break
        again: Ended = blastscope(*verb.words(out))
        if again.status == 2 and "exists already" in again.told:  # it was whole when it was killed
            again = replace(again, status=0)
        if again.status != 0:
            faults.append(f"after kill {number}: {again.fault or again.error[-500:]}")
        elif _result(verb, out) != expected:
            faults.append(f"after kill {number}: another result, in {out}")
        else:
            shutil.rmtree(out)
    return killed, faults


class Server:
    """``blastscope serve`` in a process of its own, and a browser that is signed in."""

    def __init__(self, folder: Path) -> None:
        words = [*COMMAND, "serve", "--folder", str(folder), "--port", "0", "--json"]
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, env=environment(), start_new_session=True
        )
        assert self.process.stdout is not None
        told = ""
        while not told.rstrip().endswith("}"):
            line = self.process.stdout.readline().decode()
            if not line:
                raise RuntimeError(f"the server ended: {self.process.wait()}")
            told += line
        self.base, _, query = json.loads(told)["address"].partition("/launch")
        headers = {"Sec-Fetch-Site": "same-origin", "Origin": self.base}
        self.client = httpx.Client(base_url=self.base, headers=headers, timeout=60)
        assert self.client.get(f"/launch{query}").status_code == 303


def _scored(server: Server, files: Sequence[Path], case: int, seconds: float) -> dict[str, object]:
    """Send all files (again), wait for the scores, and return them by file."""
    for path in files:
        answer = server.client.put(
            f"/api/v1/cases/{case}/files", params={"name": path.name}, content=path.read_bytes()
        )
        if answer.status_code not in (200, 201):
            raise RuntimeError(f"{path.name}: {answer.status_code} {answer.text[:200]}")
    server.client.post(f"/api/v1/cases/{case}/files/done", json={}).raise_for_status()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        told = server.client.get(f"/api/v1/cases/{case}").json()
        progress = told["progress"]
        if told["state"] == "review" and progress["scored"] == len(files):
            text = server.client.get(f"/api/v1/cases/{case}/export/cells.csv").text
            frame = pl.read_csv(text.encode(), infer_schema_length=None)
            return dict(frame.select("file", "p_all").iter_rows())
        time.sleep(0.2)
    raise RuntimeError(f"not scored in {seconds:.0f} s: {told}")


def torture_server(made: Material, scratch: Path, kills: int, seed: int) -> tuple[int, list[str]]:
    """Kill a workbench while files are sent and scored; then all is sent again, and scored."""
    rng = np.random.default_rng(seed)
    files = sorted(made.cells.rglob("*.bmp"))
    body = {"material": "marrow", "sampling": "all"}
    server = Server(scratch / "bench")
    faults, killed = [], 0
    expected: dict[str, object] = {}
    try:
        for number in range(-1, kills):
            if server.process.poll() is not None:
                server = Server(scratch / "bench")
            new = {**body, "identifier": f"K-{number + 2}"}
            case = server.client.post("/api/v1/cases", json=new).json()["id"]
            began = time.monotonic()
            if number < 0:
                expected = _scored(server, files, case, 300)
                whole = time.monotonic() - began
                continue
            sending = threading.Thread(target=_until_dead, args=(server, files, case))
            sending.start()
            time.sleep(float(rng.uniform(0.05, whole)))
            kill(server.process)
            killed += 1
            sending.join()
            server = Server(scratch / "bench")
            found = _scored(server, files, case, 300)
            if found != expected:
                faults.append(f"after kill {number}: {len(found)} cells, other scores")
    except (RuntimeError, httpx.HTTPError, AssertionError) as error:
        faults.append(f"{type(error).__name__}: {error}")
    finally:
        kill(server.process)
    return killed, faults


def _until_dead(server: Server, files: Sequence[Path], case: int) -> None:
    with suppress(RuntimeError, httpx.HTTPError, ValueError, KeyError):  # it is killed
        _scored(server, files, case, 300)
