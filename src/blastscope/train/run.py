"""Training a recipe: from a store and a split to a run folder."""

from __future__ import annotations

import logging
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from blastscope.errors import BlastscopeError
from blastscope.files import only_one, write_json
from blastscope.models.classifier import Classifier, build_model
from blastscope.models.summary import summarise
from blastscope.predictions import SYNTHETIC_MARK, write_predictions
from blastscope.recipes.library import recipe_yaml
from blastscope.recipes.schema import Recipe
from blastscope.splits.parts import PARTS
from blastscope.train.allocator import keep_freed_memory
from blastscope.train.devices import choose_device
from blastscope.train.fit import Watch, fit
from blastscope.train.folder import RunFolder, load_checkpoint, save_checkpoint
from blastscope.train.inputs import Inputs, read_inputs
from blastscope.train.predict import prediction_frame, probabilities
from blastscope.train.start import find_start, start_note, started_from


@dataclass(frozen=True)
class Trained:
    """A finished run."""

    path: Path
    already: bool
    """True where the run was there and whole."""
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
    watch: Watch | None = None,
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
        watch: whom to tell of batches and epochs.

    Raises:
        BlastscopeError: where recipe, store, split, weights or folder do not fit each other.
    """
    chosen = choose_device(device)
    inputs = read_inputs(recipe, store, split)
    identity = _identity(recipe, inputs)
    with only_one(run.absolute()):
        return _train(
            recipe, inputs, identity, RunFolder(run), chosen, weights_dir, start, watch or Watch()
        )


def _train(
    recipe: Recipe,
    inputs: Inputs,
    identity: dict[str, Any],
    folder: RunFolder,
    device: torch.device,
    weights_dir: Path | None,
    start: Path | None,
    watch: Watch,
) -> Trained:
    begun = folder.finished or folder.resume.is_file()
    if begun:  # its weights are its own by now
        folder.begin(recipe_yaml(recipe), identity, {})
        started_from(folder, start)
    part = "test" if len(inputs.rows["test"]) else "validation"
    if folder.finished:
        return Trained(folder.path, True, part)
    beginning = None if begun else find_start(recipe, folder.path, start, identity)
    torch.manual_seed(recipe.training.seed)
    classifier = _build(recipe, weights_dir, beginning, pretrained=not begun)
    folder.begin(recipe_yaml(recipe), identity, start_note(beginning))
    write_json(folder.network, summarise(classifier, recipe.input.size))
    fingerprint = _fit(classifier, recipe, inputs, folder, device, watch)
    _predict(classifier, recipe, inputs, folder, device, {**identity, "checkpoint": fingerprint})
    folder.resume.unlink(missing_ok=True)
    return Trained(folder.path, False, part)


def _fit(
    classifier: Classifier,
    recipe: Recipe,
    inputs: Inputs,
    folder: RunFolder,
    device: torch.device,
    watch: Watch,
) -> str:
    """Train, restore the best epoch's weights from the file they are kept in; return its print."""
    _quieten()
    keep_freed_memory()
    classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as the store is
    began = time.perf_counter()
    record = fit(classifier, recipe, inputs, folder, device, watch)
    if not record.best_weights:
        raise BlastscopeError(
            f"{recipe.name} diverged: its validation loss was never a number; lower training.rate "
            f"and remove {folder.path}."
        )
    fingerprint = save_checkpoint(record.best_weights, folder.checkpoint)
    classifier.load_state_dict(load_checkpoint(folder.checkpoint))
    took = sum(row["seconds"] for row in record.history)
    folder.end(max(took, time.perf_counter() - began), device)
    return fingerprint


def _identity(recipe: Recipe, inputs: Inputs) -> dict[str, Any]:
    return {
        "recipe": recipe.name,
        "store": inputs.store.fingerprint,
        "split": inputs.split.hash,
        "protocol": inputs.split.protocol,
        "synthetic": inputs.store.synthetic,
    }


def _build(
    recipe: Recipe, weights_dir: Path | None, beginning: Path | None, pretrained: bool
) -> Classifier:
    if beginning is None:
        return build_model(recipe, weights_dir, pretrained=pretrained)
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
    classifier: Classifier,
    recipe: Recipe,
    inputs: Inputs,
    folder: RunFolder,
    device: torch.device,
    metadata: dict[str, Any],
) -> None:
    """Write the prediction table of all parts, with the fingerprint of the weights behind it."""
    parts = [part for part in PARTS for _ in inputs.rows[part]]
    rows = np.concatenate([inputs.rows[part] for part in PARTS])
    p_all = probabilities(classifier, inputs.store, rows, device)
    name = recipe.name + (SYNTHETIC_MARK if inputs.store.synthetic else "")
    frame = prediction_frame(inputs.store, rows, parts, name, p_all)
    write_predictions(frame, folder.predictions, metadata)


def _quieten() -> None:
    """Silence Lightning's advice on data loaders and loggers: the inputs are not its kind."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
