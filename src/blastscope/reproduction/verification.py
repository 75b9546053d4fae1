"""Check a folder against the digests that it recorded: is it still what it was?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from blastscope.bundle.contents import MANIFEST, Contents, digest_of, is_bundle
from blastscope.bundle.manifest import read_manifest
from blastscope.data.split_table import read_split
from blastscope.data.store import INFO, PIXELS, open_store, pixels_digest
from blastscope.ensemble.ensemble_folder import read_ensemble
from blastscope.errors import BlastscopeError
from blastscope.evaluation import file_digests
from blastscope.evaluation.sources import ENSEMBLE
from blastscope.io.files import read_json, sha256_of, sha256_of_json
from blastscope.io.predictions import predictions_digest, read_predictions
from blastscope.io.provenance import FILE
from blastscope.io.remote import refuse_remote
from blastscope.io.workfolder import MARKERS
from blastscope.recipes.library import read_recipe
from blastscope.tracking.records import ARTIFACTS

Status = Literal["ok", "changed", "missing", "not-found", "not-recorded"]
RUN = "environment.json"
_EVALUATED = ("metrics.json", "decision.json", file_digests.NAME)
_TABLE, _RECIPE, _WEIGHTS = "predictions.parquet", "recipe.yaml", "checkpoint.safetensors"


@dataclass(frozen=True)
class CheckedItem:
    """One file or input and what became of it.

    Attributes:
        name: the file, relative to the folder; or the input: ``store``, ``split``, ``start`` ...
        status: ``missing`` is a file of the folder; ``not-found`` an input that may lie elsewhere;
            ``not-recorded``: nothing says what it was.
        path: where it is, or was.
        reason: why it counts as changed, if it cannot be read.
    """

    name: str
    status: Status
    path: Path
    reason: str = ""

    @property
    def fails(self) -> bool:
        """Whether it is not what was recorded."""
        return self.status in ("changed", "missing")


@dataclass(frozen=True)
class InputPaths:
    """Where the inputs of runs are; where a run recorded them if None."""

    store: Path | None = None
    split: Path | None = None
    weights_dir: Path | None = None

    def at(self, name: str, environment: Mapping[str, Any]) -> Path | None:
        """Return the path of an input; None if nothing says it."""
        given = getattr(self, name, None)
        recorded = (environment.get("inputs") or {}).get(name)
        return given if given is not None else None if recorded is None else Path(recorded)


@dataclass(frozen=True)
class Verification:
    """What a folder holds, item by item, and what made it."""

    kind: str
    items: tuple[CheckedItem, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)


def verify_folder(path: Path, inputs: InputPaths | None = None) -> Verification:
    """Check a bundle, a store, a run, or a folder that holds runs.

    Raises:
        BlastscopeError: if it is none of these, or records no digests.
    """
    refuse_remote(path)
    if not path.exists():
        raise BlastscopeError(f"{path} does not exist: give a run, bundle or other folder.")
    if is_bundle(path):
        return Verification("a bundle", tuple(_bundle(Contents(path))), _of_bundle(path))
    marker = next((name for name in MARKERS if (path / name).is_file()), None)
    if marker is None:
        raise BlastscopeError(
            f"{path} was not made by blastscope: give a run, a bundle, or another of its folders."
        )
    items = tuple(_folder(path, inputs or InputPaths()))
    if not items:
        raise BlastscopeError(
            f"{path} holds {MARKERS[marker]}, which records no digests: give a run, a bundle, a "
            "store or a folder of runs."
        )
    content = read_json(path / marker)
    beside = read_json(path / FILE) if (path / FILE).is_file() else {}
    made = content if marker == RUN else (content | beside).get("provenance")
    return Verification(MARKERS[marker], items, made if isinstance(made, dict) else {})


def _folder(path: Path, inputs: InputPaths) -> Iterator[CheckedItem]:
    """Check all work folders at and below a path, but for hidden ones."""
    for marker in sorted(_visible(path, "*.json")):
        folder, name = marker.parent, marker.name
        where = folder.relative_to(path).as_posix()
        prefix = "" if where == "." else f"{where}/"
        if name == RUN:
            yield from _run(folder, prefix, inputs)
        elif name == INFO:
            yield from _store(folder, prefix)
        elif name == ENSEMBLE:
            yield from _members(folder, prefix)
        elif name == MANIFEST:
            yield from _bundle(Contents(folder), prefix)
        elif name == FILE or name in MARKERS:
            digests = read_json(marker).get("digests")
            yield from _files(folder, prefix, digests if isinstance(digests, dict) else {})
    for folder in _evaluated(path):
        where = folder.relative_to(path).as_posix()
        yield from _evaluation(folder, "" if where == "." else f"{where}/")
    for split in sorted(_visible(path, "*.parquet")):
        if split.parent.name == "splits":
            name = split.relative_to(path).as_posix()
            yield _compare(name, split, None, lambda at: read_split(at).hash)


def _visible(path: Path, pattern: str) -> list[Path]:
    """Return what a pattern finds, but for hidden files and the copies that MLflow keeps."""
    return [
        one
        for one in path.rglob(pattern)
        if not any(p.startswith(".") or p == ARTIFACTS for p in one.relative_to(path).parts)
    ]


def _evaluated(path: Path) -> list[Path]:
    """Return the folders at and below a path that hold an evaluation, but for bundles."""
    found = {file.parent for name in _EVALUATED for file in _visible(path, name)}
    return sorted(folder for folder in found if not (folder / MANIFEST).is_file())


def _evaluation(folder: Path, prefix: str) -> Iterator[CheckedItem]:
    """Compare the files of an evaluation; those of earlier versions have no digests."""
    try:
        recorded = file_digests.recorded_digests(folder)
    except BlastscopeError as error:
        name = file_digests.NAME
        yield CheckedItem(f"{prefix}{name}", "changed", folder / name, str(error))
        return
    known = {name: digest for name, digest in recorded.items() if digest is not None}
    yield from _files(folder, prefix, known)
    for name in sorted(recorded.keys() - known.keys()):
        yield CheckedItem(f"{prefix}{name}", "not-recorded", folder / name)


def _files(
    folder: Path, prefix: str, digests: Mapping[str, Any], of: Mapping[str, Any] | None = None
) -> Iterator[CheckedItem]:
    """Compare files with digests by their names; ``of`` says how some are computed."""
    for name, recorded in digests.items():
        outside = Path(name).anchor or ".." in Path(name).parts
        if outside:  # blastscope did not write it
            continue
        yield _compare(f"{prefix}{name}", folder / name, recorded, (of or {}).get(name, sha256_of))


def _compare(
    name: str, path: Path, recorded: object, digest: Callable[[Path], str], outside: bool = False
) -> CheckedItem:
    """Compare a path's digest with what was recorded; None means that reading it checks it."""
    if not path.exists():
        return CheckedItem(name, "not-found" if outside else "missing", path)
    try:
        found = digest(path)
    except (BlastscopeError, OSError) as error:
        return CheckedItem(name, "changed", path, str(error))
    return CheckedItem(name, "ok" if recorded in (None, found) else "changed", path)


