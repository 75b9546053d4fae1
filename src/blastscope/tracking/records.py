"""What a folder holds about its run, as a tracking server takes it: parameters, metrics, files.

A record is made of a finished folder, so that a run is the same with tracking and without, and a
run that was interrupted is recorded once.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json, sha256_of
from blastscope.recipes.reading import read_yaml

_FILES = (
    "report.html", "recipe.yaml", "winner.yaml", "hand-made.yaml", "predictions.parquet",
    "metrics.json", "outcome.json", "crossval.json", "seeds.json", "history.csv", "decision.json",
    "card.md", "environment.json", "results.md",
)  # fmt: skip
_KINDS = {
    "tuning.json": "search",
    "crossval.json": "cross-validation",
    "seeds.json": "seeds",
    "study.json": "reproduction",
    "environment.json": "run",
}
_TOLD = ("store", "split", "protocol", "synthetic")
"""Keys of a run's identity that are recorded as parameters."""
ARTIFACTS = "mlflow-artifacts"
"""The folder beside a local database, whose copies of runs are not runs of their own."""
_HIDDEN = ("title", "paper", "expected", "overrides")


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Attributes:
        key: a digest of what the folder holds; equal for the same outcome.
        metrics: final ones: ``test/auc``, and ``test/auc/low`` and ``/high`` of its 95 % interval.
        history: metrics by epoch (or fold), from 1.
        files: what is kept with it, from ``folder``.
        reason: why it failed; empty if it did not.
        children: the runs that it is made of.
    """

    name: str
    kind: str
    key: str
    folder: Path | None
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    history: tuple[tuple[int, Mapping[str, float]], ...] = ()
    files: tuple[Path, ...] = ()
    reason: str = ""
    children: tuple[RunRecord, ...] = ()


def read_record(folder: Path) -> RunRecord:
    """Read the record of a run, a cross-validation, seeds, a search or a reproduction.

    Raises:
        BlastscopeError: if the folder is none of these, or not finished.
    """
    kind = next((kind for marker, kind in _KINDS.items() if (folder / marker).is_file()), None)
    files = tuple(folder / name for name in _FILES if (folder / name).is_file())
    if kind is None or not (folder / "report.html").is_file():
        raise BlastscopeError(f"{folder} is not a finished run: train it first.")
    if kind == "run":
        return _of_run(folder, files)
    children = [*_trials(folder)] if kind == "search" else []
    children += [
        _of_run(path.parent, tuple(p for n in _FILES if (p := path.parent / n).is_file()))
        for path in sorted(folder.rglob("environment.json"))
        if (path.parent / "predictions.parquet").is_file() and ARTIFACTS not in path.parts
    ]
    own = [sha256_of(path) for path in files if path.suffix in (".json", ".parquet")]
    key = hashlib.sha256("".join([*own, *(one.key for one in children)]).encode()).hexdigest()
    recipe = _recipe(folder / "winner.yaml") if kind == "search" else {}
    if kind in ("cross-validation", "seeds") and children:
        recipe = {k: v for k, v in children[0].params.items() if not k.startswith("identity.")}
        recipe.pop("training.seed", None)
    name = recipe.get("name") or folder.resolve().name
    if kind == "search":
        name = f"{read_json(folder / 'outcome.json')['recipe']}-tuned"
    return RunRecord(
        name=name,
        kind=kind,
        key=key,
        folder=folder,
        params=recipe,
        metrics=_search_metrics(folder) if kind == "search" else _metrics(folder),
        files=files,
        children=tuple(children),
    )


def _of_run(folder: Path, files: tuple[Path, ...]) -> RunRecord:
    about = read_json(folder / "environment.json")
    recipe = _recipe(folder / "recipe.yaml")
    identity = about.get("identity", {})
    told = {f"identity.{name}": str(identity[name]) for name in _TOLD if name in identity}
    return RunRecord(
        name=recipe.get("name", folder.name),
        kind="run",
        key=f"{about.get('checkpoint')} {identity.get('split')}",
        folder=folder,
        params=recipe | told,
        metrics=_metrics(folder),
        history=tuple(_history(folder / "history.csv")),
        files=files,
    )


def _recipe(path: Path) -> dict[str, str]:
    """Return the settings of a recipe by dotted keys, as text."""
    if not path.is_file():
        return {}
    content = read_yaml(path)
    return dict(_flat({k: v for k, v in content.items() if k not in _HIDDEN}))


def _flat(content: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", str(value)


def _metrics(folder: Path) -> dict[str, float]:
    """Return the metrics of every part, with the intervals of the reported one."""
    if not (folder / "metrics.json").is_file():
        return {}
    content = read_json(folder / "metrics.json")
    found = {
        f"{part}/{name}": value
        for part, metrics in content["parts"].items()
        for name, value in metrics.items()
    }
    part = content["part"]
    for name, (low, high) in content["intervals"].items():
        found |= {f"{part}/{name}/low": low, f"{part}/{name}/high": high}
    equal = (content.get("shortcuts") or {}).get("equal_size")
    if equal is not None:
        found |= _estimate(f"{part}/equal_size_auc", equal["matched"])
    return _numbers(found)


def _search_metrics(folder: Path) -> dict[str, float]:
    content = read_json(folder / "outcome.json")
    names = ("hand_made", "gain", "selection_cost", "hand_made_drop")
    found: dict[str, Any] = {name: content.get(name) for name in names}
    found |= {f"looks/{name}": count for name, count in content["looks"].items()}
    found["score"] = (content.get("winner") or {}).get("score")
    for name in ("winner", "hand_made", "difference"):
        if content.get("judged"):
            found |= _estimate(f"judged/{name}", content["judged"][name])
    return _numbers(found)


def _trials(folder: Path) -> Iterator[RunRecord]:
    content = read_json(folder / "outcome.json")
    for trial in content["trials"]:
        yield RunRecord(
            name=f"trial {trial['number']}",
            kind=f"trial, {trial['state']}",
            key=f"trial {trial['number']}",
            folder=None,
            params={key: str(value) for key, value in trial["settings"].items()},
            metrics=_numbers({name: trial[name] for name in ("score", "last", "seconds")}),
            reason=trial["reason"],
        )


def _estimate(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found["value"], f"{name}/low": found["low"], f"{name}/high": found["high"]}


def _history(path: Path) -> Iterator[tuple[int, dict[str, float]]]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            values = {name: float(value) for name, value in row.items() if name != "epoch"}
            yield int(float(row["epoch"])), _numbers(values)


def _numbers(found: Mapping[str, Any]) -> dict[str, float]:
    """Leave out what is undefined: a server has no place for it."""
    return {
        name: float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
