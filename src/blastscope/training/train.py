"""Training a recipe: from a store and a split to a run folder."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from blastscope.engines.torch_engine import choose_device
from blastscope.errors import BlastscopeError
from blastscope.io.files import only_one, write_json
from blastscope.io.predictions import PARTS, SYNTHETIC_MARK, write_predictions
from blastscope.models.classifier import Classifier, build_model, choose_layout
from blastscope.models.summary import summarise
from blastscope.ood.detector import fit_ood, write_ood
from blastscope.recipes.schema import Recipe
from blastscope.training.dataset import TrainingData, read_inputs
from blastscope.training.initial_run import find_start, initial_note, start_note, started_from
from blastscope.training.network_input import NetworkInput, make_network_input, pixel_input
from blastscope.training.run_folder import RunFolder, load_checkpoint, save_checkpoint
from blastscope.training.store_predictions import prediction_frame, probabilities
from blastscope.training.trainer import TrainingWatch, load_state, train_network


@dataclass(frozen=True)
class Trained:
    """A finished run."""

    path: Path
    already: bool
    """True if the run was there and whole."""
    part: str = "test"
    """The part to evaluate it by: validation where the split has no test part."""


def train(
    recipe: Recipe,
    store: Path,
    split: Path,
    run: Path,
    *,
    device: str = "auto",
    weights_dir: Path | None = None,
    start: Path | None = None,
    keep_features: bool = True,
    watch: TrainingWatch | None = None,
) -> Trained:
    """Train a recipe and predict every cell of the split with its best epoch's weights.

    A run that is whole is left as it is; one that was interrupted goes on after its last whole
    epoch, with the result of one that was not (on the same machine, software and threads).

    Args:
        recipe: what to train.
        store: the prepared cells.
        split: which of them train, validate and test.
        run: the run's folder.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        weights_dir: a folder of ImageNet weights, where the recipe asks for them.
        start: the run whose weights it starts from; by default it is looked for beside ``run``.
        keep_features: compute what a frozen part makes of the cells once, and keep it beside the
            store; otherwise it is computed anew in every epoch.
        watch: whom to tell of batches and epochs.

    Raises:
        BlastscopeError: if recipe, store, split, weights or folder do not fit each other.
    """
    chosen = choose_device(device)
    inputs = read_inputs(recipe, store, split)
    identity = run_identity(recipe, inputs)
    job = _Job(recipe, inputs, identity, RunFolder(run), chosen, watch or TrainingWatch())
    with only_one(run.absolute()):
        return _train(job, weights_dir, start, keep_features)


@dataclass(frozen=True)
class _Job:
    recipe: Recipe
    inputs: TrainingData
    identity: dict[str, Any]
    folder: RunFolder
    device: torch.device
    watch: TrainingWatch


def _train(job: _Job, weights_dir: Path | None, start: Path | None, keep_features: bool) -> Trained:
    folder = job.folder
    begun = folder.finished or folder.resume.is_file()
    if begun:  # its weights are its own by now
        folder.begin(job.recipe, job.identity, {})
        started_from(folder, start)
    part = "test" if len(job.inputs.rows["test"]) else "validation"
    if folder.finished:
        return Trained(folder.path, True, part)
    beginning = None if begun else find_start(job.recipe, folder.path, start, job.identity)
    torch.manual_seed(job.recipe.training.seed)
    classifier = _build(job, weights_dir, beginning, begun)
    note = {**start_note(beginning), **initial_note(classifier.backbone.initial)}
    note["contour"] = job.inputs.store.settings.contour  # recipes do not say; prediction must know
    folder.begin(job.recipe, job.identity, note)
    write_json(folder.network, summarise(classifier, job.recipe.input.size))
    began = time.perf_counter()
    network_input = _network_input(classifier, job, keep_features)
    fingerprint = _fit(classifier, network_input, job, time.perf_counter() - began)
    _predict(classifier, network_input, job, fingerprint)
    folder.resume.unlink(missing_ok=True)
    return Trained(folder.path, False, part)


def _network_input(classifier: Classifier, job: _Job, keep_features: bool) -> NetworkInput:
    layout = choose_layout(classifier, job.device)
    classifier.to(memory_format=layout)  # type: ignore[call-overload]
    if not keep_features:
        return pixel_input(classifier, job.inputs, layout)
    told = job.watch.on_features
    return make_network_input(classifier, job.recipe, job.inputs, job.device, told, layout)


def _fit(
    classifier: Classifier, network_input: NetworkInput, job: _Job, feature_seconds: float
) -> str:
    """Train, restore the best epoch's weights from the file they are kept in; return its print."""
    folder = job.folder
    began = time.perf_counter()
    record = train_network(
        classifier, network_input, job.recipe, job.inputs, folder, job.device, job.watch
    )
    if not record.best_weights:
        raise BlastscopeError(
            f"{job.recipe.name} diverged: its validation loss was never a number; lower "
            f"training.rate and remove {folder.path}."
        )
    fingerprint = save_checkpoint(record.best_weights, folder.checkpoint)
    classifier.load_state_dict(load_checkpoint(folder.checkpoint))
    took = sum(row["seconds"] for row in record.history)
    features = {"feature_seconds": round(feature_seconds, 3)} if network_input.cached else {}
    folder.end(max(took, time.perf_counter() - began), job.device, features)
    return fingerprint


def run_identity(recipe: Recipe, inputs: TrainingData) -> dict[str, Any]:
    """What tells a run, but for its recipe's settings, from another in the same folder."""
    return {
        "recipe": recipe.name,
        "store": inputs.store.fingerprint,
        "split": inputs.split.hash,
        "protocol": inputs.split.protocol,
        "synthetic": inputs.store.synthetic,
    }


def _build(job: _Job, weights_dir: Path | None, beginning: Path | None, begun: bool) -> Classifier:
    """Build the network with the weights that it begins with, or went on to before a kill."""
    recipe = job.recipe
    if begun:
        classifier = build_model(recipe, pretrained=False)
        load_state(classifier, job.folder.resume)
        return classifier
    if beginning is None:
        return build_model(recipe, weights_dir)
    classifier = build_model(recipe, pretrained=False)
    weights = load_checkpoint(RunFolder(beginning).checkpoint)
    try:
        classifier.load_state_dict(weights)
    except RuntimeError as error:
        raise BlastscopeError(
            f"{beginning} has another network than {recipe.name}: a run starts from one of the "
            "same backbone, cut and head."
        ) from error
    return classifier


def _predict(
    classifier: Classifier, network_input: NetworkInput, job: _Job, fingerprint: str
) -> None:
    """Write the prediction table of all parts, with the fingerprint of the weights behind it.

    Before it, what tells pictures that are no cells.
    """
    inputs, name = job.inputs, job.recipe.name
    ood = fit_ood(inputs.store.pixels, inputs.rows["train"], inputs.rows["validation"])
    if ood is not None:
        write_ood(ood, job.folder.ood)
    parts = [part for part in PARTS for _ in inputs.rows[part]]
    rows = np.concatenate([inputs.rows[part] for part in PARTS])
    p_all = probabilities(classifier, network_input, rows, job.device, job.recipe.prediction.views)
    name += SYNTHETIC_MARK if inputs.store.synthetic else ""
    frame = prediction_frame(inputs.store, rows, parts, name, p_all)
    write_predictions(frame, job.folder.predictions, {**job.identity, "checkpoint": fingerprint})
