"""Training a recipe: from a store and a split to a run folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from lightning.fabric.utilities import move_data_to_device
from numpy.typing import NDArray

from blastscope.data.store import Store, open_store
from blastscope.engines.torch_engine import choose_device
from blastscope.errors import BlastscopeError
from blastscope.io.files import only_one, write_json
from blastscope.io.predictions import INDUCTIVE, PARTS, PSEUDO_LABELS, marked, write_predictions
from blastscope.models.classifier import Classifier, build_model, choose_layout
from blastscope.models.dihedral import view_operations
from blastscope.models.summary import summarise
from blastscope.ood.detector import OodDetector, fit_ood, write_ood
from blastscope.recipes.schema import Recipe
from blastscope.training.average_runs import (
    RunsToAverage,
    load_mean,
    refuse_without_effect,
    refuse_without_runs,
    runs_to_average,
)
from blastscope.training.batches import PlainBatches
from blastscope.training.class_balance import Rows
from blastscope.training.dataset import TrainingData, read_inputs
from blastscope.training.devices import ALONE, Rank, device_of
from blastscope.training.distillation import Teachers, refuse_without_teacher, soft_targets
from blastscope.training.fit_svm import fit_svm
from blastscope.training.initial_run import (
    find_start,
    load_run,
    notes_of_start,
    refuse_other_start,
)
from blastscope.training.network_input import NetworkInput, make_network_input, pixel_input
from blastscope.training.pseudo_labels import PseudoLabels, with_pseudo_labels
from blastscope.training.run_folder import RunFolder, load_checkpoint, save_checkpoint
from blastscope.training.teacher_networks import TeacherNetworks, teacher_networks
from blastscope.training.trainer import TrainingWatch, load_state, train_network

BATCH = 64


@dataclass(frozen=True)
class Trained:
    """A finished run."""

    path: Path
    already: bool  # true if the run was there and whole
    part: str = "test"  # the part to evaluate it by: validation where the split has no test part


def train(
    recipe: Recipe,
    store: Path,
    split: Path,
    run: Path,
    *,
    device: str = "auto",
    weights_dir: Path | None = None,
    start: Path | None = None,
    teachers: Sequence[Path] = (),
    pseudo_labels: Sequence[Path] = (),
    average: Sequence[Path] = (),
    keep_features: bool = True,
    watch: TrainingWatch | None = None,
    rank: Rank = ALONE,
) -> Trained:
    """Train a recipe, then predict every cell of the split.

    The weights are those of the best epoch, or an average if the recipe has ``average_from``.

    A finished run is left as it is; an interrupted one goes on after its last whole epoch, with the
    same result as an uninterrupted one (on the same machine, with the same software and threads).

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        weights_dir: a folder of ImageNet weights, if the recipe asks for them.
        start: the run whose weights it starts from; by default it is looked for beside ``run``.
        teachers: runs, ensembles or prediction tables that a recipe with ``distillation`` learns
            from.
        pseudo_labels: runs, ensembles or prediction tables; test cells that they are sure of join
            the training cells (``training.pseudo_labels``), which is transductive.
        average: finished runs on the same split, of whose weights a recipe with ``model.weights:
            averaged`` is the mean.
        keep_features: compute the features of a frozen part once, and keep them beside the store;
            otherwise they are computed in every epoch.
        rank: which of the processes that train together this is (``training.devices``). Each calls
            this function; the first one writes the run, and predicts every cell once.

    Raises:
        BlastscopeError: if recipe, store, split, weights or folder do not fit each other.
    """
    chosen = device_of(rank, choose_device(device))
    inputs = read_inputs(recipe, store, split)
    identity = run_identity(recipe, inputs)
    refuse_without_effect(recipe, teachers, pseudo_labels)
    refuse_without_teacher(recipe, teachers)
    refuse_without_runs(recipe, average)
    networks = None
    if teachers:
        known = Teachers.at(teachers)
        targets = soft_targets(recipe, inputs, known)  # refuses a teacher that knows test cells
        if recipe.training.teachers_see == "augmented":
            networks = teacher_networks(teachers, identity, chosen)
        else:
            inputs = replace(inputs, targets=targets)
        identity["teachers"] = known.hashes
    second = None
    if pseudo_labels:
        models = Teachers.at(pseudo_labels)
        second = with_pseudo_labels(recipe, inputs, models)
        inputs = second.inputs
        identity["pseudo_labels"] = models.hashes
    averaged = runs_to_average(recipe, average, identity) if average else None
    if averaged is not None:
        identity["average"] = averaged.hashes
    watch = watch if watch is not None and rank.first else TrainingWatch()
    job = _Job(
        recipe, inputs, identity, RunFolder(run), chosen, watch, second, rank, averaged, networks
    )
    asked = TrainingPaths(
        store, split, weights_dir, start, tuple(teachers), tuple(pseudo_labels), tuple(average),
        keep_features,
    )  # fmt: skip
    with only_one(run.absolute()) if rank.first else nullcontext():
        return _train(job, asked)


@dataclass(frozen=True)
class TrainingPaths:
    """Where a run's inputs are, beside its recipe: what :func:`train` is given."""

    store: Path
    split: Path
    weights_dir: Path | None = None
    start: Path | None = None
    teachers: tuple[Path, ...] = ()
    pseudo_labels: tuple[Path, ...] = ()
    average: tuple[Path, ...] = ()
    keep_features: bool = True

    def as_json(self) -> dict[str, Any]:
        """Return them as absolute paths, for ``environment.json``."""

        def absolute(value: Any) -> Any:
            if isinstance(value, tuple):
                return [absolute(one) for one in value]
            return str(value.absolute()) if isinstance(value, Path) else value

        return {one.name: absolute(getattr(self, one.name)) for one in fields(self)}


