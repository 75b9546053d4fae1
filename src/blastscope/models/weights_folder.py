"""A folder of ImageNet weights: filled from timm's hub, checked, with a record of hashes.

``<timm name>.safetensors`` each, and ``weights.json``, which says of every fetched file its
SHA-256, source, licence and date.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

from blastscope.errors import BlastscopeError, listing
from blastscope.io.files import only_one, read_json, replacing, sha256_of, write_json
from blastscope.models.backbones import make_backbone
from blastscope.models.pretrained import HUB_FILE, KnownWeights, known_weights, load_weights
from blastscope.recipes.schema import Model

RECORD = "weights.json"
FORMAT = "blastscope-weights/1"


@dataclass(frozen=True)
class Fetched:
    """Weights that are in the folder now."""

    weights: KnownWeights
    sha256: str
    already: bool
    """True where the very file was there."""


@dataclass(frozen=True)
class Verified:
    """What was found of a file."""

    name: str
    sha256: str | None
    recorded: bool
    problem: str | None
    """One sentence; None where nothing is wrong."""


@dataclass(frozen=True)
class _Promise:
    """What the hub says of a file before it sends it."""

    sha256: str
    revision: str


def fetch_weights(
    wanted: Sequence[KnownWeights],
    folder: Path,
    *,
    force: bool = False,
    on_fetched: Callable[[Fetched], None] | None = None,
) -> list[Fetched]:
    """Fill a folder from timm's hub; each file is held against the hash that the hub promised.

    A file that is there and as recorded is left alone, and the hub is not asked for it.

    Args:
        wanted: which weights.
        folder: where to; it is made.
        force: replace files that differ from the hub's.
        on_fetched: called after each file.

    Raises:
        BlastscopeError: where the hub cannot be reached, another file of a name is there, what
            came is not what was promised, or the folder cannot be written.
    """
    done = []
    with only_one(folder / RECORD):
        record = _read_record(folder)
        promises = _promises(
            [w for w in wanted if force or not _is_recorded(w, folder, record)], folder
        )
        there = {w: sha256_of(folder / w.file) for w in promises if w.is_in(folder)}
        _refuse_other_files(there, promises, folder, force)
        for weights in wanted:
            promise = promises.get(weights)
            already = promise is None or there.get(weights) == promise.sha256
            if promise is not None:
                if not already:
                    _download(weights, promise, folder / weights.file)
                record[weights.name] = _entry(weights, promise)
                write_json(folder / RECORD, {"format": FORMAT, "files": record})
            fetched = Fetched(weights, record[weights.name]["sha256"], already)
            done.append(fetched)
            if on_fetched:
                on_fetched(fetched)
    return done


def _promises(wanted: Sequence[KnownWeights], folder: Path) -> dict[KnownWeights, _Promise]:
    """Ask the hub of every file before the first is sent."""
    promises = {}
    for weights in wanted:
        try:
            told = get_hf_file_metadata(hf_hub_url(weights.repository, HUB_FILE))
        except Exception as error:  # the hub's client has some twenty ways to fail
            missing = [w.file for w in wanted if not w.is_in(folder)]
            lacking = f", so {folder} lacks {listing(missing)}" if missing else ""
            raise BlastscopeError(
                f"timm's hub gave nothing for {weights.name} ({type(error).__name__}){lacking}: "
                "try again with a network, or bring the files by hand."
            ) from error
        if not re.fullmatch(r"[0-9a-f]{64}", told.etag or "") or not told.commit_hash:
            raise BlastscopeError(
                f"timm's hub gave no SHA-256 of {weights.name}, so it cannot be checked: get "
                f"{HUB_FILE} from {weights.page} by hand, as {weights.file}."
            )
        promises[weights] = _Promise(f"sha256:{told.etag}", told.commit_hash)
    return promises


def _is_recorded(weights: KnownWeights, folder: Path, record: dict[str, Any]) -> bool:
    known = record.get(weights.name)
    return bool(
        known and weights.is_in(folder) and sha256_of(folder / weights.file) == known["sha256"]
    )


def _refuse_other_files(
    there: dict[KnownWeights, str],
    promises: dict[KnownWeights, _Promise],
    folder: Path,
    force: bool,
) -> None:
    other = [w.file for w, found in there.items() if found != promises[w].sha256]
    if other and not force:
        raise BlastscopeError(
            f"{folder} has {listing(other)}, which {'is' if len(other) == 1 else 'are'} not the "
            "hub's: choose another folder, name others, or give --force to replace."
        )


def _download(weights: KnownWeights, promise: _Promise, path: Path) -> None:
    """Copy a file out of the hub's cache, which resumes a broken download by itself."""
    try:
        cached = hf_hub_download(weights.repository, HUB_FILE, revision=promise.revision)
    except Exception as error:  # as above
        raise BlastscopeError(
            f"timm's hub broke off at {weights.name} ({type(error).__name__}): give the command "
            "again, which goes on."
        ) from error
    with replacing(path) as beside:
        shutil.copyfile(cached, beside)
        found = sha256_of(beside)
        if found != promise.sha256:
            raise BlastscopeError(
                f"{weights.name} came with the hash {found} where timm's hub promised "
                f"{promise.sha256}: remove {cached} and fetch it again."
            )


