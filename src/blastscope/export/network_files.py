"""What PyTorch makes of a run for its bundle: weights, graph, normalization, initial weights."""

from __future__ import annotations

import numpy as np
from safetensors.numpy import load, save

from blastscope.bundle.manifest import InitialWeights, PixelNormalization
from blastscope.bundle.write import NetworkFiles
from blastscope.engines.torch_engine import load_classifier
from blastscope.errors import BlastscopeError
from blastscope.export.export import metadata_of
from blastscope.export.onnx_graph import onnx_graph
from blastscope.models.normalization import Normalization
from blastscope.models.pretrained import known_weights
from blastscope.training.finished_run import FinishedRun
from blastscope.training.initial_run import first_weights
from blastscope.training.run_folder import RunFolder


def network_files(run: FinishedRun, *, half: bool = False) -> NetworkFiles:
    """Compute the files of a run's bundle that need PyTorch; ``half``: weights in half precision.

    Raises:
        BlastscopeError: if weights are not finite or too large for half precision, the network
            cannot be written as ONNX, or a run that it started from is missing.
    """
    weights = stored_weights(RunFolder(run.path).checkpoint.read_bytes(), half)
    classifier = load_classifier(run.recipe, weights)  # as stored, so that the graph can share them
    graph = onnx_graph(
        classifier, run.recipe.prediction.views, run.settings.size, weights, metadata_of(run)
    )
    return NetworkFiles(
        weights, graph, normalization_of(classifier.normalise), initial_weights_of(run)
    )


def normalization_of(normalise: Normalization) -> PixelNormalization:
    """Return the numbers of a normalization."""
    return PixelNormalization(
        mean=tuple(normalise.mean.flatten().tolist()),
        deviation=tuple(normalise.deviation.flatten().tolist()),
        channels="BGR" if normalise.reverse else "RGB",
        colour_normalization="per-cell" if normalise.per_cell else "none",
        space="optical-density" if normalise.density else None,
    )


def initial_weights_of(run: FinishedRun) -> InitialWeights | None:
    """Return the weights that a run began with and their licence; None if they were random.

    A run that started from another began with the weights of that one.

    Raises:
        BlastscopeError: if the run that it started from is missing.
    """
    found = first_weights(run.path)
    if not found:
        return None
    try:
        licence = known_weights(run.recipe.model.backbone).licence
    except BlastscopeError:
        licence = "unknown"
    return InitialWeights(file=found["file"], sha256=found["sha256"], licence=licence)


def stored_weights(content: bytes, half: bool) -> bytes:
    """Return the safetensors of a checkpoint as a bundle keeps them: unchanged unless ``half``.

    Half precision is for tensors of two dimensions and more. Biases and the statistics of batch
    normalization stay as they are: they are few, and half precision may round a variance to zero.

    Raises:
        BlastscopeError: if a weight is not finite or too large for half precision.
    """
    tensors = load(content)
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise BlastscopeError(f"The weights {name} contain NaN or infinity: train again.")
    if not half:
        return content
    for name, tensor in tensors.items():
        # Distances of support vectors need all their digits.
        if tensor.dtype == np.float32 and tensor.ndim >= 2 and not name.startswith("svm."):
            tensors[name] = tensor.astype(np.float16)
        if not np.isfinite(tensors[name]).all():
            raise BlastscopeError(
                f"The weights {name} are too large for half precision: leave --half out."
            )
    return bytes(save(tensors))