@dataclass(frozen=True)
class _Job:
    recipe: Recipe
    inputs: TrainingData
    identity: dict[str, Any]
    folder: RunFolder
    device: torch.device
    watch: TrainingWatch
    second: PseudoLabels | None = None
    rank: Rank = ALONE
    averaged: RunsToAverage | None = None
    teachers: TeacherNetworks | None = None


def _train(job: _Job, asked: TrainingPaths) -> Trained:
    folder = job.folder
    begun = folder.begun
    job.rank.wait()  # all see the same folder: nothing is written before
    if begun:  # its weights are its own by now
        if job.rank.first:
            folder.begin(job.recipe, job.identity, {})
        refuse_other_start(folder, asked.start)
    part = "test" if len(job.inputs.rows["test"]) else "validation"
    if folder.finished:
        return Trained(folder.path, True, part)
    beginning = None if begun else find_start(job.recipe, folder.path, asked.start, job.identity)
    torch.manual_seed(job.recipe.training.seed)
    classifier = _build(job, asked.weights_dir, beginning, begun)
    notes = notes_of_start(beginning, classifier.backbone.initial)
    if job.averaged is not None:
        notes["initial_weights"] = job.averaged.initial_weights
    if not begun:
        notes["inputs"] = replace(asked, start=beginning).as_json()
    prepared = job.inputs.store.settings  # what prediction needs of it and no recipe has
    notes["contour"] = prepared.contour
    if prepared.stain is not None:
        notes["stain"] = prepared.stain.as_json()
    if job.rank.first:
        folder.begin(job.recipe, job.identity, notes)
        write_json(folder.network, summarise(classifier, job.recipe.input.size))
    began = time.perf_counter()
    network_input = _network_input(classifier, job, asked.keep_features)
    fingerprint = _fit(classifier, network_input, job, time.perf_counter() - began)
    if not job.rank.first:
        return Trained(folder.path, False, part)
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
    """Train, load the weights to keep from their file, and return its fingerprint.

    Only the first rank keeps weights; the others return nothing.
    """
    folder = job.folder
    began = time.perf_counter()
    record = train_network(
        classifier, network_input, job.recipe, job.inputs, folder, job.device, job.watch, job.rank,
        job.teachers,
    )  # fmt: skip
    if not record.best_weights:
        raise BlastscopeError(
            f"{job.recipe.name} diverged: its loss or its weights were not numbers; lower "
            f"training.rate and remove {folder.path}."
        )
    if not job.rank.first:
        return ""
    weights: dict[str, torch.Tensor] = record.best_weights
    more: dict[str, Any] = {}
    if job.recipe.model.svm is not None:
        classifier.load_state_dict(weights)
        more["svm"] = fit_svm(classifier, job.recipe.model.svm, job.inputs, job.device)
        weights = {name: tensor.cpu() for name, tensor in classifier.state_dict().items()}
    fingerprint = save_checkpoint(weights, folder.checkpoint)
    classifier.load_state_dict(load_checkpoint(folder.checkpoint))
    took = sum(row["seconds"] for row in record.history)
    if network_input.cached:
        more["feature_seconds"] = round(feature_seconds, 3)
    if job.rank.count > 1:
        more |= {"devices": job.rank.count, "nodes": job.rank.nodes}
    folder.end(max(took, time.perf_counter() - began), job.device, more)
    return fingerprint


