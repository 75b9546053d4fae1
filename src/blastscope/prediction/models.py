"""A model that is ready to predict: prepared cells in, a probability of ALL a cell out.

Every command that applies a model to cells does it through :class:`Predictor`, whatever the engine.
"""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from blastscope.bundle.network import BundledNetwork
from blastscope.data.crop import Pixels
from blastscope.data.store import StoreSettings
from blastscope.decision.decision_file import DecisionFile
from blastscope.engines.engine import (
    Engine,
    Logits,
    check_device,
    mean_probability,
    view_probabilities,
)
from blastscope.errors import BlastscopeError, require_training
from blastscope.io.predictions import marked
from blastscope.models.dihedral import CHANNELS_LAST, VIEWS, dihedral_view
from blastscope.prediction.decisions import find_decision
from blastscope.prediction.members import Members, open_members
from blastscope.training.finished_run import FinishedRun

if TYPE_CHECKING:
    from blastscope.ood.detector import OodDetector

ENGINES = ("auto", "onnxruntime", "openvino", "torch")
Floats = NDArray[np.float64]
Prepared = Mapping[StoreSettings, Pixels]
"""The same cells, prepared by each of several settings: uint8, (N, S, S, 3)."""


@dataclass(frozen=True)
class Probabilities:
    """The probabilities of N cells, shape (N,) each."""

    p_all: Floats  # the probability of ALL, not calibrated
    # Its standard deviation over the eight views; None if it was not asked for.
    spread: Floats | None
    networks: Floats  # of each network alone, shape (N, networks)


class Predictor:
    """The networks of a run, an ensemble or a bundle; each averages over its views (TTA)."""

    def __init__(
        self, members: Members, *, engine: str = "auto", device: str = "auto", spread: bool = False
    ) -> None:
        """Choose the engine; the networks are loaded when the first cell comes.

        Args:
            engine: one of ``ENGINES``. ``auto`` is PyTorch on a GPU and for what is not a bundle,
                else ONNX Runtime.
            device: of ``DEVICES``, for PyTorch.
            spread: whether to compute the spread over the eight views; slower.

        Raises:
            BlastscopeError: if the engine is unknown, or cannot run these networks on that device.
        """
        if engine not in ENGINES:
            raise BlastscopeError(
                f"{engine!r} is not an engine: choose one of {', '.join(ENGINES)}."
            )
        check_device(device)
        bundled = all(isinstance(run, BundledNetwork) for run in members.runs)
        if engine not in ("auto", "torch") and not bundled:
            raise BlastscopeError(
                f"{engine} needs a bundle, and {members.name} is a run: create one with "
                "`blastscope bundle`, or leave --engine out."
            )
        if engine not in ("auto", "torch") and device not in ("auto", "cpu"):
            raise BlastscopeError(f"{engine} computes on the CPU: leave --device {device} out.")
        self.members, self.spread = members, spread
        self._engine = _choose(engine, device, bundled)
        if self._engine == "torch":
            flag = f"`--engine {engine}`" if engine == "torch" else f"`--device {device}`"
            require_training(flag if bundled else f"{members.name}, which is not a bundle,")
        self._device = device
        # The different settings by which cells must be prepared for the networks.
        self.settings = tuple(dict.fromkeys(run.settings for run in members.runs))

    @cached_property
    def engines(self) -> tuple[Engine, ...]:
        """An engine a network, loaded when they are first needed."""
        return tuple(self._load(run) for run in self.members.runs)

    @cached_property
    def single_core(self) -> Predictor | None:
        """The same networks, each computing on the one core of the thread that asks.

        Several threads may ask at once. Cores that work on different cells do not wait for one
        another after every layer; the probabilities are the same to the bit. None if the engine
        cannot do this.
        """
        if self._engine != "onnxruntime":
            return None
        other = copy(self)
        other.engines = tuple(self._load(run, threads=1) for run in self.members.runs)
        return other

    @cached_property
    def detectors(self) -> tuple[tuple[StoreSettings, OodDetector], ...]:
        """The OOD detectors of the networks that have one, with the settings of their cells."""
        found = ((run.settings, run.ood()) for run in self.members.runs)
        return tuple((settings, one) for settings, one in found if one is not None)

    def probabilities(self, prepared: Prepared) -> Probabilities:
        """Return the probabilities of cells that are prepared by each of ``settings``.

        Raises:
            BlastscopeError: if a network cannot be loaded or run, or its output is not finite.
        """
        means, views = [], []
        for run, engine in zip(self.members.runs, self.engines, strict=True):
            pixels = prepared[run.settings]
            logits = engine.view_logits(pixels)
            if logits.shape != (len(pixels), engine.views) or not np.isfinite(logits).all():
                raise BlastscopeError(
                    f"The output of a network of {self.members.name} is not a finite number for "
                    "each cell: use another model, or train again."
                )
            means.append(mean_probability(logits))
            if self.spread:
                views.append(view_probabilities(_all_views(engine, pixels, logits)))
        networks = np.column_stack(means)
        p_all = self.members.combination.apply(networks)
        return Probabilities(p_all, self._spread(views) if self.spread else None, networks)

    def ood_scores(self, prepared: Prepared) -> Floats:
        """Return how far cells, prepared likewise, look from the training cells, shape (N,).

        The score is the median over the networks that have a detector: above 1 is out of
        distribution; NaN if no network has one.
        """
        found = [one.of(prepared[settings]) for settings, one in self.detectors]
        cells = len(next(iter(prepared.values()), ()))
        return np.median(found, axis=0) if found else np.full(cells, math.nan)

    def _spread(self, views: list[Floats]) -> Floats:
        """Combine the networks' probabilities of each view, and return their spread over views."""
        each = [
            self.members.combination.apply(np.column_stack([of[:, k] for of in views]))
            for k in range(VIEWS)
        ]
        return np.asarray(np.std(each, axis=0))

    def _load(self, run: FinishedRun, threads: int | None = None) -> Engine:
        if self._engine == "torch" or not isinstance(run, BundledNetwork):
            from blastscope.engines.torch_engine import TorchEngine, choose_device

            device = choose_device(self._device)
            return TorchEngine(run.classifier(), run.recipe.prediction.views, device)
        from blastscope.engines.onnx_engines import OnnxRuntimeEngine, OpenVinoEngine

        kind = OpenVinoEngine if self._engine == "openvino" else OnnxRuntimeEngine
        return kind(run.onnx(), run.weights(), threads, f"{run.contents}/model.onnx")


