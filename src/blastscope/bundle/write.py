"""Making a bundle of a run or an ensemble."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blastscope import DISCLAIMER, __version__
from blastscope.bundle.card import card_of
from blastscope.bundle.contents import (
    CARD,
    DECISION,
    MANIFEST,
    MEMBERS,
    NOVELTY,
    ONNX,
    WEIGHTS,
    digest_of,
    is_all_bundle,
    is_bundle,
)
from blastscope.bundle.manifest import (
    Ensemble,
    EvaluationEntry,
    File,
    Manifest,
    MemberEntry,
    Network,
)
from blastscope.bundle.provenance import (
    data_of,
    environment_of,
    initial_weights_of,
    judged_from,
    normalisation_of,
    preparation_of,
)
from blastscope.bundle.publish import write_bundle
from blastscope.bundle.tensors import stored_weights
from blastscope.decision.decision_file import DecisionFile
from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json
from blastscope.prediction.decisions import find_decision
from blastscope.prediction.members import Members, open_members
from blastscope.training.finished_run import FinishedRun

INTENDED_USE = (
    "Research on images of single, segmented white blood cells on black, as in C-NMC 2019: to tell "
    f"B-cell lymphoblasts (ALL) from normal ones. {DISCLAIMER}"
)

Files = dict[str, bytes]


@dataclass(frozen=True)
class Bundled:
    """A bundle on disk.

    Attributes:
        path: its folder or zip.
        name: of the model.
        bytes: of all files.
        networks: how many it holds.
        decided: whether it calibrates and calls.
        synthetic: whether synthetic cells have taught it.
    """

    path: Path
    name: str
    bytes: int
    networks: int
    decided: bool
    synthetic: bool


def bundle(
    source: Path,
    out: Path,
    *,
    decision: Path | None = None,
    evaluations: Sequence[Path] = (),
    half: bool = False,
    note: str = "",
    force: bool = False,
) -> Bundled:
    """Make a bundle of a run or an ensemble.

    The model's own evaluation and decision go with it. Names of subjects do not.

    Args:
        source: the folder of a finished run, or of an ensemble.
        out: the folder to make, or the zip where it ends in ``.zip``.
        decision: a ``decision.json``, or a folder with one (of a cross-validation of the same
            recipe for instance), in place of the model's own.
        evaluations: folders of further evaluations of the model or its recipe, whose figures the
            card shall show.
        half: keep weights in half precision, in half the space; they are computed with in single
            precision all the same.
        note: a few sentences of the maker's for the card: which cells, whom to cite.
        force: replace a bundle that is there.

    Raises:
        BlastscopeError: where the model is unfinished, stale or not whole, what is given is of
            another model, or ``out`` is there already, or something else.
    """
    if is_bundle(source):
        raise BlastscopeError(f"{source} is a bundle already: give the run or ensemble behind it.")
    _refuse_taken(out, force)
    voters = open_members([source])
    decides = find_decision([source], voters, decision)
    if voters.ensemble is None:
        manifest, files = _network(voters.runs[0], decides, evaluations, half, note)
    else:
        manifest, files = _ensemble(source, voters, decides, evaluations, half, note)
    write_bundle(files, out)
    return Bundled(
        out,
        manifest.name,
        sum(map(len, files.values())),
        len(voters.runs),
        decides is not None,
        manifest.synthetic,
    )


def _refuse_taken(out: Path, force: bool) -> None:
    if not out.exists():
        return
    if not is_all_bundle(out):
        raise BlastscopeError(
            f"{out} is there already and no bundle, or holds other files too: choose another name."
        )
    if not force:
        raise BlastscopeError(f"{out} is there already: choose another name, or give --force.")


def _network(
    run: FinishedRun,
    decides: DecisionFile | None,
    evaluations: Sequence[Path],
    half: bool,
    note: str = "",
) -> tuple[Manifest, Files]:
    from blastscope.engines.torch_engine import load_classifier
    from blastscope.export.export import metadata_of
    from blastscope.export.onnx_graph import onnx_graph

    environment = environment_of(run.path)
    weights = stored_weights(run.weights(), half)
    classifier = load_classifier(run.recipe, weights)  # as stored: the graph shares the weights
    preparation = preparation_of(run.settings)
    views, size = run.recipe.prediction.views, run.settings.size
    about = metadata_of(run) | {"preparation": json.dumps(list(preparation.steps))}
    files: Files = {WEIGHTS: weights, ONNX: onnx_graph(classifier, views, size, weights, about)}
    ood = run.path / NOVELTY
    if ood.is_file():
        files[NOVELTY] = ood.read_bytes()
    network = Network(
        recipe=run.recipe,
        checkpoint=run.checkpoint,
        precision="half" if half else "full",
        preparation=preparation,
        normalisation=normalisation_of(classifier.normalise),
        data=data_of(run),
        initial_weights=initial_weights_of(run, environment),
        versions={name: str(version) for name, version in environment.get("packages", {}).items()},
    )
    judged = _judged(run.path, evaluations, {run.recipe.name}, run.checkpoint)
    return _finished(
        run.recipe.name, run.recipe.title, run.synthetic, decides, judged, files, network, note
    )


def _ensemble(
    source: Path,
    voters: Members,
    decides: DecisionFile | None,
    evaluations: Sequence[Path],
    half: bool,
    note: str,
) -> tuple[Manifest, Files]:
    from blastscope.ensemble.ensemble_folder import read_ensemble

    files: Files = {}
    members = []
    called = [member.model for member in read_ensemble(source).members]
    for number, (run, name) in enumerate(zip(voters.runs, called, strict=True), start=1):
        _, inner = _network(run, None, (), half)
        members.append(MemberEntry(name=name, manifest=digest_of(inner[MANIFEST])))
        files |= {f"{MEMBERS}/{number}/{place}": content for place, content in inner.items()}
    assert voters.ensemble is not None
    ensemble = Ensemble(
        checkpoint=voters.ensemble,
        members=tuple(members),
        combination=voters.combination.as_json(),
    )
    own = source / "evaluation"
    judged = _judged(own, evaluations, {voters.name}, voters.ensemble)
    title = f"Ensemble of {len(members)} networks ({voters.combination.method})"
    return _finished(voters.name, title, voters.synthetic, decides, judged, files, ensemble, note)


def _judged(
    own: Path, others: Sequence[Path], names: set[str], checkpoint: str
) -> tuple[EvaluationEntry, ...]:
    folders = [own] if (own / "metrics.json").is_file() else []
    found = (judged_from(folder, names, checkpoint) for folder in (*folders, *others))
    # What to expect of a person whom it has never seen comes first.
    return tuple(sorted(found, key=lambda judged: judged.protocol != "subject"))


def _finished(
    name: str,
    title: str,
    synthetic: bool,
    decides: DecisionFile | None,
    judged: tuple[EvaluationEntry, ...],
    files: Files,
    content: Network | Ensemble,
    note: str,
) -> tuple[Manifest, Files]:
    """Add the decision, the card and the manifest to a bundle's files."""
    if decides is not None:
        files[DECISION] = _json(_without_names(read_json(decides.path)))
    synthetic = synthetic or (decides is not None and decides.synthetic)
    manifest = Manifest(
        made_by=f"blastscope {__version__}",
        name=name,
        title=title,
        synthetic=synthetic,
        intended_use=INTENDED_USE,
        note=note,
        files={},
        evaluations=judged,
        network=content if isinstance(content, Network) else None,
        ensemble=content if isinstance(content, Ensemble) else None,
    )
    files[CARD] = card_of(manifest, decides).encode()
    direct = {place: each for place, each in files.items() if not place.startswith(MEMBERS)}
    listed = {
        place: File(sha256=digest_of(each), bytes=len(each)) for place, each in direct.items()
    }
    manifest = manifest.model_copy(update={"files": listed})
    files[MANIFEST] = manifest.as_json()
    return manifest, files


def _without_names(decision: dict[str, Any]) -> dict[str, Any]:
    """Leave out the persons by name: a model may travel where they must not."""
    return {key: value for key, value in decision.items() if key != "persons"}


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()
