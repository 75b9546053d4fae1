"""Open a bundle: its manifest, its networks and how their probabilities are combined."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from blastscope.bundle.contents import (
    CARD,
    DECISION,
    FRONT_MATTER,
    MANIFEST,
    ONNX,
    WEIGHTS,
    Contents,
)
from blastscope.bundle.manifest import Manifest, read_manifest
from blastscope.bundle.network import BundledNetwork, checked, checked_json, network_of
from blastscope.data.names import printable
from blastscope.decision.decision_file import DecisionFile, decision_from
from blastscope.ensemble.combination import Combination
from blastscope.errors import BlastscopeError
from blastscope.io.json_objects import read_as
from blastscope.io.remote import refuse_remote

SINGLE = Combination("mean", "weights", (1.0,))


@dataclass(frozen=True)
class Bundle:
    """An open bundle; weights are read when a network is loaded."""

    path: Path  # the folder or zip
    manifest: Manifest  # its ``bundle.json``
    digest: str  # ``sha256:`` of its manifest, which holds the digests of all other files
    networks: tuple[BundledNetwork, ...]  # one, or the members of an ensemble
    combination: Combination  # how their probabilities become one

    @cached_property
    def decision(self) -> DecisionFile | None:
        """The decision of the bundle; None if it has none.

        Raises:
            BlastscopeError: if its file is damaged.
        """
        if DECISION not in self.manifest.files:
            return None
        content = checked_json(Contents(self.path), self.manifest, DECISION)
        return decision_from(content, self.path / DECISION)

    @property
    def card(self) -> str:
        """The model card, Markdown, without the metadata before it."""
        content = checked(Contents(self.path), self.manifest, CARD)
        lines = _without_metadata(content.decode("utf-8", errors="replace")).splitlines()
        return "\n".join(printable(line) for line in lines)  # a terminal obeys control characters

    def verify(self) -> int:
        """Read every file, compare it with the manifest, and return their bytes.

        Raises:
            BlastscopeError: if one was changed.
        """
        own = self.manifest
        total = sum(len(checked(Contents(self.path), own, name)) for name in own.files)
        for network in self.networks:
            if network.manifest is not own:
                files = network.manifest.files
                total += sum(len(checked(network.contents, network.manifest, n)) for n in files)
            network.weights()
        return total


def open_bundle(path: Path) -> Bundle:
    """Open a bundle, a folder or a zip; no code in it is run.

    Raises:
        BlastscopeError: if it is missing, damaged, changed, of another version or not a bundle.
    """
    refuse_remote(path)
    if not path.exists():
        raise BlastscopeError(f"{path} does not exist: give the folder or zip of a bundle.")
    contents = Contents(path)
    if path.is_dir() and not (path / MANIFEST).is_file():
        raise BlastscopeError(
            f"{path} has no {MANIFEST}, so it is not a bundle: make one of a run or an ensemble "
            "with `blastscope bundle`."
        )
    manifest, digest = read_manifest(contents)
    _check_small(contents, manifest)
    if manifest.network is not None:
        network = network_of(contents, manifest, manifest.network)
        return Bundle(path, manifest, digest, (network,), SINGLE)
    assert manifest.ensemble is not None
    try:
        combination = read_as(Combination, manifest.ensemble.combination)
    except ValueError as error:
        raise BlastscopeError(
            f"{path}/{MANIFEST} cannot be read ({error}): make the bundle again."
        ) from error
    networks = tuple(_member(contents, manifest, k) for k in range(len(manifest.ensemble.members)))
    if len(networks) != len(combination.weights):
        raise BlastscopeError(
            f"{path} has {len(networks)} members and {len(combination.weights)} weights: make the "
            "bundle again."
        )
    return Bundle(path, manifest, digest, networks, combination)


def _without_metadata(card: str) -> str:
    """Leave out the YAML with which a card begins; older ones have none."""
    if not card.startswith(FRONT_MATTER):
        return card
    _, ends, text = card.removeprefix(FRONT_MATTER).partition(f"\n{FRONT_MATTER}")
    return text.lstrip("\n") if ends else card


def _check_small(contents: Contents, manifest: Manifest) -> None:
    """Compare the small files with the manifest; the others are compared when they are read."""
    for name in manifest.files:
        if name not in (WEIGHTS, ONNX):
            checked(contents, manifest, name)


def _member(contents: Contents, whole: Manifest, k: int) -> BundledNetwork:
    assert whole.ensemble is not None
    inner, member = contents.member(k + 1), whole.ensemble.members[k]
    manifest, digest = read_manifest(inner)
    if digest != member.manifest:
        raise BlastscopeError(
            f"{inner} is not the member that the bundle was made with: get the bundle again from "
            "its source."
        )
    if manifest.network is None:
        raise BlastscopeError(
            f"{inner} is an ensemble within an ensemble, which a bundle must not hold."
        )
    _check_small(inner, manifest)
    return network_of(inner, manifest, manifest.network)
