"""A folder of ImageNet weights: filled from timm's hub, and verified.

It holds ``<timm name>.safetensors`` files and ``weights.json``: SHA-256, source and licence
of each fetched one. Downloads, their cache and offline mode belong to the client of the hub.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

from blastscope.errors import BlastscopeError
from blastscope.io.files import only_one, read_json, replacing, sha256_of, write_json
from blastscope.models.backbones import make_backbone
from blastscope.models.caffe_resnet import LAST_OF_PART
from blastscope.models.pretrained import (
    HUB_FILE,
    PARTS,
    KnownWeights,
    known_weights,
    load_weights,
)
from blastscope.recipes.schema import Model

TABLE = "weights.json"
FORMAT = "blastscope-weights/1"


@dataclass(frozen=True)
class Fetched:
    """Weights that are in the folder now; ``already`` if the file was there before."""

    weights: KnownWeights
    sha256: str
    already: bool


@dataclass(frozen=True)
class Announced:
    """Weights that are about to be downloaded, and their size as the hub announces it."""

    weights: KnownWeights
    bytes: int | None


@dataclass(frozen=True)
class Verified:
    """The outcome of verifying a file; ``problem`` is None if nothing is wrong."""

    name: str
    sha256: str | None
    recorded: bool
    problem: str | None


def fetch_weights(
    wanted: Sequence[KnownWeights],
    folder: Path,
    *,
    force: bool = False,
    on_announced: Callable[[list[Announced]], None] | None = None,
    on_fetched: Callable[[Fetched], None] | None = None,
) -> list[Fetched]:
    """Fill a folder from timm's hub; each file is compared with the hash that the hub announces.

    A file that is there and as recorded is left alone, and the hub is not asked for it; other files
    are replaced if ``force``. The hub announces all others before the first is downloaded.

    Args:
        wanted: the weights.
        folder: where their files go.
        force: replace files that are not the hub's.
        on_announced: called once, before the first download, with what will be downloaded.
        on_fetched: called with each file that is there.

    Raises:
        BlastscopeError: if the hub cannot be reached, another file of a name is there, a
            download has another hash than announced, or the folder cannot be written.
    """
    done = []
    with only_one(folder / TABLE):
        table = _read_table(folder)
        announced = _ask_hub(wanted, folder, table, force)
        if on_announced:
            on_announced([one.told for one in announced.values() if one.download])
        for weights in wanted:
            news = announced.get(weights)
            if news is not None:
                if news.download:
                    _download(weights, news.entry, folder / weights.file)
                table[weights.name] = news.entry
                write_json(folder / TABLE, {"format": FORMAT, "files": table})
            already = news is None or not news.download
            done.append(Fetched(weights, table[weights.name]["sha256"], already))
            if on_fetched:
                on_fetched(done[-1])
    return done


@dataclass(frozen=True)
class _News:
    """What the hub announces of weights, and whether their file must be downloaded."""

    entry: dict[str, str]
    told: Announced
    download: bool


def _ask_hub(
    wanted: Sequence[KnownWeights], folder: Path, table: dict[str, dict[str, str]], force: bool
) -> dict[KnownWeights, _News]:
    """Ask the hub for all that is not in the folder as recorded, or for everything."""
    announced = {}
    for weights in wanted:
        path = folder / weights.file
        there = sha256_of(path) if path.is_file() else None
        recorded = there is not None and there == table.get(weights.name, {}).get("sha256")
        if recorded and not force:
            continue
        entry, size = _announced(weights, folder)
        download = there != entry["sha256"]
        if there is not None and download and not force:
            raise BlastscopeError(
                f"{path} is not the hub's file: choose another folder, or give --force to "
                "replace it."
            )
        announced[weights] = _News(entry, Announced(weights, size), download)
    return announced


def _announced(weights: KnownWeights, folder: Path) -> tuple[dict[str, str], int | None]:
    """Ask the hub for the hash and revision of a file, and for its size in bytes."""
    if not weights.repository:
        file = PARTS.get(weights.name, weights.name)
        raise BlastscopeError(
            f"timm's hub has no weights {weights.name}: put {file}.safetensors into {folder} "
            "by hand."
        )
    try:
        answer = get_hf_file_metadata(hf_hub_url(weights.repository, HUB_FILE))
    except Exception as error:  # the hub's client has some twenty errors, most not its own
        raise BlastscopeError(
            f"timm's hub cannot be reached ({type(error).__name__}) for {weights.file}: try again "
            f"with a network, or put the file into {folder} by hand."
        ) from error
    if not re.fullmatch(r"[0-9a-f]{64}", answer.etag or "") or not answer.commit_hash:
        raise BlastscopeError(
            f"timm's hub announces no SHA-256 of {weights.name}: get {HUB_FILE} from "
            f"{weights.page} by hand, as {weights.file}."
        )
    entry = {
        "sha256": f"sha256:{answer.etag}",
        "revision": answer.commit_hash,
        "source": f"{weights.page}/resolve/{answer.commit_hash}/{HUB_FILE}",
        "licence": weights.licence,
    }
    return entry, answer.size


def _download(weights: KnownWeights, entry: dict[str, str], path: Path) -> None:
    """Copy a file from the hub's cache, which resumes a broken download by itself."""
    try:
        cached = hf_hub_download(weights.repository, HUB_FILE, revision=entry["revision"])
    except Exception as error:  # as above
        raise BlastscopeError(
            f"The download of {weights.name} failed ({type(error).__name__}): give the command "
            "again to resume it."
        ) from error
    with replacing(path) as beside:
        shutil.copyfile(cached, beside)
        if sha256_of(beside) != entry["sha256"]:
            raise BlastscopeError(
                f"{cached} has another hash than timm's hub announced: remove it and fetch again."
            )