def _all_views(engine: Engine, pixels: Pixels, logits: Logits) -> Logits:
    """Return the logits of all eight views, (N, 8), given those of the engine's own views."""
    if engine.views == VIEWS:
        return logits
    turned = (dihedral_view(pixels, k, CHANNELS_LAST) for k in range(1, VIEWS))
    rest = [engine.view_logits(np.ascontiguousarray(view)) for view in turned]
    return np.concatenate([logits, *rest], axis=1)


def _choose(engine: str, device: str, bundled: bool) -> str:
    if engine != "auto":
        return engine
    if not bundled or device in ("cuda", "mps"):
        return "torch"
    return "torch" if device == "auto" and _has_gpu() else "onnxruntime"


def _has_gpu() -> bool:
    """Ask PyTorch only if there may be a GPU: importing it takes longer than a prediction."""
    if shutil.which("nvidia-smi") is None and sys.platform != "darwin":
        return False
    try:
        from blastscope.engines.torch_engine import has_gpu
    except ModuleNotFoundError:  # without the extra train
        return False
    return has_gpu()


@dataclass(frozen=True)
class PredictionModel:
    """Networks, the name that tables give them, and what they decide by."""

    predictor: Predictor  # the networks
    name: str  # what tables call them
    # How probabilities become decisions; None if the model does not decide.
    decision: DecisionFile | None

    @property
    def synthetic(self) -> bool:
        """Whether the networks or the decision were fitted on synthetic cells."""
        by = self.decision
        return self.predictor.members.synthetic or (by is not None and by.synthetic)

    def marked(self, synthetic_cells: bool) -> PredictionModel:
        """Return it under the name that marks a synthetic model, or predictions of such cells."""
        return replace(self, name=marked(self.name, self.synthetic or synthetic_cells))


def open_model(
    models: Sequence[Path],
    *,
    decision: Path | None = None,
    engine: str = "auto",
    device: str = "auto",
    spread: bool = False,
) -> PredictionModel:
    """Open a bundle, a run, the mean of several, or an ensemble.

    Args:
        models: a bundle's folder or zip, folders of runs, or the folder of one ensemble.
        decision: a ``decision.json``, or a folder with one, to decide by; by default the model's.
        engine: as ``device`` and ``spread``, for :class:`Predictor`.

    Raises:
        BlastscopeError: if a model is unfinished, stale or damaged, the decision belongs to other
            weights, or engine and device do not fit the model.
    """
    members = open_members(models)
    by = find_decision(models, members, decision)
    predictor = Predictor(members, engine=engine, device=device, spread=spread)
    return PredictionModel(predictor, members.name, by)