def _run(folder: Path, prefix: str, inputs: InputPaths) -> Iterator[CheckedItem]:
    about = read_json(folder / RUN)
    identity, digests = about.get("identity") or {}, about.get("digests") or {}
    if not digests and "checkpoint" in about:  # a run of an earlier version
        digests = {_WEIGHTS: about["checkpoint"]}
    of = {
        _RECIPE: lambda path: sha256_of_json(read_recipe(path).experiment),
        _TABLE: lambda path: _digest_of_predictions(path, about),
    }
    yield from _files(folder, prefix, digests, of)
    for name in (_RECIPE, _TABLE):
        if name not in digests:
            missing = not (folder / name).exists()
            status: Status = "missing" if missing else "not-recorded"
            yield CheckedItem(f"{prefix}{name}", status, folder / name)
    for name, digest in (
        ("store", lambda path: open_store(path).fingerprint),
        ("split", lambda path: read_split(path).hash),
    ):
        yield _input(f"{prefix}{name}", inputs.at(name, about), identity.get(name), digest)
    start = about.get("starts_from") or {}
    if start:
        path = inputs.at("start", about) or Path(str(start.get("run")))
        yield _input(f"{prefix}start", path / _WEIGHTS, start.get("checkpoint"), sha256_of)
    weights = about.get("initial_weights") or {}
    place = inputs.at("weights_dir", about)
    if weights and place is not None:
        path = place / str(weights.get("file"))
        yield _input(f"{prefix}weights", path, weights.get("sha256"), sha256_of)
    for name in ("teachers", "pseudo_labels"):
        paths = (about.get("inputs") or {}).get(name) or []
        for path, recorded in zip(map(Path, paths), identity.get(name, ()), strict=False):
            table = path / _TABLE if path.is_dir() else path
            yield _input(f"{prefix}{name}", table, recorded, sha256_of)
    averaged = (about.get("inputs") or {}).get("average") or []
    for path, recorded in zip(map(Path, averaged), identity.get("average", ()), strict=False):
        yield _input(f"{prefix}average", path / _WEIGHTS, recorded, sha256_of)