def run_identity(recipe: Recipe, inputs: TrainingData) -> dict[str, Any]:
    """Return all that a run follows from, but for the settings of its recipe."""
    return {
        "recipe": recipe.name,
        "store": inputs.store.fingerprint,
        "split": inputs.split.hash,
        "protocol": inputs.split.protocol,
        "synthetic": inputs.store.synthetic,
    }


def _build(job: _Job, weights_dir: Path | None, beginning: Path | None, begun: bool) -> Classifier:
    """Build the network with the weights that it begins with, or had when it was interrupted."""
    recipe = job.recipe
    classifier = build_model(recipe, weights_dir, pretrained=not begun and beginning is None)
    if job.averaged is not None:
        load_mean(classifier, job.averaged.paths)
        return classifier
    if begun:
        load_state(classifier, job.folder.resume)
    if begun or beginning is None:
        return classifier
    load_run(classifier, beginning, recipe.name)
    return classifier


def _predict(
    classifier: Classifier, network_input: NetworkInput, job: _Job, fingerprint: str
) -> None:
    """Write the OOD detector, then the prediction table of all parts with the fingerprint."""
    inputs = job.inputs
    ood = _ood_of(
        inputs.store.path.resolve(),
        inputs.store.fingerprint,
        inputs.rows["train"].tobytes(),
        inputs.rows["validation"].tobytes(),
    )
    if ood is not None:
        write_ood(ood, job.folder.ood)
    parts = [part for part in PARTS for _ in inputs.rows[part]]
    rows = np.concatenate([inputs.rows[part] for part in PARTS])
    p_all = probabilities(classifier, network_input, rows, job.device, job.recipe.prediction.views)
    name = marked(job.recipe.name, inputs.store.synthetic)
    frame = prediction_frame(inputs.store, rows, parts, name, p_all)
    about = {**job.identity, "checkpoint": fingerprint}
    if job.second is not None:
        own = p_all.copy()
        own[np.array(parts) == "test"] = job.second.before
        frame = frame.with_columns(pl.Series(INDUCTIVE, own))
        about[PSEUDO_LABELS] = job.second.note
    job.folder.record_digests(job.recipe, frame)
    write_predictions(frame, job.folder.predictions, about)


@lru_cache(maxsize=8)
def _ood_of(store: Path, fingerprint: str, train: bytes, validation: bytes) -> OodDetector | None:
    """Fit the OOD detector of a split once for all the networks that are trained on it."""
    del fingerprint  # what it is fitted anew for when the store is
    known, held = (np.frombuffer(part, np.int64) for part in (train, validation))
    return fit_ood(open_store(store).pixels, known, held)


def probabilities(
    classifier: Classifier,
    network_input: NetworkInput,
    rows: Rows,
    device: torch.device,
    views: str = "one",
) -> NDArray[np.float64]:
    """Return the probability of ALL for each of ``rows`` of the store, in single precision.

    They come from cached features if the backbone is frozen, which is why they do not go through
    ``prediction.pipeline``; those of a finished run do.

    Args:
        classifier: the network; it is put on ``device`` and into evaluation mode.
        views: the recipe's ``prediction.views``; of several views the logits' mean is taken (TTA).
    """
    classifier.to(device).eval()
    network_input.to(device)
    unknown = np.zeros(int(rows.max()) + 1 if len(rows) else 0, bool)
    operations = view_operations(views)
    logits = np.zeros(len(rows))
    with torch.inference_mode():
        for operation in operations:
            first = 0
            for inputs, targets, *_ in PlainBatches(
                network_input.views, unknown, rows, BATCH, operation
            ):
                found = network_input(move_data_to_device(inputs, device)).double().cpu().numpy()
                logits[first : first + len(targets)] += found / len(operations)
                first += len(targets)
    return torch.sigmoid(torch.from_numpy(logits)).numpy()


def prediction_frame(
    store: Store, rows: Rows, parts: list[str], model: str, p_all: NDArray[np.float64]
) -> pl.DataFrame:
    """Return a prediction table for rows of a store."""
    cells: pl.DataFrame = store.cells.select("cell", "subject", "label")[rows.tolist()]
    return cells.with_columns(
        part=pl.Series(parts, dtype=pl.String()),
        model=pl.lit(model),
        p_all=pl.Series(p_all, dtype=pl.Float64()),
    )