def _read_table(folder: Path) -> dict[str, dict[str, str]]:
    path = folder / TABLE
    if not path.is_file():
        return {}
    content = read_json(path)
    files = content.get("files")
    if content.get("format") != FORMAT or not isinstance(files, dict):
        raise BlastscopeError(f"{path} is not a {FORMAT} file: remove it.")
    for name, entry in files.items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):  # it becomes a path
            raise BlastscopeError(
                f"{path} names {name[:60]!r}, which is not a plain file name: remove that entry."
            )
        if not isinstance(entry, dict) or not isinstance(entry.get("sha256"), str):
            raise BlastscopeError(f"{path} has no sha256 for {name[:60]}: remove that entry.")
    return files


def verify_weights(
    folder: Path, on_verified: Callable[[Verified], None] | None = None
) -> list[Verified]:
    """Compare every file of a folder with timm's network of its name and with the recorded hash.

    A file is right if it is safetensors, has every tensor of the network (the classifier may be
    missing) in its shape and finite, and has the recorded hash, if one is recorded. Nothing is
    written.

    Raises:
        BlastscopeError: if the folder has no weights, or its table is damaged or names a file
            outside the folder.
    """
    table = _read_table(folder)
    paths = [path for path in folder.glob("*.safetensors") if not path.name.startswith(".")]
    names = sorted({path.stem for path in paths} | table.keys())
    if not names:
        raise BlastscopeError(f"{folder} has no weights: give a folder of <name>.safetensors.")
    done = []
    for name in names:
        sha256, problem = _verified(folder / f"{name}.safetensors", table.get(name))
        done.append(Verified(name, sha256, name in table, problem))
        if on_verified:
            on_verified(done[-1])
    return done


def _verified(path: Path, entry: dict[str, str] | None) -> tuple[str | None, str | None]:
    """Return a file's hash, if it can be read, and what is wrong with it."""
    if not path.is_file():
        return None, f"{path} is recorded but does not exist: fetch it again."
    try:
        found = sha256_of(path)
    except OSError as error:
        return None, f"{path} cannot be read: {error.strerror}."
    if entry is not None and entry["sha256"] != found:
        return found, f"{path} has another hash than {TABLE}: fetch it again with --force."
    try:
        _refuse_misfit(path)
    except BlastscopeError as error:
        return found, str(error)
    return found, None


def _refuse_misfit(path: Path) -> None:
    """Refuse a file that does not fit timm's network of its name, or the part that it is of."""
    whole = {part: name for name, part in PARTS.items()}.get(path.stem)
    weights = known_weights(whole or path.stem)
    if whole is None and weights.name != path.stem:
        raise BlastscopeError(f"{path} has no tag: rename it to {weights.file}.")
    cut = {"cut": LAST_OF_PART} if whole else {}
    model = Model.model_validate(
        {"backbone": weights.name, "weights": "imagenet", "head": ["gap"], **cut}
    )
    backbone = make_backbone(model, weights.size, pretrained=False)
    load_weights(backbone.net, path, backbone.unused)
