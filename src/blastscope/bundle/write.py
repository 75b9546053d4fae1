"""Put a bundle together, and write it as a folder or a zip, completely or not at all."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from blastscope import DISCLAIMER, __version__
from blastscope.bundle.contents import (
    CARD,
    DECISION,
    MANIFEST,
    MEMBERS,
    ONNX,
    OOD,
    WEIGHTS,
    digest_of,
    is_all_bundle,
)
from blastscope.bundle.manifest import (
    Ensemble,
    File,
    InitialWeights,
    Manifest,
    MemberEntry,
    Network,
    PixelNormalization,
    Preparation,
    SizeCurve,
)
from blastscope.bundle.provenance import data_of, environment_of, evaluations_of, machine_of
from blastscope.decision.decision_file import DecisionFile
from blastscope.ensemble.combination import Combination
from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json, replacing, replacing_folder
from blastscope.training.finished_run import FinishedRun

INTENDED_USE = (
    "Research on images of single, segmented white blood cells on black, as in C-NMC 2019: to tell "
    f"B-cell lymphoblasts (ALL) from normal ones. {DISCLAIMER}"
)
SUBJECTS = "subject_shares"
"""The table of a ``decision.json`` that names subjects."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every entry of a zip, so that a model always gives the same zip."""

Files = dict[str, bytes]


@dataclass(frozen=True)
class NetworkFiles:
    """What PyTorch makes of a run for its bundle (``export.network_files``)."""

    weights: bytes  # the content of ``weights.safetensors``
    onnx: bytes  # the content of ``model.onnx``, whose tensors lie in ``weights``
    normalization: PixelNormalization  # how the network normalizes pixels
    # The pretrained weights that training began with; None if they were random.
    initial_weights: InitialWeights | None


@dataclass(frozen=True)
class BundleDraft:
    """A bundle without its card."""

    manifest: Manifest  # ``bundle.json``, which does not list its files yet
    files: Files  # all others but the card
    decision: DecisionFile | None = None  # the decision that travels with it; None without one

    def sealed(self, card: str) -> Files:
        """Return all files of the bundle, with the card and the manifest that lists them."""
        files = self.files | {CARD: card.encode()}
        listed = {
            name: File(sha256=digest_of(content), bytes=len(content))
            for name, content in files.items()
            if not name.startswith(MEMBERS)
        }
        return files | {MANIFEST: self.manifest.model_copy(update={"files": listed}).as_json()}


def refuse_taken(out: Path, force: bool) -> None:
    """Refuse to write a bundle over anything but a bundle, and over that without ``force``.

    Raises:
        BlastscopeError: if ``out`` is taken.
    """
    if not out.exists():
        return
    if not is_all_bundle(out):
        raise BlastscopeError(
            f"{out} is there already and is not a bundle, or holds other files too: choose "
            "another name."
        )
    if not force:
        raise BlastscopeError(f"{out} is there already: choose another name, or give --force.")


def network_draft(
    run: FinishedRun,
    made: NetworkFiles,
    *,
    half: bool = False,
    decision: DecisionFile | None = None,
    evaluations: Sequence[Path] = (),
    note: str = "",
    licence: str | None = None,
    size_curve: SizeCurve | None = None,
) -> BundleDraft:
    """Draft the bundle of a run; ``half``: its weights are in half precision.

    The folders ``evaluations`` are added to the run's own evaluation, which is found beside it.
    ``size_curve`` is that of a stress test of the run or its recipe.

    Raises:
        BlastscopeError: if an evaluation is of another model.
    """
    files: Files = {WEIGHTS: made.weights, ONNX: made.onnx}
    ood = run.path / OOD
    if ood.is_file():
        files[OOD] = ood.read_bytes()
    environment = environment_of(run.path)
    network = Network(
        recipe=run.recipe,
        checkpoint=run.checkpoint,
        precision="half" if half else "full",
        preparation=Preparation.model_validate(run.settings.as_json()),
        normalization=made.normalization,
        data=data_of(run),
        initial_weights=made.initial_weights,
        versions={name: str(version) for name, version in environment.get("packages", {}).items()},
        machine=machine_of(environment),
    )
    judged = evaluations_of(run.path, evaluations, run.recipe.name, run.checkpoint)
    about: dict[str, Any] = {"name": run.recipe.name, "title": run.recipe.title, "note": note}
    about |= {"evaluations": judged, "network": network, "size_curve": size_curve}
    about["licence"] = licence
    return _draft(about, run.synthetic, files, decision)


def ensemble_draft(
    folder: Path,
    name: str,
    checkpoint: str,
    combination: Combination,
    members: Sequence[tuple[str, Files]],
    *,
    synthetic: bool,
    decision: DecisionFile | None = None,
    evaluations: Sequence[Path] = (),
    note: str = "",
    licence: str | None = None,
) -> BundleDraft:
    """Draft the bundle of an ensemble, whose members are named, whole bundles.

    ``checkpoint`` is ``sha256:`` of the ensemble's file. The folders ``evaluations`` are added to
    the ensemble's own evaluation, which is found in its folder.

    Raises:
        BlastscopeError: if an evaluation is of another model.
    """
    files: Files = {}
    for number, (_, inner) in enumerate(members, start=1):
        files |= {f"{MEMBERS}/{number}/{name}": content for name, content in inner.items()}
    entries = [
        MemberEntry(name=member, manifest=digest_of(inner[MANIFEST])) for member, inner in members
    ]
    ensemble = Ensemble(
        checkpoint=checkpoint, members=tuple(entries), combination=asdict(combination)
    )
    title = f"Ensemble of {len(members)} networks ({combination.method})"
    judged = evaluations_of(folder / "evaluation", evaluations, name, checkpoint)
    about: dict[str, Any] = {"name": name, "title": title, "note": note, "licence": licence}
    about |= {"evaluations": judged, "ensemble": ensemble}
    return _draft(about, synthetic, files, decision)


def _draft(
    about: dict[str, Any], synthetic: bool, files: Files, decision: DecisionFile | None
) -> BundleDraft:
    if decision is not None:
        content = read_json(decision.path)
        content.pop(SUBJECTS, None)  # a model may travel to where names must not
        files[DECISION] = (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()
        synthetic = synthetic or decision.synthetic
    manifest = Manifest(
        made_by=f"blastscope {__version__}",
        intended_use=INTENDED_USE,
        synthetic=synthetic,
        files={},
        **about,
    )
    return BundleDraft(manifest, files, decision)


def write_bundle(files: Mapping[str, bytes], out: Path) -> None:
    """Write files, by their names with forward slashes, to ``out`` and replace an older bundle.

    It is a zip if ``out`` ends in ``.zip``, otherwise a folder.

    Raises:
        BlastscopeError: if it cannot be written.
    """
    if out.suffix.lower() != ".zip":
        with replacing_folder(out) as folder:
            for name, content in files.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        return
    with replacing(out) as beside, zipfile.ZipFile(beside, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o100644 << 16
            packs = name.endswith((".json", ".md"))  # weights hardly shrink
            entry.compress_type = zipfile.ZIP_DEFLATED if packs else zipfile.ZIP_STORED
            archive.writestr(entry, files[name])