def _input(
    name: str, path: Path | None, recorded: object, digest: Callable[[Path], str]
) -> CheckedItem:
    if path is None or recorded is None:
        return CheckedItem(name, "not-recorded", path or Path())
    return _compare(name, path, recorded, digest, outside=True)


def _digest_of_predictions(path: Path, about: Mapping[str, Any]) -> str:
    """Digest a run's predictions, which must be those of its recorded weights and inputs."""
    frame, metadata = read_predictions(path)
    identity = about.get("identity") or {}
    wanted = {"checkpoint": about.get("checkpoint"), **identity}
    for name in ("checkpoint", "store", "split", "recipe"):
        if metadata.get(name) != wanted.get(name):
            raise BlastscopeError(f"{path} is of another {name} than {RUN} records.")
    return predictions_digest(frame)


def _store(folder: Path, prefix: str) -> Iterator[CheckedItem]:
    yield _compare(
        f"{prefix}cells.parquet", folder, None, lambda path: open_store(path).fingerprint
    )
    recorded = read_json(folder / INFO).get("pixels")
    name, path = f"{prefix}{PIXELS}", folder / PIXELS
    if recorded is None:
        yield CheckedItem(name, "not-recorded" if path.is_file() else "missing", path)
    else:
        yield _compare(name, path, recorded, pixels_digest)


def _members(folder: Path, prefix: str) -> Iterator[CheckedItem]:
    """Compare the weights of an ensemble's members, which lie elsewhere."""
    for member in read_ensemble(folder).members:
        if member.checkpoint is None:
            continue
        path = folder / member.path
        weights = path / (ENSEMBLE if (path / ENSEMBLE).is_file() else _WEIGHTS)
        yield _input(f"{prefix}{member.model}", weights, member.checkpoint, sha256_of)


def _bundle(
    contents: Contents, prefix: str = "", recorded: str | None = None
) -> Iterator[CheckedItem]:
    """Compare the files of a bundle, and of its members, with its manifests.

    ``recorded`` is the digest that the ensemble's manifest has of a member's.
    """
    where = contents.path
    try:
        manifest, digest = read_manifest(contents)
    except BlastscopeError as error:
        yield CheckedItem(f"{prefix}{MANIFEST}", "changed", where, str(error))
        return
    if recorded in (None, digest):
        yield CheckedItem(f"{prefix}{MANIFEST}", "ok", where)
    else:
        yield CheckedItem(f"{prefix}{MANIFEST}", "changed", where, "another member")
    for name, file in manifest.files.items():
        full = f"{prefix}{name}"
        try:
            status: Status = "ok" if digest_of(contents.read(name)) == file.sha256 else "changed"
            yield CheckedItem(full, status, where)
        except BlastscopeError as error:
            yield CheckedItem(full, "missing", where, str(error))
    members = manifest.ensemble.members if manifest.ensemble else ()
    for number, member in enumerate(members, start=1):
        yield from _bundle(contents.member(number), f"{prefix}members/{number}/", member.manifest)


def _of_bundle(path: Path) -> dict[str, Any]:
    """Return the provenance of a bundle's network; empty if it is an ensemble or damaged."""
    try:
        network = read_manifest(Contents(path))[0].network
    except BlastscopeError:
        return {}
    if network is None:
        return {}
    found: dict[str, Any] = {"packages": network.versions}
    if network.machine is not None:
        told = network.machine.model_dump()
        code = {name: told.pop(name) for name in ("commit", "dirty")}
        found |= {**told, "code": code}
    return found