def _entry(weights: KnownWeights, promise: _Promise) -> dict[str, str]:
    return {
        "sha256": promise.sha256,
        "source": f"{weights.page}/resolve/{promise.revision}/{HUB_FILE}",
        "licence": weights.licence,
        "date": datetime.now(UTC).date().isoformat(),
    }


def _read_record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    if not path.is_file():
        return {}
    content = read_json(path)
    files = content.get("files")
    sound = isinstance(files, dict) and all(
        isinstance(entry, dict) and isinstance(entry.get("sha256"), str) for entry in files.values()
    )
    if content.get("format") != FORMAT or not isinstance(files, dict) or not sound:
        raise BlastscopeError(f"{path} is no {FORMAT} file: remove it.")
    for name in files:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):  # it becomes a path
            raise BlastscopeError(
                f"{path} names {name[:60]!r}, which is no plain file name: take that entry out."
            )
    return files


def verify_weights(
    folder: Path, on_verified: Callable[[Verified], None] | None = None
) -> list[Verified]:
    """Hold every file of a folder against timm's network of its name and against the record.

    A file is right where it is safetensors, has every tensor of the network (the classifier may be
    left out), in its shape and all numbers, and has the hash that is recorded, if one is.

    Args:
        folder: nothing is written to it.
        on_verified: called after each file.

    Raises:
        BlastscopeError: where the folder is none or has no weights, or its record is none or names
            a file outside it.
    """
    paths = [path for path in folder.glob("*.safetensors") if not path.name.startswith(".")]
    record = _read_record(folder)
    names = sorted({path.stem for path in paths} | record.keys())
    if not names:
        raise BlastscopeError(f"{folder} has no weights: give a folder of <name>.safetensors.")
    done = []
    for name in names:
        found = _verified(name, folder, record)
        done.append(found)
        if on_verified:
            on_verified(found)
    return done


def _verified(name: str, folder: Path, record: dict[str, Any]) -> Verified:
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        return Verified(name, None, True, f"{path} is recorded and not there: fetch it again.")
    try:
        found = sha256_of(path)
    except OSError as error:
        return Verified(name, None, name in record, f"{path} cannot be read: {error.strerror}.")
    if name in record and record[name]["sha256"] != found:
        problem = f"{path} has another hash than {RECORD} records: fetch it again with --force."
        return Verified(name, found, True, problem)
    try:
        _fill_network(name, path)
    except BlastscopeError as error:
        return Verified(name, found, name in record, str(error))
    return Verified(name, found, name in record, None)


def _fill_network(name: str, path: Path) -> None:
    weights = known_weights(name)
    if weights.name != name:
        raise BlastscopeError(f"{path} is looked for as {weights.file}: rename it.")
    model = Model.model_validate({"backbone": name, "weights": "imagenet", "head": ["gap"]})
    backbone = make_backbone(model, weights.size, pretrained=False)
    load_weights(backbone.net, path, backbone.unused)
