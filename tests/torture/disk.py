"""A full disk at every write, folders that are read-only, and two processes on one folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.torture.commands import COMMAND, Ended, blastscope, kill, start
from tests.torture.material import Material

Words = Callable[[Path], Sequence[object]]


def commands(made: Material) -> dict[str, Words]:
    """Return the commands by name; each takes a folder to write to."""
    return {
        "prepare": lambda out: ("prepare", made.cells, "--out", out / "store", "--size", 32),
        "train": lambda out: (
            "train", made.recipe, "--store", made.store, "--split", made.split,
            "--out", out / "run",
        ),
        "predict": lambda out: ("predict", made.cells, "--out", out / "p.csv"),
        "evaluate": lambda out: ("evaluate", made.table, "--out", out / "report"),
        "bundle": lambda out: ("bundle", made.run, "--out", out / "model.zip"),
    }  # fmt: skip


def contents(folder: Path) -> dict[str, str]:
    """Return a digest of each visible file below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") for part in parts):
            found["/".join(parts)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@contextmanager
def _mounted(at: Path, kilobytes: int) -> Iterator[None]:
    at.mkdir(parents=True, exist_ok=True)
    call = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(at)]
    subprocess.run(call, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(at)], check=False)


def can_mount(scratch: Path) -> str | None:
    """Return why no small file system can be mounted; None if one can."""
    if os.geteuid() != 0:
        return "only root mounts file systems"
    try:
        with _mounted(scratch / "probe", 64):
            return None
    except (OSError, subprocess.CalledProcessError) as error:
        return str(error)


def torture_disk(
    made: Material, scratch: Path, steps: Sequence[int], verbs: Sequence[str] = ()
) -> tuple[Counter[str], list[str]]:
    """Run each command on disks of growing size, then with room for the same folder.

    Args:
        steps: the sizes, KiB.
        verbs: which commands; all of them by default.

    Returns:
        How often each command met a full disk, and the faults.
    """
    full: Counter[str] = Counter()
    faults: list[str] = []
    for name, words in commands(made).items():
        if verbs and name not in verbs:
            continue
        whole = scratch / f"whole-{name}"
        blastscope(*words(whole))
        expected = _told(name, whole)
        for kilobytes in steps:
            at = scratch / "small"
            with _mounted(at, kilobytes):
                ended = blastscope(*words(at))
                if ended.status == 0:
                    break
                full[name] += 1
                where = f"{name} on a disk of {kilobytes} KiB"
                faults += _faults(where, ended)
                half = [path for path in contents(at) if _is_half(at / path, whole, at)]
                if half:
                    faults.append(f"{where} leaves {half[:3]} half written")
                grown = ["mount", "-o", "remount,size=64m", str(at)]
                subprocess.run(grown, check=True, capture_output=True)
                again = blastscope(*words(at))
                if again.status != 0 or _told(name, at) != expected:
                    faults.append(f"{where}: with room again it gives another result {again.told}")
    return full, faults


def _told(name: str, folder: Path) -> dict[str, str]:
    """Return what must be equal of a command's result: files without times or paths in them."""
    wanted = {
        "prepare": ("store/pixels.npy", "store/cells.parquet"),
        "train": ("run/checkpoint.safetensors", "run/predictions.parquet"),
        "predict": ("p.csv",),
        "evaluate": ("report/metrics.json",),
        "bundle": ("model.zip",),
    }[name]
    found = contents(folder)
    return {one: found.get(one, "missing") for one in wanted}


def _is_half(path: Path, whole: Path, folder: Path) -> bool:
    """Say whether a file is a mere beginning of the one that an undisturbed command writes."""
    other = whole / path.relative_to(folder)
    if not other.is_file():
        return False
    found, expected = path.read_bytes(), other.read_bytes()
    return len(found) < len(expected) and expected.startswith(found)


def _faults(where: str, ended: Ended) -> list[str]:
    found = [f"{where}: {ended.fault}"] if ended.fault else []
    if ended.status != 2:
        found.append(f"{where}: exit status {ended.status}")
    elif not ended.told:
        found.append(f"{where}: no sentence: {ended.error[-300:]}")
    return found


def torture_limits(made: Material, scratch: Path, limits: Sequence[int]) -> tuple[int, list[str]]:
    """Run each command where no file may grow beyond a limit, which needs no rights."""
    tried, faults = 0, []
    for name, words in commands(made).items():
        for limit in limits:
            out = scratch / f"limit-{name}-{limit}"
            ended = blastscope(*words(out), limit=limit)
            tried += 1
            if ended.status == 0:
                continue
            faults += _faults(f"{name} with files of {limit} bytes at most", ended)
            shutil.rmtree(out, ignore_errors=True)
    return tried, faults


def torture_read_only(made: Material, scratch: Path) -> tuple[int, list[str]]:
    """Write below a file, and below a read-only file system if one can be mounted."""
    faults, tried = [], 0
    blocked = scratch / "a-file"
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.write_text("not a folder")
    places = [blocked]
    frozen = scratch / "frozen"
    mounted = can_mount(scratch) is None
    if mounted:
        frozen.mkdir(exist_ok=True)
        call = ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "none", str(frozen)]
        subprocess.run(call, check=True)
        places.append(frozen)
    try:
        for name, words in commands(made).items():
            for place in places:
                tried += 1
                faults += _faults(f"{name} into {place.name}", blastscope(*words(place)))
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(frozen)], check=False)
    return tried, faults


def torture_two(made: Material, scratch: Path) -> tuple[int, list[str]]:
    """Start a command while another process is at the same folder: it must be told, or wait."""
    faults, told = [], 0
    for name in ("prepare", "train", "predict"):
        words = commands(made)[name]
        out = scratch / f"two-{name}"
        first = start([*COMMAND, *map(str, words(out))])
        lock = {"prepare": ".store.lock", "train": ".run.lock", "predict": ".p.csv.lock"}[name]
        waited = time.monotonic() + 120
        while first.poll() is None and not (out / lock).exists() and time.monotonic() < waited:
            time.sleep(0.005)
        os.kill(first.pid, 19)  # it stands still while the second one comes
        second = blastscope(*words(out))
        os.kill(first.pid, 18)
        if second.status == 2 and "another process" in second.told:
            told += 1
        else:
            faults.append(f"two of {name}: {second.status}: {second.error[-300:]}")
        if first.wait() != 0:
            faults.append(f"two of {name}: the first one ended with {first.returncode}")
        kill(first)
    return told, faults
