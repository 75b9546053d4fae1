"""What made a result: the version of the code, the packages, the machine and the command.

Every marker of a work folder, ``environment.json`` of a run and ``ensemble.json`` hold it, so that
``blastscope verify`` can say what differs here.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

from blastscope.io.files import sha256_of, write_json
from blastscope.parallel import cores, memory

FILE, FORMAT = "provenance.json", "blastscope-provenance/1"
_HIDDEN = "***"
_SECRET_NAMES = r"password|passwd|passphrase|secret|token|api[-_]?key|access[-_]?key|credentials?"
_SECRET_OPTION = re.compile(rf"--?[\w-]*(?:{_SECRET_NAMES})[\w-]*", re.IGNORECASE)
_SECRET_VALUE = re.compile(rf"([\w.-]*(?:{_SECRET_NAMES}|signature|sig)=)[^&\s]+", re.IGNORECASE)
_USER_OF_URL = re.compile(r"(\w[\w+.-]*://)[^/@\s]*@")
_NOT_OF_USERS = ("dev", "fetch")  # extras that no result follows from


def provenance() -> dict[str, Any]:
    """Return what makes the results of this process, as JSON.

    Returns:
        ``command``: the words of the command, without secrets; ``code``: ``version``, and
        ``commit`` and ``dirty`` of the checkout (None outside one); ``python``; ``packages``: their
        versions; ``platform``, ``processor``, ``cores``, ``memory`` in bytes, and ``gpus`` (None if
        PyTorch is not loaded: nothing was computed on one).
    """
    found = {
        "command": command(sys.argv),
        "code": code_version(),
        "python": platform.python_version(),
        "packages": package_versions(),
    }
    return {**found, **hardware()}


def command(words: Sequence[str]) -> list[str]:
    """Return a command's words without secrets: passwords in URLs, and values of such options."""
    told, hide = [], False
    for place, word in enumerate(words):
        if place == 0:
            name = Path(word).name
            told.append("blastscope" if name in ("__main__.py", "blastscope.exe") else name)
            continue
        if hide and not word.startswith("-"):
            told.append(_HIDDEN)
        else:
            safe = _USER_OF_URL.sub(rf"\1{_HIDDEN}@", word)
            told.append(_SECRET_VALUE.sub(rf"\1{_HIDDEN}", safe))
        hide = _SECRET_OPTION.fullmatch(word) is not None
    return told


@cache
def code_version() -> dict[str, Any]:
    """Return the package's version, and the commit of the checkout that it is run from.

    ``dirty`` says whether files of the package differ from the commit. Both are None for an
    installed package, and if git is not at hand.
    """
    from blastscope import __version__

    package = Path(__file__).resolve().parents[1]
    commit = dirty = None
    # A virtual environment may lie in somebody else's checkout, which does not track the package.
    if _git(package, "ls-files", "--error-unmatch", "--", "__init__.py"):
        commit = _git(package, "rev-parse", "HEAD")
        changes = _git(package, "status", "--porcelain", "--", ".")
        dirty = None if changes is None else bool(changes)
    return {"version": __version__, "commit": commit, "dirty": dirty}


def _git(folder: Path, *words: str) -> str | None:
    """Return what git prints; None if it fails or is missing."""
    import subprocess

    call = ["git", "--no-optional-locks", "-C", str(folder), *words]
    try:
        done = subprocess.run(call, capture_output=True, text=True, timeout=10)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@cache
def package_versions() -> Mapping[str, str]:
    """Return the versions of blastscope and of what it depends on, by name, as installed."""
    from blastscope import __version__

    found = {"blastscope": __version__}
    for name in _requirements():
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # of an extra that is not installed
            continue
    return found


def _requirements() -> list[str]:
    try:
        wanted = distribution("blastscope").requires or []
    except PackageNotFoundError:  # run from a checkout that is not installed
        wanted = ["numpy", "opencv-python-headless", "polars", "scikit-learn", "torch", "timm"]
    names = set()
    for line in wanted:
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)", line)
        name = re.match(r"[\w.-]+", line)
        if name and name[0] != "blastscope" and not (extra and extra[1] in _NOT_OF_USERS):
            names.add(name[0])
    return sorted(names)


def hardware() -> dict[str, Any]:
    """Return the platform, the processor, cores, memory (bytes) and the GPUs that PyTorch sees."""
    found = memory()
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": cores(),
        "memory": int(found) if found < float(2**62) else None,
        "gpus": _gpus(),
    }


def _gpus() -> list[str] | None:
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    if not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]


@cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor()


def differences(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return what differs of two provenances: a name, what was recorded, what is here.

    The command and the memory, which decide no result, are left out, and so is whatever is not
    known of one of them.
    """
    found = []
    for name in ("code", "python", "packages", "platform", "processor", "cores", "gpus"):
        then, now = recorded.get(name), here.get(name)
        if then is None or now is None or then == now:
            continue
        if isinstance(then, Mapping) and isinstance(now, Mapping):
            found += [
                (f"{name}.{key}", _shown(then.get(key)), _shown(now.get(key)))
                for key in sorted({*then, *now})
                if then.get(key) != now.get(key) and key in then
            ]
        else:
            found.append((name, _shown(then), _shown(now)))
    return found


def _shown(value: Any) -> str:
    if value is None:
        return "unknown"
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def record_beside(folder: Path, marker: str, *results: str) -> None:
    """Write ``provenance.json`` for a folder whose marker holds nothing but its content.

    The digests of the marker and of ``results`` are in it.
    """
    digests = {name: sha256_of(folder / name) for name in (marker, *results)}
    write_json(folder / FILE, {"format": FORMAT, "digests": digests, "provenance": provenance()})
